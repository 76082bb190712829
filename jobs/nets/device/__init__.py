"""How a net runs on its device: precision, compilation, determinism, and what fails there."""

"""The weights that a net begins with: pretrained ones by name, and those of a run."""

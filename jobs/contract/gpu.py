"""What the images' PyTorch asks of a node: NVIDIA's driver, by the CUDA version that PyTorch was built with."""

from typing import Final

# Release of the driver, by CUDA's major version: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
LEAST_DRIVER: Final = {11: 450, 12: 525, 13: 580}
CUDA: Final = 13  # of the wheels that requirements/ locks


def least_driver(cuda: str) -> int:
    """The oldest driver release for a CUDA version such as ``13.0``; of an unknown one, that of the newest known."""
    return LEAST_DRIVER.get(int(cuda.split(".")[0]), max(LEAST_DRIVER.values()))

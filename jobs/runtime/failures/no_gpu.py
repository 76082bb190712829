"""Why PyTorch finds no GPU: no driver, a driver that is too old, or a GPU that this process does not see."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.contract.gpu import least_driver

DRIVER_FILE: Final = Path("/proc/driver/nvidia/version")
HIDDEN: Final = ("", "-1", "none", "void", "NoDevFiles")


@dataclass(frozen=True)
class Surroundings:
    """What can be seen of a GPU without CUDA.

    Attributes:
        cuda: the CUDA version PyTorch was built with; None for a build without CUDA.
        driver: the loaded driver's version, e.g. ``580.65.06``; None where none is loaded.
        devices: names of the GPUs' device files.
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.
    """

    cuda: str | None
    driver: str | None
    devices: tuple[str, ...]
    visible: str | None

    @classmethod
    def look(cls, cuda: str | None) -> "Surroundings":
        """The surroundings of this process."""
        text = DRIVER_FILE.read_text() if DRIVER_FILE.exists() else ""
        devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
        return cls(cuda, driver_version(text), tuple(devices), os.environ.get("CUDA_VISIBLE_DEVICES"))


def driver_version(text: str) -> str | None:
    """The version in the driver's own description (``/proc/driver/nvidia/version``), None where it holds none."""
    match = re.search(r"Kernel Module\D*?(\d+(?:\.\d+)+)", text.replace("x86_64", ""))
    return match[1] if match else None


def why_no_gpu(around: Surroundings) -> str:
    """What keeps PyTorch from a GPU, and what to do about it."""
    if around.cuda is None:
        return "This PyTorch is built without CUDA: run the image cxrfold or cxrfold-detector, or install a CUDA build."
    if around.driver is None:
        return (
            "No NVIDIA driver is loaded here, so there is no GPU: choose GPU nodes by gpu_node_selector in the "
            "profile, or install the driver on the node (nvidia-smi must work there)."
        )
    least = least_driver(around.cuda)
    if int(around.driver.split(".")[0]) < least:
        return (
            f"The node's NVIDIA driver {around.driver} is too old: PyTorch's CUDA {around.cuda} needs {least} or "
            "newer. Update the driver, or build the images for an older CUDA (images/README.md)."
        )
    if around.visible is not None and around.visible in HIDDEN:
        return f"CUDA_VISIBLE_DEVICES={around.visible!r} hides the GPU: unset it, or name a GPU."
    if not around.devices:
        return (
            f"The driver {around.driver} is loaded, but this process was given no GPU: in a pod, NVIDIA's device "
            "plugin must hand it over (gpu.runtime_class in the profile where NVIDIA's runtime is not the node's "
            "default)."
        )
    return (
        f"{', '.join(around.devices)} and the driver {around.driver} are there, but CUDA does not start: look for Xid "
        "errors in the node's kernel log (dmesg), and whether nvidia-smi works on the node."
    )


def why_unsupported(capability: tuple[int, int], architectures: list[str]) -> str:
    """What is wrong with a GPU older than all that PyTorch was built for; empty for one that it supports.

    Args:
        capability: of the GPU, e.g. (7, 0) of a V100.
        architectures: of PyTorch, e.g. ``sm_75``.
    """
    numbers = [int(name.removeprefix("sm_").rstrip("af")) for name in architectures if name.startswith("sm_")]
    own = 10 * capability[0] + capability[1]
    if not numbers or own >= min(numbers):
        return ""
    return (
        f"has compute capability {own / 10}, and this PyTorch is built for {min(numbers) / 10} and newer: choose "
        "another GPU by gpu_node_selector, or build the images for an older CUDA (images/README.md)."
    )

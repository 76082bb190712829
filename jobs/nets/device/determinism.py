"""Whether the same training on the same GPU gives the same bits."""

import os

import torch


def set_determinism(wanted: bool, device: str) -> None:
    """Choose between the kernels that always add in the same order and the fastest ones, for the whole process.

    On a CPU the former cost nothing and are always taken. On a GPU they cost speed: cuDNN may not try out which
    convolution is the fastest, and gradients are summed without atomic additions. An operation without a deterministic
    kernel warns and runs.

    Args:
        wanted: the experiment's ``deterministic``.
        device: ``cuda`` or ``cpu``.
    """
    deterministic = wanted or device == "cpu"
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a kernel a tensor
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic  # all shapes stay the same through a training
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts

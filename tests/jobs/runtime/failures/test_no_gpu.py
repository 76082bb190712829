import pytest

from jobs.contract.gpu import CUDA, least_driver
from jobs.runtime.failures.no_gpu import Surroundings, driver_version, why_no_gpu, why_unsupported

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 12.3.0"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 11.4.0"


@pytest.mark.parametrize(("text", "version"), [(OPEN, "580.65.06"), (CLOSED, "550.54.15"), ("", None)])
def test_the_drivers_version_is_read_from_its_own_file(text: str, version: str | None):
    assert driver_version(text) == version


@pytest.mark.parametrize(
    ("around", "sentence"),
    [
        (Surroundings(None, "580.65.06", ("nvidia0",), None), "built without CUDA"),
        (Surroundings("13.0", None, (), None), "No NVIDIA driver is loaded"),
        (Surroundings("13.0", "550.54.15", ("nvidia0",), None), "550.54.15 is too old.*580 or newer"),
        (Surroundings("12.6", "550.54.15", (), None), "was given no GPU"),
        (Surroundings("13.0", "580.65.06", ("nvidia0",), ""), "CUDA_VISIBLE_DEVICES='' hides"),
        (Surroundings("13.0", "580.65.06", ("nvidia0",), "0"), "nvidia0.*does not start"),
    ],
)
def test_what_keeps_pytorch_from_a_gpu_is_told_apart(around: Surroundings, sentence: str):
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(why_no_gpu(around))


def test_the_surroundings_of_this_process_can_be_looked_at():
    assert why_no_gpu(Surroundings.look("13.0"))


def test_the_locked_pytorch_is_of_the_cuda_that_doctor_asks_a_driver_for():
    import torch

    assert torch.version.cuda is None or int(torch.version.cuda.split(".")[0]) == CUDA
    assert least_driver("13.0") == 580


def test_a_gpu_older_than_pytorchs_architectures_is_told():
    wheels = ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120", "compute_120"]
    assert "compute capability 7.0" in why_unsupported((7, 0), wheels)
    assert why_unsupported((7, 5), wheels) == ""
    assert why_unsupported((9, 0), wheels) == ""

import errno
import os
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from jobs.contract.exits import BadInput, DeviceFailed
from jobs.nets.device.failures import explained
from jobs.runtime.failures.hardware import gpu_memory, hardware_failure

HARDWARE = [
    torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: the launch timed out and was terminated"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("No CUDA GPUs are available"),
    RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
    RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
    RuntimeError("NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp"),
    RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed. "),
    RuntimeError("DataLoader worker (pid(s) 17, 18) exited unexpectedly"),
    RuntimeError("unable to open shared memory object </torch_12_34> in read-write mode: No space left (28)"),
    RuntimeError(
        "Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm)."
    ),
    BrokenProcessPool("A process in the process pool was terminated abruptly while the future was running"),
]
NO_HARDWARE = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    ValueError("bus error"),
    OSError(errno.ENOENT, os.strerror(errno.ENOENT)),
]
NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    torch.AcceleratorError("CUDA error: out of memory"),
]


@pytest.mark.parametrize("error", HARDWARE, ids=str)
def test_a_failed_gpu_or_killed_helper_is_no_bug_and_is_retried(error: Exception):
    assert isinstance(hardware_failure(error), DeviceFailed)


@pytest.mark.parametrize("error", NO_HARDWARE, ids=str)
def test_an_error_that_the_code_is_to_blame_for_stays_one(error: Exception):
    assert hardware_failure(error) is None


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_memory_refused_to_a_library_names_the_batch_and_what_others_hold(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (4 << 30, 24 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 8 << 30)
    sentence = "GPU's 24 GiB, of which other processes hold 12, do not hold a batch of 8 films at 512 px: lower batch"
    with pytest.raises(BadInput, match=sentence), explained(8, 512, "batch"):
        raise error
    assert isinstance(hardware_failure(error), BadInput)


def test_a_gpu_that_nobody_else_uses_is_not_said_to_be_shared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (4 << 30, 24 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 19 << 30)
    assert gpu_memory() == "The GPU's 24 GiB"


def test_a_driver_that_does_not_answer_any_more_leaves_the_cause_as_it_is(monkeypatch: pytest.MonkeyPatch):
    def no_answer() -> None:
        raise RuntimeError("CUDA error: unknown error")

    monkeypatch.setattr(torch.cuda, "mem_get_info", no_answer)
    assert "gigabytes do not suffice" in str(hardware_failure(torch.OutOfMemoryError("CUDA out of memory")))


def test_memory_that_the_node_refuses_is_bad_input():
    failure = hardware_failure(MemoryError())
    assert isinstance(failure, BadInput)
    assert "memory under resources" in str(failure)

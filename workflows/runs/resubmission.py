"""Build the spec for resuming a run, with more memory for tasks that ran out of it."""

from typing import Final

from jobs.contract.exits import BadInput
from workflows.manifest.quantity import parse_quantity
from workflows.manifest.spec import RunSpec
from workflows.runs.run import Run

# Factor on the memory of a task after an OOM kill.
MEMORY_FACTOR: Final = 2


def resubmission(
    run: Run, revision: str | None = None, max_gpu_hours: float | None = None
) -> tuple[RunSpec, list[str]]:
    """Return the spec to submit again, and remarks about changes to it.

    Args:
        run: the run.
        revision: revision of the images; None keeps the run's own.
        max_gpu_hours: of all attempts of the run, earlier ones included; None keeps the run's own limit.

    Raises:
        BadInput: the run is running, or its order was not stored.
    """
    if run.live:
        raise BadInput(f"Run {run.name} is running: cv.py status {run.name} -w.")
    if run.spec is None:
        raise BadInput(f"Run {run.name} has no stored order; cv.py run or submit with the same options continues it.")
    spec = run.spec
    if run.profile and not spec.local:
        spec = spec.model_copy(update={"profile": run.profile})
    memory, remarks = raised_memory(_killed(run), spec.profile.memory_cap)
    update = {
        "memory": {**spec.memory, **memory},
        "revision": revision or spec.revision,
        "max_gpu_hours": max_gpu_hours or spec.max_gpu_hours,
    }
    return spec.model_copy(update=update), remarks


def continue_suspended(run: Run) -> list[str]:
    """Continue the workflows of the run that ``argo suspend`` holds; return their names."""
    names = run.suspended
    for name in names:
        assert run.cluster
        run.cluster.workflows.resume(run.cluster.namespace, name)
    return names


def _killed(run: Run) -> list[tuple[str, str]]:
    """Tasks whose last attempt ended with an OOM kill, each with its memory."""
    nodes_of = {task.name: run.nodes(task.id) for task in run.tasks}
    return [
        (name, nodes.attempts[-1].memory)
        for name, nodes in nodes_of.items()
        if nodes and nodes.attempts and not nodes.task.live and nodes.attempts[-1].out_of_memory
    ]


def raised_memory(killed: list[tuple[str, str]], cap: str) -> tuple[dict[str, str], list[str]]:
    """Raise the memory of tasks that ended with an OOM kill, up to the profile's cap.

    Args:
        killed: tasks, each with its memory, e.g. ``16Gi``.
        cap: the maximum, from the profile.

    Returns:
        Memory by task, and a remark for each task.
    """
    memory, remarks = {}, []
    for task, before in killed:
        size = min(parse_quantity(before) * MEMORY_FACTOR, parse_quantity(cap))
        if size <= parse_quantity(before):
            remarks.append(
                f"{task} ran out of memory at {before}, the profile's memory_cap: raise it, or lower the batch size."
            )
        else:
            memory[task] = _quantity(int(size))
            remarks.append(f"{task} ran out of memory at {before}: its memory is now {memory[task]}.")
    return memory, remarks


def _quantity(size: int) -> str:
    """Format bytes in the largest unit that divides them."""
    for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)

"""Send a run again as it was: what is done is skipped, what was checkpointed goes on."""

from typing import Final

from jobs.contract.exits import BadInput
from workflows.manifest.quantity import parse_quantity
from workflows.manifest.spec import RunSpec
from workflows.runs.run import Run

# After an OOM kill a task gets so much more.
RAISE: Final = 2


def resubmission(run: Run, revision: str | None = None) -> tuple[RunSpec, list[str]]:
    """What to send again, and what is said about it.

    Args:
        run: the run; it must not run.
        revision: of the code, where it is not to be the one it ran with.

    Raises:
        BadInput: where the run runs, or was never on a cluster.
    """
    if run.live:
        raise BadInput(f"Run {run.name} is running: cv.py status {run.name} -w.")
    if run.spec is None:
        raise BadInput(
            f"Run {run.name} was not submitted to a cluster; cv.py run with the same options goes on with it."
        )
    spec = run.spec
    if run.profile:
        spec = spec.model_copy(update={"profile": run.profile})
    memory, said = raised(_killed(run), spec.profile.memory_cap)
    update = {"memory": {**spec.memory, **memory}, "revision": revision or spec.revision}
    return spec.model_copy(update=update), said


def _killed(run: Run) -> list[tuple[str, str]]:
    """Tasks whose last attempt the OOM killer ended, each with the memory it had."""
    nodes_of = {task.name: run.nodes(task.id) for task in run.tasks}
    return [
        (name, nodes.attempts[-1].memory)
        for name, nodes in nodes_of.items()
        if nodes and nodes.attempts and not nodes.task.live and nodes.attempts[-1].out_of_memory
    ]


def raised(killed: list[tuple[str, str]], cap: str) -> tuple[dict[str, str], list[str]]:
    """More memory for tasks that the OOM killer ended, up to the profile's cap.

    Args:
        killed: the tasks and the memory each had, e.g. ``16Gi``.
        cap: the most that a task may get.
    """
    memory, said = {}, []
    for task, had in killed:
        wanted = min(parse_quantity(had) * RAISE, parse_quantity(cap))
        if wanted <= parse_quantity(had):
            said.append(
                f"{task} ran out of memory at {had}, which is the profile's memory_cap: raise that, or batch less."
            )
        else:
            memory[task] = _quantity(int(wanted))
            said.append(f"{task} ran out of memory at {had}: it gets {memory[task]}.")
    return memory, said


def _quantity(size: int) -> str:
    """Bytes in the largest unit that divides them."""
    for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)

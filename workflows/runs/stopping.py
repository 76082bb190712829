"""Stop a run: running pods write a checkpoint, and no further pod starts."""

import time
from collections.abc import Callable
from typing import Final

from jobs.contract.exits import BadInput, ServiceAway, StageError
from jobs.contract.profile import Profile
from workflows.cluster import workflow_json
from workflows.runs.run import Run

POLL_SECONDS: Final = 2.0
# Time for Argo, on top of the pods' grace period.
MARGIN: Final = 60.0  # seconds


def stop(run: Run, say: Callable[[str], None], *, wait: bool = True) -> None:
    """Ask all running workflows of the run to stop, and wait until they have.

    Args:
        run: the run.
        say: called with each line of progress.
        wait: whether to wait until every pod has ended.

    Raises:
        BadInput: the run is not running on this cluster.
        ServiceAway: the cluster does not answer, or pods still run after their grace period.
    """
    if run.cluster is None or not run.live:
        raise _not_running(run)
    names = [workflow_json.name(workflow) for workflow in run.running]
    suspended = set(run.suspended)
    for name in names:
        run.cluster.workflows.stop(run.cluster.namespace, name)
        if name in suspended:  # the controller does not look at a suspended workflow
            run.cluster.workflows.resume(run.cluster.namespace, name)
    grace = (run.settings or Profile()).grace
    what = f"Workflow {names[0]} is" if len(names) == 1 else f"{len(names)} workflows, {', '.join(names)}, are"
    say(f"{what} stopping; each pod has {grace} s for its checkpoint.")
    until = time.monotonic() + grace + MARGIN
    notes = _NewNotes(run, say)
    while wait and (run.live or run.running_pods()):
        notes.say()
        if time.monotonic() > until:
            left = ", ".join(map(workflow_json.name, run.running)) or "its pods"
            raise ServiceAway(
                f"Run {run.name} has not ended after {grace + MARGIN:.0f} s ({left}): is Argo's controller running?"
            )
        time.sleep(POLL_SECONDS)
        run.refresh()
    notes.say()
    if wait:
        say(f"Stopped. cv.py resume {run.name} continues from the checkpoints.")


class _NewNotes:
    """Says each note of a run once; those that it has at first are known."""

    def __init__(self, run: Run, say: Callable[[str], None]) -> None:
        self._run, self._say, self._said = run, say, set(run.notes)

    def say(self) -> None:
        """Say the notes that are new."""
        for note in self._run.notes:
            if note not in self._said:
                self._said.add(note)
                self._say(note)


def _not_running(run: Run) -> StageError:
    """Why there is nothing to stop: it has ended, there is no cluster, it is not there, or the cluster is silent."""
    if run.workflow:
        return BadInput(f"Run {run.name} is not running on the cluster: it has ended.")
    if run.unreachable:
        return type(run.unreachable)(f"Nothing was stopped. {run.unreachable}")
    return BadInput(f"{run.absence} A run on this machine is stopped with Ctrl-C.")

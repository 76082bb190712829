"""Stop a run: running pods write a checkpoint, and no further pod starts."""

import time
from collections.abc import Callable
from typing import Final

from jobs.contract.exits import BadInput, ServiceAway
from workflows.cluster import workflow_json
from workflows.runs.run import Run

POLL_SECONDS: Final = 2.0
# Time for Argo, on top of the pods' grace period.
MARGIN: Final = 60.0  # seconds


def stop(run: Run, say: Callable[[str], None], *, wait: bool = True) -> None:
    """Ask the run to stop, and wait until it has.

    Args:
        run: the run.
        say: called with each line of progress.
        wait: whether to wait until every pod has ended.

    Raises:
        BadInput: the run is not running on this cluster.
        ServiceAway: pods still run after their grace period.
    """
    if run.cluster is None or not run.live:
        where = f"Run {run.name} is not running on the cluster"
        raise BadInput(
            f"{where}: it has ended." if run.workflow else f"{where}. Stop a run on this machine with Ctrl-C."
        )
    assert run.workflow
    assert run.spec
    run.cluster.workflows.stop(run.cluster.namespace, workflow_json.name(run.workflow))
    grace = run.spec.profile.grace
    say(f"Workflow {workflow_json.name(run.workflow)} is stopping; each pod has {grace} s for its checkpoint.")
    until = time.monotonic() + grace + MARGIN
    while wait and (run.live or run.running_pods):
        if time.monotonic() > until:
            raise ServiceAway(
                f"Run {run.name} still has pods after {grace + MARGIN:.0f} s: is Argo's controller running?"
            )
        time.sleep(POLL_SECONDS)
        run.refresh()
    if wait:
        say(f"Stopped. cv.py resume {run.name} continues from the checkpoints.")

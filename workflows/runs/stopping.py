"""Stop a run: every pod writes its checkpoint, and what is not started never is."""

import time
from collections.abc import Callable
from typing import Final

from jobs.contract.exits import BadInput, ServiceAway
from workflows.cluster import workflow as wf
from workflows.runs.run import Run

EVERY: Final = 2.0
# Argo itself needs a moment on either side of the pods' grace period.
MARGIN: Final = 60.0


def stop(run: Run, say: Callable[[str], None], *, wait: bool = True) -> None:
    """Ask the run to stop, and wait until it has.

    Args:
        run: the run.
        say: is told what happens, a line at a time.
        wait: until every pod has ended.

    Raises:
        BadInput: where it does not run on this cluster.
        ServiceAway: where pods are still there after their grace period.
    """
    if run.cluster is None or not run.live:
        where = f"Run {run.name} does not run on the cluster"
        raise BadInput(f"{where}: it has ended." if run.workflow else f"{where}. A run on this machine ends by Ctrl-C.")
    assert run.workflow
    assert run.spec
    run.cluster.workflows.stop(run.cluster.namespace, wf.name(run.workflow))
    grace = run.spec.profile.grace
    say(f"Workflow {wf.name(run.workflow)} stops; each pod has {grace} s for its checkpoint.")
    until = time.monotonic() + grace + MARGIN
    while wait and (run.live or run.running_pods):
        if time.monotonic() > until:
            raise ServiceAway(f"Run {run.name} still has pods {grace + MARGIN:.0f} s later: is Argo's controller up?")
        time.sleep(EVERY)
        run.refresh()
    if wait:
        say(f"Stopped. cv.py resume {run.name} goes on from the checkpoints.")

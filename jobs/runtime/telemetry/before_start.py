"""What happened before a stage's own code ran: the times until its pod had a node and its process started."""

import os
from datetime import datetime
from pathlib import Path

from jobs.contract import environment
from jobs.runtime.machine import process_age


def on_node_since() -> float | None:
    """When this pod got its node, seconds since 1970; None outside a pod. Call before anything is written to scratch.

    Kubernetes makes a pod's emptyDirs as soon as it has a node, before it pulls images, and nothing writes to the
    scratch folder until the stage starts.
    """
    scratch = os.environ.get(environment.SCRATCH)
    if environment.IN_POD not in os.environ or not scratch or not Path(scratch).is_dir():
        return None
    return Path(scratch).stat().st_mtime


def times_before_start(now: datetime, on_node: float | None) -> dict[str, float]:
    """Seconds that an attempt was pending, pulling and importing before ``now``; without a pod only the last.

    Args:
        now: the start of the stage's own work, UTC.
        on_node: when its pod got its node.
    """
    age = process_age()
    if on_node is None:
        return {"importing": age}
    # Argo's clock gives the pod's creation, the node's the rest: small differences must not become negative times.
    created = environment.number(environment.CREATED, on_node)
    pulling = now.timestamp() - age - on_node
    return {"pending": max(0.0, on_node - created), "pulling": max(0.0, pulling), "importing": age}

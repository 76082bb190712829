"""Names of runs, for completion in the shell: quick, and silent about what cannot be read."""

import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final

from jobs.contract import environment
from jobs.contract.exits import StageError
from jobs.contract.names import RUN_LABEL
from jobs.contract.stored import layout
from workflows.cluster.client import Cluster
from workflows.store.embedded import find_running
from workflows.store.opening import open_store

SECONDS: Final = 2.0  # that a person waits after Tab
RUNS: Final = Path("runs")


def known_runs() -> list[str]:
    """Return the runs in this working directory, in the store and on the cluster, sorted.

    A store or cluster that does not answer within two seconds is left out. An embedded server is asked if it runs.
    """
    names = set(_in_folder())
    looks = [Thread(target=lambda look=look: names.update(look()), daemon=True) for look in (_in_store, _on_cluster)]
    deadline = time.monotonic() + SECONDS
    for thread in looks:
        thread.start()
    for thread in looks:
        thread.join(max(0.0, deadline - time.monotonic()))
    return sorted(set(names))


def _in_folder() -> list[str]:
    return [folder.name for folder in RUNS.iterdir() if folder.is_dir()] if RUNS.is_dir() else []


def _in_store() -> set[str]:
    with suppress(StageError, OSError):
        if not os.environ.get(environment.STORE) and (server := find_running()):
            os.environ.update(server.environment())
        return set(open_store().folders(layout.RUNS))
    return set()


def _on_cluster() -> set[str]:
    with suppress(StageError, OSError):
        cluster = Cluster.connect()
        workflows = cluster.workflows.list(cluster.namespace, RUN_LABEL)
        return {str(workflow["metadata"]["labels"][RUN_LABEL]) for workflow in workflows}
    return set()

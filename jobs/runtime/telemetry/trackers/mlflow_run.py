"""MLflow: the server that ``MLFLOW_TRACKING_URI`` names, else files.

Of MLflow's own stores only files can be merged by unpacking the archives of several tasks into one folder. MLflow keeps
this store but wants it allowed (``MLFLOW_ALLOW_FILE_STORE``); ``mlflow migrate-filestore`` turns it into a database.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from jobs.runtime.telemetry.trackers.tracker import TrackedTask, Tracker

# The default experiment: its id is the same in every folder.
DEFAULT: Final = "0"
RUN_TAG, TASK_TAG = "cxrfold.run", "cxrfold.task"
MOST_PARAMS: Final = 100  # in one request
# A server that does not answer is given up in seconds; the next epoch tries again.
SETTINGS: Final = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MlflowRun(Tracker):
    """A task as a run of the experiment ``cxrfold``, or of the one that ``MLFLOW_EXPERIMENT_NAME`` names."""

    def __init__(self, tracked: TrackedTask) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = MlflowClient(server or tracked.folder.absolute().as_uri())
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "cxrfold")
        if server:
            experiment = self._experiment(name)
        else:
            experiment = DEFAULT
            self._client.rename_experiment(experiment, name)
        run = self._earlier(experiment, tracked) or self._new(experiment, tracked)
        self._id, self._last = run.info.run_id, int(run.data.metrics.get("epoch", 0))

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Record an epoch; its number is MLflow's step."""
        if epoch <= self._last:
            return
        now = round(time.time() * 1000)
        values = {"epoch": float(epoch), **figures}
        self._client.log_batch(self._id, [Metric(name, value, now, epoch) for name, value in values.items()])
        self._last = epoch

    def finish(self) -> None:
        """End the run."""
        self._client.set_terminated(self._id)

    def _experiment(self, name: str) -> str:
        """Return the id of the server's experiment, creating it unless another task has just done so."""
        with suppress(MlflowException):
            return str(self._client.create_experiment(name))
        found = self._client.get_experiment_by_name(name)
        if found is None:
            raise LookupError(f"the server has no experiment {name} and refuses to create it")
        return str(found.experiment_id)

    def _earlier(self, experiment: str, tracked: TrackedTask) -> Run | None:
        wanted = f"tags.`{RUN_TAG}` = '{tracked.run}' and tags.`{TASK_TAG}` = '{tracked.task}'"
        for run in self._client.search_runs([experiment], wanted, max_results=1):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return run
        return None

    def _new(self, experiment: str, tracked: TrackedTask) -> Run:
        tags = {RUN_TAG: tracked.run, TASK_TAG: tracked.task}
        run = self._client.create_run(experiment, run_name=f"{tracked.run} {tracked.task}", tags=tags)
        params = [Param(name, value) for name, value in _flat(tracked.experiment)]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run.info.run_id, params=params[start : start + MOST_PARAMS])
        return run


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and values, e.g. ``classifiers.b3.lr`` and ``0.001``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)

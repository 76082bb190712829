"""What the ensemble of a finished run has fitted out of fold, for films that its nets predict later."""

import json
import tempfile
from pathlib import Path
from typing import Final

from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Reference
from jobs.contract.task import TaskId
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work, fetch

TEMPERATURE: Final = "temperature.json"


def fitted_temperature(store: Store, run: str) -> float | None:
    """Return the temperature that a run's ensemble has fitted; None if it has fitted none, or is not done."""
    try:
        digest = store.get_record(layout.reference(run, TaskId(Stage.ENSEMBLE)), Reference).works["submission"]
        output = Work.finished(store, Stage.ENSEMBLE, digest)[1].outputs[TEMPERATURE]
    except (KeyError, Missing):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return float(json.loads(fetch(store, output, Path(folder)).read_bytes())["temperature"])

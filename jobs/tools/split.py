"""``python -m jobs split``: write the split of a run to a CSV file, and keep such a file in the store under a name."""

import tempfile
from pathlib import Path

from pydantic import ValidationError

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.names import Stage, check_run_name
from jobs.contract.needs.split import FrozenSplit, check_split_name
from jobs.contract.stored import layout
from jobs.contract.stored.records import Reference
from jobs.contract.task import TaskId
from jobs.films.dataset import read_index
from jobs.films.splitting.frozen import frozen_csv, read_frozen
from jobs.runtime.failures.disk import room_in
from jobs.runtime.store import Missing, Store
from jobs.runtime.work import Work, fetch


def export_split(run: str, file: Path) -> None:
    """Write the split of a run: a row per study with patient, study and fold.

    Args:
        run: a run whose films are prepared.
        file: the CSV to write.

    Raises:
        BadInput: the run has not prepared its films, or they have no folds.
    """
    store = Store.from_environment()
    try:
        reference = store.get_record(layout.reference(check_run_name(run), TaskId(Stage.PREPARE)), Reference)
        _, index = Work.finished(store, Stage.PREPARE, reference.works["index"])
    except Missing as error:
        raise BadInput(
            f"Run {run} has not prepared its films in {store.url}: resume it first (cv.py resume {run})."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        rows = read_index(fetch(store, index.outputs["index.parquet"], Path(folder)))
    if (rows["fold"] < 0).any():
        raise BadInput(f"Run {run} predicts a test set, which has no folds: name a run that trains.")
    with room_in(file.parent):
        file.write_text(frozen_csv(rows))
    print(f"{file}: {rows['patient'].nunique()} patients in {rows['fold'].nunique()} folds")


def import_split(file: Path, name: str) -> None:
    """Keep a split in the store, so that experiments name it in ``folds.frozen``.

    Args:
        file: a CSV as :func:`export_split` writes it.
        name: of the split. A split that exists can grow: its patients and studies keep their folds.

    Raises:
        BadInput: the file is no split, or the split exists and has a patient or study that the file lacks or moves.
    """
    key, given, store = layout.split(check_split_name(name)), read_frozen(file), Store.from_environment()
    if (stored := _stored(store, key)) is not None:
        _refuse_moved(given, stored, f"{file}: the split {name} is in {store.url} already")
    store.put_json(key, given.model_dump(mode="json"))
    print(f"{name} keeps {len(given.patients)} patients in {given.count} folds: --set folds.frozen={name}")


def _stored(store: Store, key: str) -> FrozenSplit | None:
    """Return the split under a key; None where there is none, or none that can be read."""
    try:
        return FrozenSplit.model_validate(store.get_json(key))
    except (Missing, Damaged, ValidationError):
        return None


def _refuse_moved(given: FrozenSplit, stored: FrozenSplit, what: str) -> None:
    kinds = (("patient", stored.patients, given.patients), ("study", stored.studies, given.studies))
    for kind, before, now in kinds:
        for member, fold in before.items():
            if now.get(member) != fold:
                does = f"has it in fold {now[member]}" if member in now else "lacks it"
                raise BadInput(
                    f"{what} with {kind} {member} in fold {fold}, and the file {does}: a split only grows, so import "
                    "this one under another name."
                )

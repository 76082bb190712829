"""``python -m jobs weights promote``: name the weights of a run's model, so that experiments start from them.

The name points to the trainings, whose records say which films they have seen; it keeps them from being purged.
"""

from jobs.contract.exits import BadInput
from jobs.contract.names import check_run_name
from jobs.contract.needs.pretrained import PromotedRecord, architecture, experiment_of, stored_record
from jobs.contract.stored import layout
from jobs.nets.weights.trained_folds import trained_fold
from jobs.runtime.store import Store


def promote(run: str, model: str, name: str, fold: int | None) -> None:
    """Store a name for the weights of a run's model.

    Args:
        run: a run whose folds are trained.
        model: the model's name there.
        name: the new name; a promoted name may be given anew, one of pretrained weights may not.
        fold: the fold whose weights start every fold; None where each fold starts from its own.

    Raises:
        BadInput: the name is taken or not valid, or a fold of the model is not trained.
    """
    if not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_."):
        raise BadInput(f"{name!r} cannot name weights: use a-z, 0-9, -, _ and the full stop.")
    store = Store.from_environment()
    stored = store.find_json(layout.weights(name))
    if stored is not None and not isinstance(stored_record(stored), PromotedRecord):
        raise BadInput(f"{name} are pretrained weights in {store.url}: promote under another name.")
    experiment = experiment_of(check_run_name(run), f"promote {run}", store.find_json, store.url)
    folds = experiment.folds.selected if fold is None else (fold,)
    trained = {number: trained_fold(store, experiment, run, model, number) for number in folds}
    record = PromotedRecord(
        architecture=architecture(experiment.models[model]), run=run, model=model, folds=trained, fold=fold
    )
    store.put_json(layout.weights(name), record.model_dump(mode="json"))
    which = "fold k from its fold k" if fold is None else f"every fold from its fold {fold}"
    print(f"{name} starts from {model} of run {run}, {which}: weights: {name} in an experiment")


def remove(name: str) -> None:
    """Remove a promoted name, so that a purge may remove its trainings.

    Raises:
        BadInput: there is no such promoted name.
    """
    store = Store.from_environment()
    stored = store.find_json(layout.weights(name))
    if stored is None or not isinstance(stored_record(stored), PromotedRecord):
        raise BadInput(f"{store.url} has no promoted weights {name}: python -m jobs weights list shows them.")
    store.delete([layout.weights(name)])
    print(f"{name} is removed; the run {stored['run']} that trained it is kept")

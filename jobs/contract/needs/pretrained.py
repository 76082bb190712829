"""Weights that a training starts from, as experiments name them, and whether a store has them.

They are pretrained weights that somebody added, those of a run (``run:RUN/MODEL``), or a run's under a promoted name.
"""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Classifier, Experiment, Model
from jobs.contract.names import RunModel, run_model
from jobs.contract.plan import training_stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Output, Record, TrainedFold
from jobs.contract.task import TaskId

Read = Callable[[str], Any | None]


class PretrainedRecord(Output):
    """The pointer that is stored under the name of pretrained weights.

    Attributes:
        architecture: the timm or YOLO model that they are of, without a tag; None in a record of release 0.1.
    """

    architecture: str | None = None


class PromotedRecord(Record):
    """The pointer that is stored under the name of a run's promoted weights.

    Attributes:
        architecture: as :func:`architecture` gives it.
        run: the run that trained them.
        model: the model's name there.
        folds: fold → its weights.
        fold: the fold whose weights start every fold; None where each fold starts from its own.
    """

    architecture: str
    run: str
    model: str
    folds: dict[int, TrainedFold]
    fold: int | None = None

    def start_of(self, fold: int, name: str) -> TrainedFold:
        """Return the weights that a fold starts from.

        Raises:
            BadInput: there are none for this fold.
        """
        found = self.folds.get(fold if self.fold is None else self.fold)
        if found is None:
            raise BadInput(
                f"{name}: run {self.run} has no weights of {self.model} fold {fold}, only of fold "
                f"{', '.join(map(str, sorted(self.folds)))}: train that fold there, or let one fold start all: python "
                f"-m jobs weights promote {self.run} {self.model} NAME --fold {min(self.folds)}."
            )
        return found


def architecture_of(name: str) -> str:
    """The model that a name of weights is of: ``tf_efficientnet_b3`` of ``tf_efficientnet_b3.ns_jft_in1k``."""
    return name.partition(".")[0]


def architecture(model: Model) -> str:
    """The architecture of a model: its backbone without a tag, or its YOLO with the width if it is not YOLO's own."""
    if isinstance(model, Classifier):
        return architecture_of(model.backbone)
    return model.model + (f" of width {model.width:g}" if model.width else "")


def stored_record(stored: Any) -> PretrainedRecord | PromotedRecord:
    """Read the record under a name of weights.

    Raises:
        ValidationError: it is none.
    """
    kind = PromotedRecord if isinstance(stored, dict) and "folds" in stored else PretrainedRecord
    return kind.model_validate(stored)


def check_pretrained(experiment: Experiment, read: Read, where: str) -> None:
    """Refuse an experiment whose weights to start from are missing or of another architecture.

    It reads a small record per name, so it costs nothing before the first task; shapes are compared when a net loads
    the weights, and prepare compares the films.

    Args:
        experiment: its models may each name weights.
        read: returns a JSON object of the store by its key, None where there is none.
        where: address of the store, for messages.

    Raises:
        BadInput: naming the weights and the commands that add them. A damaged record counts as missing.
    """
    for path, model in model_paths(experiment):
        if model.weights is None:
            continue
        named = run_model(model.weights)
        if named:
            _refuse_other(path, model, _architecture_of_run(named, path, read, where))
            for fold in experiment.folds.selected:
                _refuse_unfinished(named, fold, path, read)
            continue
        try:
            record = stored_record(read(layout.weights(model.weights)))
        except (Damaged, ValidationError) as error:  # None is no record either
            raise BadInput(missing(model.weights, where, path)) from error
        _refuse_other(path, model, record.architecture)
        if isinstance(record, PromotedRecord):
            for fold in experiment.folds.selected:
                record.start_of(fold, f"{path}.weights: {model.weights}")


def missing(name: str, where: str, path: str = "weights") -> str:
    """The sentence for weights that a store does not have."""
    return (
        f"{path}: the store has no pretrained weights {name} ({where}/{layout.weights(name)}). Add them with "
        f"python -m jobs weights add {name} where there is internet access; or there with --to FILE, and here with "
        "--from FILE. null starts from random weights."
    )


def model_paths(experiment: Experiment) -> list[tuple[str, Model]]:
    """Every model with its path in the experiment, e.g. ``detectors.yolo``."""
    classifiers = [(f"classifiers.{name}", model) for name, model in experiment.classifiers.items()]
    return [*classifiers, *((f"detectors.{name}", model) for name, model in experiment.detectors.items())]


def experiment_of(run: str, path: str, read: Read, where: str) -> Experiment:
    """Return the experiment of a run that ``path`` names.

    Raises:
        BadInput: there is no such run, or it was made by an incompatible version.
    """
    stored = read(layout.run_experiment(run))
    if stored is None:
        raise BadInput(f"{path}: there is no run {run} in {where}: name a finished one; cv.py runs lists all.")
    try:
        return Experiment.model_validate(stored)
    except ValidationError as error:
        raise BadInput(f"{path}: the experiment of run {run} is of another version: run it again.") from error


def _architecture_of_run(named: RunModel, path: str, read: Read, where: str) -> str:
    other = experiment_of(named.run, f"{path}.weights", read, where)
    if named.model not in other.models:
        raise BadInput(
            f"{path}.weights: run {named.run} has no model {named.model}; it has {', '.join(other.models)}: name one "
            "of them."
        )
    return architecture(other.models[named.model])


def _refuse_other(path: str, model: Model, known: str | None) -> None:
    if known is not None and known != architecture(model):
        raise BadInput(
            f"{path}.weights: {model.weights} are weights of {known}, and the model is {architecture(model)}: name "
            "weights of the same architecture (python -m jobs weights list), or null to start from random ones."
        )


def _refuse_unfinished(named: RunModel, fold: int, path: str, read: Read) -> None:
    experiment = experiment_of(named.run, path, read, "the store")
    stage = training_stage(experiment, named.model)
    if fold not in experiment.folds.selected:
        folds = experiment.folds.selected
        raise BadInput(
            f"{path}.weights: run {named.run} trains fold {', '.join(map(str, folds))} of {experiment.folds.count}, so "
            f"fold {fold} has no start there: train it, or let one fold start all: python -m jobs weights promote "
            f"{named.run} {named.model} NAME --fold {folds[0]}."
        )
    if read(layout.reference(named.run, TaskId(stage, named.model, fold))) is None:
        raise BadInput(
            f"{path}.weights: run {named.run} has not finished {named.model} fold {fold}: resume it first (cv.py "
            f"resume {named.run})."
        )

"""The experiment: what is trained and how it is scored, as frozen, validated models. Where pods run is in the profile.

Every knob of the author's study log is a field here. An experiment travels resolved, as one JSON document.
A model's ``inference`` holds what can change without retraining; its training reads every other field but ``evolve``
and ``overlap``.
"""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from jobs.contract.experiment.classifier import Aux, Classifier, ClassifierInference, ClassWeights, LearningStage
from jobs.contract.experiment.data import Data, ExtraFilms, Folds, PseudoBoxes, PseudoLabels, SourceOfFilms
from jobs.contract.experiment.detector import YOLO_NAME, Detector, DetectorInference, Evolve
from jobs.contract.experiment.ensemble import Ensemble, Fusion, NoneRule
from jobs.contract.experiment.tracker import TrackerName
from jobs.contract.experiment.training import Trained
from jobs.contract.experiment.values import (
    WEIGHTS,
    Count,
    Fraction,
    Frozen,
    Name,
    PathInSource,
    Positive,
    Size,
    WeightsName,
)
from jobs.contract.names import extra_name
from jobs.contract.stored.digest import digest, settings

__all__ = [
    "WEIGHTS",
    "YOLO_NAME",
    "Aux",
    "ClassWeights",
    "Classifier",
    "ClassifierInference",
    "Count",
    "Data",
    "Detector",
    "DetectorInference",
    "Ensemble",
    "Evaluation",
    "Evolve",
    "Experiment",
    "ExtraFilms",
    "Folds",
    "Fraction",
    "Frozen",
    "Fusion",
    "LearningStage",
    "Model",
    "Name",
    "NoneRule",
    "PathInSource",
    "Positive",
    "PseudoBoxes",
    "PseudoLabels",
    "Size",
    "SourceOfFilms",
    "Trained",
    "WeightsName",
    "inference_settings",
    "training_settings",
]

Model = Classifier | Detector


class Evaluation(Frozen):
    """What the report shows beside the score."""

    bootstrap: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        1000, description="resamples of patients behind an interval"
    )
    gallery: Annotated[int, Field(ge=0, lt=2**31)] = Field(12, description="films a group in the report's gallery")


class Experiment(Frozen):
    """One experiment: data, models, ensemble, evaluation."""

    name: Name
    title: str = ""
    remark: str = Field("", description="remark of the study log, or why a value was chosen")
    inferred: dict[str, str] = Field(
        default_factory=dict, description="field → reason for its value, where the study log does not give it"
    )
    seed: Annotated[int, Field(ge=0)] = Field(1, description="seed of training and resampling; the split has its own")
    data: Data = Data()
    folds: Folds = Folds()
    classifiers: dict[Name, Classifier] = Field(default_factory=dict)
    detectors: dict[Name, Detector] = Field(default_factory=dict)
    ensemble: Ensemble = Ensemble()
    evaluation: Evaluation = Evaluation()
    tracker: TrackerName = Field("none", description="where learning curves are also sent")

    @model_validator(mode="after")
    def _models_make_sense(self) -> Self:
        if not self.classifiers and not self.detectors:
            raise ValueError("an experiment needs at least one model under classifiers or detectors")
        if twice := sorted(set(self.classifiers) & set(self.detectors)):
            raise ValueError(f"{twice[0]} names a classifier and a detector; a model's name must be its own")
        if unknown := sorted(set(self.ensemble.weights) - set(self.classifiers) - set(self.detectors)):
            raise ValueError(f"ensemble.weights names {unknown[0]}, which is not a model of this experiment")
        if self.detectors and self.seed >= 2**64:
            raise ValueError("seed must be below 2^64, PyTorch's limit, where a detector is trained")
        if self.ensemble.temperature is not None and not any(model.answers_studies for model in self.voters.values()):
            raise ValueError("ensemble.temperature scales study classes, which no model with a weight predicts")
        if self.ensemble.temperature == "fit" and self.ensemble.labels == "top":
            raise ValueError("ensemble.temperature: fit needs all classes of a study, so it excludes labels: top")
        if taken := sorted({extra_name(number) for number in range(len(self.data.extra))} & set(self.models)):
            raise ValueError(f"{taken[0]} names films of data.extra in the run's tasks; give the model another name")
        if self.data.halve_from and self.data.halve_from < 5 * max(self.sizes):
            raise ValueError(
                f"data.halve_from is {self.data.halve_from}, too few pixels to halve for size {max(self.sizes)}: "
                f"give {5 * max(self.sizes)} or more"
            )
        if self.data.split and self.folds.frozen:
            raise ValueError("data.split and folds.frozen both say which fold a study is in; give one of them")
        if self.ensemble.min_folds and self.ensemble.min_folds > len(self.folds.selected):
            raise ValueError(
                f"ensemble.min_folds is {self.ensemble.min_folds}, but only {len(self.folds.selected)} folds run"
            )
        return self

    @property
    def models(self) -> dict[str, Model]:
        """All models by name, classifiers first."""
        return {**self.classifiers, **self.detectors}

    @property
    def voters(self) -> dict[str, Model]:
        """The models that have a weight in the ensemble."""
        return {name: model for name, model in self.models.items() if self.ensemble.weights.get(name, 1.0) > 0}

    @property
    def none_sources(self) -> tuple[str, ...]:
        """The fields of :class:`NoneRule` that the voters feed."""
        voters = self.voters.values()
        fed = {
            "boxes": any(model.answers_boxes for model in voters),
            "negative": any(model.answers_studies for model in voters),
            "film2": any(model.answers_films for model in voters),
        }
        return tuple(source for source, is_fed in fed.items() if is_fed)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every size in pixels that a model trains or predicts at."""
        return tuple(sorted({size for model in self.models.values() for size in (model.size, model.inference_size)}))

    @property
    def hash(self) -> str:
        """SHA-256 of what the experiment computes; titles, remarks and the tracker do not count."""
        return digest(settings(self, without=("title", "remark", "inferred", "tracker")))

    @property
    def default_run(self) -> str:
        """The run's name where none is given, so that repeating a command continues the same run."""
        return f"{self.name}-{self.hash[:8]}"


def training_settings(model: Model) -> dict[str, Any]:
    """The settings of a model that its training depends on, for hashes."""
    return settings(model, without=("inference", "evolve", "overlap"))


def inference_settings(model: Model) -> dict[str, Any]:
    """The settings that predictions depend on besides the weights, for hashes.

    An inference size equal to the training size is left out, as if it were not given.
    """
    own_size = model.inference_size if model.inference_size != model.size else None
    return settings(model.inference.model_copy(update={"size": own_size}))

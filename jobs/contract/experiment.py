"""The experiment: what is trained and how it is scored, as frozen, validated models. Where pods run is in the profile.

Every knob of the author's study log is a field here. An experiment travels resolved, as one JSON document.
A model's ``inference`` holds what can change without retraining; its training reads every other field but ``evolve``
and ``overlap``.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from jobs.contract.augmentation import Augment
from jobs.contract.digest import digest, settings
from jobs.contract.exits import BadInput
from jobs.contract.names import ALL_CLASSES, FILM_CLASSES, STUDY_CLASSES, check_run_name, extra_name, run_model
from jobs.contract.source import check_source

WEIGHTS: Final = (
    "name of weights in the store (jobs weights add, jobs weights promote), or run:RUN/MODEL for those of a run, fold "
    "k from its fold k; none: random"
)
YOLO_NAME: Final = "yolov5[nsmlx]u|yolov8[nsmlx]|yolo11[nsmlx]"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Size = Annotated[int, Field(ge=32, le=2048, multiple_of=32)]


def _within_source(path: str) -> str:
    """Refuse a table outside the source: an experiment may come from somebody else than who runs it."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("must be a path within the source, without a leading / and without ..")
    return path


ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("name")] | Annotated[dict[str, Annotated[float, Field(ge=0)]], Tag("weights")],
    Discriminator(lambda value: "weights" if isinstance(value, dict) else "name"),
]
PathInSource = Annotated[str, AfterValidator(_within_source)]


def _weights_name(name: str) -> str:
    """Refuse ``run:`` without a run and a model."""
    try:
        run_model(name)
    except BadInput as error:
        raise ValueError(str(error)) from error
    return name


WeightsName = Annotated[str, AfterValidator(_weights_name)]


class Frozen(BaseModel):
    """A value object: immutable, finite numbers only, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _run_name(name: str) -> str:
    try:
        return check_run_name(name)
    except BadInput as error:
        raise ValueError(str(error)) from error


def _source(source: str) -> str:
    try:
        return check_source(source)
    except BadInput as error:
        raise ValueError(str(error)) from error


SourceOfFilms = Annotated[str, AfterValidator(_source)]


class PseudoBoxes(Frozen):
    """Which of a teacher's boxes count as opacities."""

    above: Fraction = Field(description="least confidence of a box that counts as an opacity")
    below: Fraction = Field(
        description="a film whose every box has less confidence counts as one without opacities; films in between are "
        "left out of the losses of boxes, masks, none and opacity"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.below > self.above:
            raise ValueError(f"below ({self.below:g}) must not exceed above ({self.above:g})")
        return self


class PseudoLabels(Frozen):
    """Labels that a finished run, the teacher, predicts: its nets of fold k for fold k."""

    run: Annotated[str, AfterValidator(_run_name)]
    keep: Fraction = Field(
        0.0, description="least probability of a study's likeliest class; studies below are not trained on"
    )
    boxes: PseudoBoxes | None = Field(
        None, description="where not given, the films have no boxes: they teach the study classes only"
    )


class ExtraFilms(Frozen):
    """Films that every fold trains on and none validates on."""

    source: SourceOfFilms
    labels: PseudoLabels | None = Field(None, description="a teacher's predictions; their own label files if not given")
    patients: PathInSource | None = Field(None, description="CSV in the source that maps studies to patients")


class Data(Frozen):
    """Which films, and how patients and siblings among them are treated."""

    source: SourceOfFilms = Field(
        "phantom:patients=60,seed=1", description="s3://bucket/prefix, a folder, or phantom:patients=N,seed=S"
    )
    siblings: Literal["keep", "drop", "mask"] = Field(
        "keep",
        description="films without boxes in a study where another film has them: train on them, leave them out, "
        "or leave them out of the losses of none, opacity, mask and boxes only",
    )
    patients: PathInSource | None = Field(
        None, description="CSV in the source that maps studies to patients, where the films do not"
    )
    split: PathInSource | None = Field(
        None, description="CSV in the source with columns study,fold: a split made elsewhere"
    )
    duplicates: Fraction = Field(0.98, description="correlation of pixels above which two films count as the same")
    extra: tuple[ExtraFilms, ...] = Field(
        (), max_length=9, description="films beside the folds: every fold trains on them, none validates on them"
    )


class Folds(Frozen):
    """Number of folds, and which of them this experiment trains."""

    count: Annotated[int, Field(ge=2, le=20)] = 5
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        1, description="seed of the split, below scikit-learn's limit of 2^32; independent of the training seed"
    )
    run: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="the folds to train; all where not given"
    )

    @model_validator(mode="after")
    def _run_within_count(self) -> Self:
        bad = [fold for fold in self.run or () if fold >= self.count]
        if bad or self.run == ():
            raise ValueError(f"folds to run must be some of 0 to {self.count - 1}, not {list(self.run or ())}")
        if self.run and len(set(self.run)) != len(self.run):
            raise ValueError(f"a fold is named twice in {list(self.run)}")
        return self

    @property
    def selected(self) -> tuple[int, ...]:
        """The folds to train, in order."""
        return tuple(sorted(self.run)) if self.run else tuple(range(self.count))


class LearningStage(Frozen):
    """One learning-rate stage. A later stage starts from the best weights of the one before, with a fresh optimiser."""

    lr: Positive
    epochs: Count


class Aux(Frozen):
    """The auxiliary head that predicts a mask of the opacities from an inner feature map."""

    stride: Literal[4, 8, 16, 32] = 16
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    channels: Count = 128
    loss: Literal["bce", "dice", "bce+dice"] = "bce"
    weight: Annotated[float, Field(ge=0)] = 1.0
    mask: Literal["soft", "box", "ellipse"] = "soft"


class Trained(Frozen):
    """How any net is trained and scored on a machine."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on a GPU from Ampere on, fp16 with scaled loss on an older one, fp32 on a CPU"
    )
    deterministic: bool = Field(
        False,
        description="a training repeated or resumed on one kind of GPU ends with the same bits, which costs speed; "
        "without it, kernels may add in another order each time; on a CPU it always does",
    )
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"] = Field(
        "none", description="mode of torch.compile for the training's forward and backward pass"
    )
    eval_batch: Count | None = Field(
        None,
        description="films at once when an epoch is scored; where not given, the training batch on a CPU (a detector's "
        "twice) and four times the training batch on a GPU",
    )
    train_score_every: Count = Field(1, description="epochs between two scores on training films")
    overlap: Literal["error", "drop"] = Field(
        "error",
        description="where the weights are a run's, what to do if it trained on films of a fold's validation patients: "
        "end, or train the start of that fold again without them",
    )


class ClassifierInference(Frozen):
    """How a trained classifier predicts; a change retrains nothing."""

    size: Size | None = Field(None, description="pixels a side at inference; the training size where not given")
    tta: Literal["none", "flip"] = "none"
    select: Literal["best", "last"] = "best"
    batch: Count = 16


class Classifier(Trained):
    """A study-level classifier, or the film-level two-class one."""

    backbone: str = "tf_efficientnet_b3"
    weights: WeightsName | None = Field(None, description=WEIGHTS)
    size: Size = 512
    head: Literal["study4", "joint6", "film2"] = "study4"
    loss_on: Literal["all", "film"] = Field("all", description="film: a joint6 head's loss on none and opacity only")
    aux: Aux | None = Aux()
    optimizer: Literal["adam", "madgrad"] = "madgrad"
    stages: Annotated[tuple[LearningStage, ...], Field(min_length=1, max_length=4)] = (
        LearningStage(lr=1e-3, epochs=12),
    )
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: Annotated[float, Field(ge=0)] = Field(
        0.0, description="epochs of linear warm-up at the start of each stage"
    )
    batch: Count = 8
    accumulate: Count = 1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    loss: Literal["cross_entropy", "sigmoid"] = Field(
        "cross_entropy",
        description="sigmoid: a binary cross-entropy per class; probabilities need not sum to 1",
    )
    focal: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="exponent of the focal loss, which counts what is already answered well less; 0: none"
    )
    class_weights: ClassWeights | None = Field(
        None,
        description="weight of each class in the loss, 1 where not given; balanced: inverse to its number of films",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Augment = Field("basic", description="a name, or a list of albumentations' transforms with their values")
    mixup: Annotated[float, Field(ge=0)] = Field(
        0.0, description="alpha of mixup's Beta(alpha, alpha), by which two films are blended; 0: none"
    )
    cutmix: Annotated[float, Field(ge=0)] = Field(
        0.0, description="the same of cutmix, which pastes a square of another film; with both, each batch gets one"
    )
    mix_chance: Fraction = Field(1.0, description="chance that a batch is mixed")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="decay of the averaged weights that are scored; 0: none"
    )
    ema_warmup: Annotated[float, Field(ge=0)] = Field(
        0.0, description="epochs in which that decay rises to 63 % of its value, for short trainings; 0: at once"
    )
    clip: Annotated[float, Field(ge=0)] = Field(0.0, description="largest gradient norm; 0: not clipped")
    patience: Count | None = Field(None, description="epochs without a better score after which a stage ends")
    inference: ClassifierInference = ClassifierInference()

    @model_validator(mode="after")
    def _loss_needs_joint_head(self) -> Self:
        if self.loss_on == "film" and self.head != "joint6":
            raise ValueError("loss_on: film leaves out the study classes, so it needs head: joint6")
        return self

    @model_validator(mode="after")
    def _weights_of_own_classes(self) -> Self:
        if isinstance(self.class_weights, dict):
            if unknown := [name for name in self.class_weights if name not in self.classes]:
                raise ValueError(f"class_weights names {unknown[0]}; head {self.head} has {', '.join(self.classes)}")
            if not any(self.class_weights.get(name, 1.0) for name in self.classes):
                raise ValueError("class_weights are all 0, so nothing is learned; give a class a weight above 0")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """The head's outputs, in order."""
        return {"study4": STUDY_CLASSES, "joint6": ALL_CLASSES, "film2": FILM_CLASSES}[self.head]

    @property
    def answers_studies(self) -> bool:
        """Whether the head is trained on the study classes."""
        return STUDY_CLASSES[0] in self.classes and self.loss_on == "all"

    @property
    def answers_films(self) -> bool:
        """Whether the head is trained on none and opacity as a film's two classes."""
        return FILM_CLASSES[0] in self.classes

    @property
    def answers_boxes(self) -> bool:
        """Whether the model predicts boxes."""
        return False

    @property
    def figure(self) -> str:
        """The figure that the model's epochs are scored by."""
        return "map4" if self.answers_studies else "film2"

    @property
    def inference_size(self) -> int:
        """Pixels a side at inference."""
        return self.inference.size or self.size


class DetectorInference(Frozen):
    """How a trained detector predicts; a change retrains nothing."""

    size: Size | None = Field(None, description="pixels a side at inference; the training size where not given")
    tta: bool = Field(False, description="ultralytics' three passes: as is, mirrored, at two smaller scales")
    select: Literal["best", "last"] = "best"
    confidence: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    iou: Fraction = Field(0.6, description="overlap above which non-maximum suppression drops the weaker box")
    max_boxes: Count = 300
    batch: Count = 16


class Evolve(Frozen):
    """A search for better settings on each fold, by mutating the best so far as ultralytics does."""

    epochs: Count = Field(description="total epochs of all candidates; the first candidate is unmutated")


class Detector(Trained):
    """A YOLO detector of opacities."""

    model: Annotated[str, StringConstraints(pattern=rf"^({YOLO_NAME})$")] = "yolov8m"
    width: Annotated[float, Field(gt=0, le=2)] | None = Field(
        None, description="channel multiple instead of the model's own"
    )
    weights: WeightsName | None = Field(None, description=WEIGHTS)
    size: Size = 512
    epochs: Count = 20
    batch: Count = 16
    accumulate: Count = 1
    nominal_batch: Count | None = Field(
        None,
        description="films a step, as YOLOv5 does it: the nearest whole number of batches, rising from one during "
        "warm-up, with weight decay in proportion; YOLOv5's is 64",
    )
    optimizer: Literal["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSProp"] = "SGD"
    lr: Positive = 0.01
    final_lr: Fraction = Field(0.01, description="the last epoch's learning rate as a fraction of the first's")
    schedule: Literal["linear", "cosine"] = "linear"
    momentum: Fraction = 0.937
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    warmup: Annotated[float, Field(ge=0)] = Field(3.0, description="epochs of warm-up")
    warmup_batches: Annotated[int, Field(ge=0)] = Field(
        0, description="least number of batches of warm-up; YOLOv5's of 2021 is 1000"
    )
    mosaic: Fraction = 1.0
    mixup: Fraction = 0.0
    close_mosaic: Annotated[int, Field(ge=0)] = Field(0, description="last epochs without mosaic and mixup")
    degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    translate: Fraction = 0.1
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.5
    shear: Annotated[float, Field(ge=0, le=45)] = 0.0
    flip: Fraction = Field(0.5, description="chance of a left-right flip")
    brightness: Fraction = Field(0.4, description="largest relative change of brightness")
    patience: Count | None = Field(None, description="epochs without a better score after which training ends")
    evolve: Evolve | None = None
    inference: DetectorInference = DetectorInference()

    @model_validator(mode="after")
    def _search_has_something_to_compare(self) -> Self:
        if self.evolve and self.candidates < 2:
            raise ValueError(
                f"evolve.epochs is {self.evolve.epochs}, too few for two candidates of {self.epochs} epochs each: "
                f"give {2 * self.epochs} or more"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_accumulate(self) -> Self:
        if self.nominal_batch and self.accumulate > 1:
            raise ValueError("accumulate and nominal_batch both say how many batches make a step: give one of them")
        return self

    @property
    def candidates(self) -> int:
        """Number of settings that a search tries, including these; 0 without a search."""
        return self.evolve.epochs // self.epochs if self.evolve else 0

    @property
    def answers_studies(self) -> bool:
        """Whether the model predicts study classes."""
        return False

    @property
    def answers_films(self) -> bool:
        """Whether the model predicts none and opacity as a film's two classes."""
        return False

    @property
    def answers_boxes(self) -> bool:
        """Whether the model predicts boxes."""
        return True

    @property
    def figure(self) -> str:
        """The figure that the model's epochs are scored by."""
        return "opacity"

    @property
    def inference_size(self) -> int:
        """Pixels a side at inference."""
        return self.inference.size or self.size


Model = Classifier | Detector


class NoneRule(Frozen):
    """Weights of the sources of a film's none score, a weighted mean. Sources that no model feeds are left out."""

    boxes: Annotated[float, Field(ge=0)] = Field(0.5, description="1 - the film's highest box confidence")
    negative: Annotated[float, Field(ge=0)] = Field(0.5, description="the study's probability of the negative class")
    film2: Annotated[float, Field(ge=0)] = Field(0.5, description="a film-level model's probability of none")


class Fusion(Frozen):
    """Weighted boxes fusion over detectors and folds."""

    iou: Fraction = 0.6
    floor: Annotated[float, Field(ge=0, lt=1)] = Field(1e-4, description="boxes of a lower confidence are left out")
    repeat: Count = Field(1, description="times each fused box is written; remark W4 of the study log")


class Ensemble(Frozen):
    """How the models' predictions become one submission."""

    weights: dict[Name, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="a model's weight; 1 where not given"
    )
    fusion: Fusion = Fusion()
    none: NoneRule = NoneRule()
    labels: Literal["all", "top"] = "all"
    search: Literal["none", "greedy"] = Field(
        "none",
        description="greedy: choose weights, fusion.iou and the none rule on out-of-fold predictions; each film is "
        "scored with what was chosen without its patient, and a test set predicted with what all patients chose",
    )
    temperature: Literal["fit"] | Positive | None = Field(
        None,
        description="divides the logarithms of a study's probabilities; fit: the temperature that fits the labels "
        "best, out of fold from the other folds, for a test set from all",
    )
    min_folds: Count | None = Field(
        None, description="least number of folds to ensemble when some are missing; all must be there where not given"
    )


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
    tracker: Literal["none", "wandb"] = Field("none", description="where learning curves are also sent")

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

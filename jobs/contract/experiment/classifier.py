"""A classifier: its head, losses, optimiser, learning-rate stages and inference."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from jobs.contract.experiment.augmentation import Augment
from jobs.contract.experiment.training import Trained
from jobs.contract.experiment.values import WEIGHTS, Count, Fraction, Frozen, Positive, Size, WeightsName
from jobs.contract.names import ALL_CLASSES, FILM_CLASSES, STUDY_CLASSES

ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("name")] | Annotated[dict[str, Annotated[float, Field(ge=0)]], Tag("weights")],
    Discriminator(lambda value: "weights" if isinstance(value, dict) else "name"),
]


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
    def accumulates(self) -> bool:
        """Whether a step adds up the gradients of several batches."""
        return self.accumulate > 1

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

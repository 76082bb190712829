"""A detector: its YOLO, optimiser, augmentation and inference."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from jobs.contract.experiment.training import Trained
from jobs.contract.experiment.values import WEIGHTS, Count, Fraction, Frozen, Positive, Size, WeightsName

YOLO_NAME: Final = "yolov5[nsmlx]u|yolov8[nsmlx]|yolo11[nsmlx]"


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
    def accumulates(self) -> bool:
        """Whether a step adds up the gradients of several batches."""
        return self.accumulate > 1 or (self.nominal_batch or 0) > self.batch

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

"""The ensemble: weights, fusion of boxes, the none rule."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.contract.experiment.values import Count, Fraction, Frozen, Name, Positive


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

"""The films of an experiment and their folds."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from jobs.contract.exits import BadInput
from jobs.contract.experiment.source import check_source
from jobs.contract.experiment.values import Count, Fraction, Frozen, Name, PathInSource
from jobs.contract.names import check_run_name


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
    halve_from: Count | None = Field(
        None,
        description="least pixels of the longer side of JPEG 2000 films that are decoded at half their resolution, "
        "where their grey scale allows it, in a third of the time; at least five times the largest size; none where "
        "not given",
    )
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
    frozen: Name | None = Field(
        None,
        description="name of a split in the store (cv.py split import): its patients keep their folds, new ones are "
        "dealt to them",
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

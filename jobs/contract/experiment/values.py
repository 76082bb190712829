"""Types of the fields: names, fractions, counts, sizes."""

from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from jobs.contract.exits import BadInput
from jobs.contract.names import run_model

WEIGHTS: Final = (
    "name of weights in the store (jobs weights add, jobs weights promote), or run:RUN/MODEL for those of a run, fold "
    "k from its fold k; none: random"
)

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


def mistakes(error: ValidationError) -> str:
    """Return pydantic's mistakes in one line: for each, the field, what it must be, and its value."""
    lines = []
    for mistake in error.errors(include_url=False):
        field = ".".join(map(str, mistake["loc"]))
        text = mistake["msg"].removeprefix("Value error, ")
        if isinstance(mistake["input"], str | int | float) and field:
            text += f", not {mistake['input']!r:.80}"
        lines.append(f"{field}: {text}" if field else text)
    return "; ".join(lines)

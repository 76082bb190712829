"""What is wrong with augmentation given as a list of albumentations' transforms.

Names and parameters are known everywhere: ``transforms.txt``, which ``make golden`` writes, has those of the locked
release. Values are refused by albumentations itself where it is installed, and by prepare in any case.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from os import environ
from pathlib import Path
from typing import Any, Final

from jobs.contract.experiment import Experiment
from jobs.contract.experiment.augmentation import COMPOSITIONS, walk
from workflows.lint.findings import Problem

TRANSFORMS: Final = Path(__file__).with_name("transforms.txt")


def transform_problems(experiment: Experiment) -> Iterator[Problem]:
    """Yield the unknown transforms, the unknown parameters and the refused values of all classifiers."""
    for name, classifier in experiment.classifiers.items():
        if not isinstance(classifier.augment, str):
            for transform, values in walk(classifier.augment):
                if message := _wrong(transform, values):
                    yield Problem(f"classifiers.{name}.augment", message)


def _wrong(name: str, values: Mapping[str, Any]) -> str:
    """Return what is wrong with a transform; empty if nothing is."""
    known = _known()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        return f"albumentations has no transform {name}" + (f"; did you mean {near[0]}?" if near else "")
    if unknown := sorted(values.keys() - set(known[name])):
        return f"{name} has no {unknown[0]}; it has {', '.join(known[name])}"
    if name in COMPOSITIONS or find_spec("albumentations") is None:
        return ""
    return _refused(name, {**{key: 64 for key in ("height", "width") if key in known[name]}, **values}, known[name])


def _refused(name: str, values: dict[str, Any], parameters: tuple[str, ...]) -> str:
    environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would look for updates on the internet
    import albumentations

    if "size" in parameters:
        values = {"size": (64, 64), **values}
    try:
        getattr(albumentations, name)(**values)
    except (ValueError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        cause = ": ".join(lines[1:3]) if "validation error" in lines[0] else lines[0]
        return f"albumentations refuses the values of {name}: {cause.partition(' [type=')[0].rstrip('.')}"
    return ""


@cache
def _known() -> dict[str, tuple[str, ...]]:
    lines = TRANSFORMS.read_text(encoding="utf-8").splitlines()
    return {name: tuple(parameters) for name, *parameters in map(str.split, lines)}

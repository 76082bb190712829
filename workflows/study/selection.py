"""Which experiments a study holds, and which of them each is compared with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from workflows.settings.files import find, load_experiment
from workflows.settings.recipes import EXPERIMENTS


@dataclass(frozen=True)
class Asked:
    """What the command line changes of every experiment of a study."""

    data: str | None = None
    folds: Sequence[int] | None = None
    settings: Sequence[str] = ()
    smoke: bool = False


@dataclass(frozen=True)
class Studied:
    """An experiment of the study.

    Attributes:
        experiment: resolved.
        parent: the run it is compared with, None for one that stands alone.
    """

    experiment: Experiment
    parent: str | None

    @property
    def run(self) -> str:
        """Its run: the one that ``cv.py run`` or ``submit`` with the same options makes."""
        return self.experiment.default_run


def select(named: str, asked: Asked, against: str | None = None) -> list[Studied]:
    """The experiments of a study, each after the one it is compared with.

    Args:
        named: names or files, with commas between; a name may hold ``*``.
        asked: what is changed of each.
        against: the experiment that all others are compared with, in place of the nearest they extend.

    Raises:
        BadInput: naming what cannot be found or is no experiment.
    """
    wanted = [against] if against else []
    wanted += [name for part in named.split(",") if part.strip() for name in _names(part.strip())]
    files = list(dict.fromkeys(find(name, EXPERIMENTS, "experiment").resolve() for name in wanted))
    if not files:
        raise BadInput(f"-e {named}: name the experiments of the study, with commas between.")
    parents = {file: _parent(file, files, against is not None) for file in files}
    plain = {file: load_experiment(file) for file in _parents_first(parents)}
    experiments = {file: _load(file, asked, plain) for file in plain}
    runs = {file: experiment.default_run for file, experiment in experiments.items()}
    return [Studied(one, runs[above] if (above := parents[file]) else None) for file, one in experiments.items()]


def _parent(file: Path, files: Sequence[Path], first_for_all: bool) -> Path | None:
    """The file of the study that a file is compared with: the first, or the nearest of those it extends."""
    above = files[:1] if first_for_all else ancestors(file)
    return next((one for one in above if one in files and one != file), None)


def _parents_first(parents: Mapping[Path, Path | None]) -> list[Path]:
    """The files in their order, but each after its parent."""
    ordered: list[Path] = []

    def place(file: Path) -> None:
        if (above := parents[file]) and above not in ordered:
            place(above)
        if file not in ordered:
            ordered.append(file)

    for file in parents:
        place(file)
    return ordered


def ancestors(file: Path) -> Iterator[Path]:
    """The files that an experiment's file extends, the nearest first."""
    waiting, seen = [file], {file}
    while waiting:
        child = waiting.pop(0)
        named = yaml.safe_load(child.read_bytes()).get("extends") or []
        for name in [named] if isinstance(named, str) else named:
            beside = child.parent / f"{name}.yaml"
            above = (beside if beside.is_file() else find(name, EXPERIMENTS, "file")).resolve()
            if above not in seen:
                seen.add(above)
                waiting.append(above)
                yield above


def _names(part: str) -> list[str]:
    if "*" not in part:
        return [part]
    found = sorted(str(file.relative_to(EXPERIMENTS).with_suffix("")) for file in EXPERIMENTS.glob(f"{part}.yaml"))
    if not found:
        raise BadInput(f"-e {part}: no experiment's name is like that; cv.py recipes lists them.")
    return found


def _load(file: Path, asked: Asked, plain: Mapping[Path, Experiment]) -> Experiment:
    """An experiment with what is asked of it: what is set of a model leaves experiments without it alone."""
    overlay = "smoke" if asked.smoke else None
    settings = [
        text
        for text in asked.settings
        if _concerns(text, plain[file]) or not any(_concerns(text, one) for one in plain.values())
    ]
    return load_experiment(file, settings, asked.data, asked.folds, overlay)


def _concerns(setting: str, experiment: Experiment) -> bool:
    """Whether an experiment has the model that a setting names; one that names none concerns every experiment."""
    kind, name, *_ = [*setting.partition("=")[0].split("."), ""]
    if kind not in ("classifiers", "detectors"):
        return True
    models = getattr(experiment, kind)
    return name in models or (name == "*" and bool(models))

"""Which experiments a study holds, and which of them each is compared with."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.text_files import read_text
from workflows.settings.files import extended_file, find, load_experiment
from workflows.settings.recipes import EXPERIMENTS
from workflows.settings.tree import load_yaml, shown


@dataclass(frozen=True)
class Changes:
    """What the command line changes in every experiment of a study."""

    data: str | None = None
    folds: Sequence[int] | None = None
    settings: Sequence[str] = ()
    smoke: bool = False


@dataclass(frozen=True)
class StudyExperiment:
    """An experiment of a study.

    Attributes:
        experiment: the resolved experiment.
        parent: the run it is compared with; None for one that is compared with nothing.
    """

    experiment: Experiment
    parent: str | None

    @property
    def run(self) -> str:
        """Its run: the one that ``cv.py run`` or ``submit`` with the same options creates."""
        return self.experiment.default_run


def select(pattern: str, changes: Changes, against: str | None = None) -> list[StudyExperiment]:
    """Select the experiments of a study, each after the one it is compared with.

    Args:
        pattern: names or files, separated by commas; a name may contain ``*``.
        changes: what to change in each.
        against: compare all others with this experiment instead of with the nearest one that each extends.

    Raises:
        BadInput: a name matches no experiment, or a file is not a valid one.
    """
    wanted = [against] if against else []
    wanted += [name for part in pattern.split(",") if part.strip() for name in _names(part.strip())]
    files = list(dict.fromkeys(_real(find(name, EXPERIMENTS, "experiment")) for name in wanted))
    if not files:
        raise BadInput(f"-e {pattern}: name the experiments of the study, separated by commas.")
    parents = {file: _parent(file, files, against is not None) for file in files}
    unchanged = {file: load_experiment(file) for file in _parents_first(parents)}
    experiments = {file: _load(file, changes, unchanged) for file in unchanged}
    runs = {file: experiment.default_run for file, experiment in experiments.items()}
    return [
        StudyExperiment(experiment, runs[parent] if (parent := parents[file]) else None)
        for file, experiment in experiments.items()
    ]


def _parent(file: Path, files: Sequence[Path], first_for_all: bool) -> Path | None:
    """The file of the study that a file is compared with: the first, or the nearest one that it extends."""
    candidates = files[:1] if first_for_all else ancestors(file)
    return next((candidate for candidate in candidates if candidate in files and candidate != file), None)


def _parents_first(parents: Mapping[Path, Path | None]) -> list[Path]:
    """Keep the order of the files, but move each behind its parent."""
    ordered: list[Path] = []

    def place(file: Path) -> None:
        if (parent := parents[file]) and parent not in ordered:
            place(parent)
        if file not in ordered:
            ordered.append(file)

    for file in parents:
        place(file)
    return ordered


def ancestors(file: Path) -> Iterator[Path]:
    """Yield the files that an experiment's file extends, the nearest first."""
    waiting, seen = [file], {file}
    while waiting:
        child = waiting.pop(0)
        content = load_yaml(read_text(child), shown(child))
        extends = (content.get("extends") if isinstance(content, dict) else None) or []
        for name in extends if isinstance(extends, list) else [extends]:
            base = _real(extended_file(str(name), child, EXPERIMENTS))
            if base not in seen:
                seen.add(base)
                waiting.append(base)
                yield base


def _real(file: Path) -> Path:
    return Path(os.path.realpath(file))  # Path.resolve raises for a link to itself


def _names(part: str) -> list[str]:
    if "*" not in part:
        return [part]
    names = sorted(str(file.relative_to(EXPERIMENTS).with_suffix("")) for file in EXPERIMENTS.glob(f"{part}.yaml"))
    if not names:
        raise BadInput(f"-e {part}: no experiment matches; cv.py recipes lists them.")
    return names


def _load(file: Path, changes: Changes, unchanged: Mapping[Path, Experiment]) -> Experiment:
    """Load an experiment with the changes. ``--set`` paths naming a model that it lacks are skipped."""
    overlay = "smoke" if changes.smoke else None
    settings = [
        setting
        for setting in changes.settings
        if _applies(setting, unchanged[file]) or not any(_applies(setting, other) for other in unchanged.values())
    ]
    return load_experiment(file, settings, changes.data, changes.folds, overlay)


def _applies(setting: str, experiment: Experiment) -> bool:
    """Whether an experiment has the model that a setting names; a setting without a model applies to all."""
    kind, name, *_ = [*setting.partition("=")[0].split("."), ""]
    if kind not in ("classifiers", "detectors"):
        return True
    models = getattr(experiment, kind)
    return name in models or (name == "*" and bool(models))

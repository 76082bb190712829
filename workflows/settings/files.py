"""Load experiments and profiles from YAML files: find by name or path, resolve ``extends``, override, validate.

At the top level, ``extends`` names one or several files to inherit from; nested, ``file#path`` copies a subtree, e.g.
``study-06#classifiers.b3``. Mappings merge, lists replace, null deletes. A file's name, title and remark are never
inherited.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.experiment.source import PREFIX
from jobs.contract.profile import Profile
from jobs.contract.text_files import read_text
from workflows.settings.overrides import Override, apply, parse_overlay, parse_setting
from workflows.settings.recipes import EXPERIMENTS
from workflows.settings.schema import Model, nearest, refuse_idle_nulls, step_into, validate, without_nulls
from workflows.settings.tree import YamlValue, merge, parse, shown, wrap
from workflows.settings.yaml_loader import clipped

PROFILES: Final = Path(__file__).parents[1] / "profiles"
OVERLAYS: Final = EXPERIMENTS / "overlays"
SOURCE: Final = ("data", "source")
NOT_INHERITED: Final = ("name", "title", "remark")
LONGEST_CHAIN: Final = 32  # files that extend each other


def load_experiment(
    name_or_path: str | Path,
    overrides: Sequence[str] = (),
    data: str | None = None,
    folds: Sequence[int] | None = None,
    overlay: str | None = None,
) -> Experiment:
    """Load an experiment and resolve what it extends.

    Args:
        name_or_path: a recipe's name, or the path of a YAML file.
        overrides: texts of the form ``a.b=c``, applied last.
        data: a SOURCE that replaces the experiment's.
        folds: the folds to train; they replace the experiment's.
        overlay: name or path of an overlay, e.g. ``smoke``, applied before all other overrides.

    Raises:
        BadInput: some values are invalid; the message names each with its file, line and fix.
    """
    file = find(name_or_path, EXPERIMENTS, "experiment")
    experiment = _load(Reader(Experiment, EXPERIMENTS), file, Experiment)
    changes = _overlay(overlay, experiment) if overlay else []
    if data is not None:
        changes.append(Override(SOURCE, YamlValue(data, "--data")))
    if folds is not None:
        changes.append(Override(("folds", "run"), wrap(list(folds), f"--folds {','.join(map(str, folds))}")))
    changes += [parse_setting(text) for text in overrides]
    return _override(experiment, changes, shown(file))


def load_profile(name_or_path: str | Path | None) -> Profile:
    """Load a cluster's profile by name or path; return the defaults for None.

    Raises:
        BadInput: some values are invalid; the message names each with its file, line and fix.
    """
    if name_or_path is None:
        return Profile()
    return _load(Reader(Profile, PROFILES), find(name_or_path, PROFILES, "profile"), Profile)


def parse_profile(text: str, place: str) -> Profile:
    """A profile from text that is no file here, such as a ConfigMap's.

    Args:
        text: YAML that stands by itself: ``extends`` has nothing to refer to.
        place: what to call it in messages.

    Raises:
        BadInput: naming every mistake with place, line and remedy.
    """
    return validate(parse(text, place), Profile, place)


def list_recipes() -> list[Experiment]:
    """Load every experiment that ships with the pipeline, sorted by name."""
    reader = Reader(Experiment, EXPERIMENTS)
    return [_load(reader, file, Experiment) for file in sorted(EXPERIMENTS.glob("*.yaml"))]


def find(name_or_path: str | Path, folder: Path, what: str) -> Path:
    """Return the file that a path names, which may not exist, or the recipe of a name.

    Raises:
        BadInput: there is no recipe of that name; the message names the nearest.
    """
    given = Path(name_or_path)
    if given.suffix in (".yaml", ".yml"):
        return given
    named = folder / f"{name_or_path}.yaml"
    if os.path.lexists(named):  # Path.exists raises for a long name
        return named
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    near = nearest(str(name_or_path), names)
    raise BadInput(
        f"there is no {what} named {clipped(str(name_or_path))}; "
        + (f"did you mean {near}?" if near else f"known: {', '.join(names)}")
    )


def extended_file(name: str, by: Path, folder: Path) -> Path:
    """Return the file that ``extends: name`` means: beside the file ``by``, else in ``folder``.

    Raises:
        BadInput: there is none.
    """
    beside = by.parent / f"{name}.yaml"
    return beside if os.path.lexists(beside) else find(name, folder, "file")


class Reader:
    """Reads each file once and resolves what it extends."""

    def __init__(self, model: type[BaseModel], folder: Path) -> None:
        self._model, self._folder = model, folder
        self._resolved: dict[Path, YamlValue] = {}

    def resolve(self, file: Path, above: tuple[Path, ...] = ()) -> YamlValue:
        """Return a file's tree merged with everything it extends.

        Args:
            file: the file to read.
            above: the files that led here by ``extends``, to detect a cycle.
        """
        real = Path(os.path.realpath(file))  # Path.resolve raises for a link to itself
        if real in above:
            raise BadInput(f"{shown(real)}: extends itself through {', '.join(shown(other) for other in above)}")
        if len(above) == LONGEST_CHAIN:
            raise BadInput(f"{shown(real)}: {LONGEST_CHAIN} files extend each other in a row; merge some of them")
        if real not in self._resolved:
            tree = parse(read_text(file), shown(real))
            if not isinstance(tree.value, dict):
                raise BadInput(f"{tree.location}: expected a mapping of keys to values")
            self._resolved[real] = without_nulls(self._extended(tree, real, (*above, real), self._model), self._model)
        return self._resolved[real]

    def _extended(self, node: YamlValue, file: Path, above: tuple[Path, ...], annotation: Any) -> YamlValue:
        if not isinstance(node.value, dict):
            return node
        own = {
            key: self._extended(child, file, above, step_into(annotation, key))
            for key, child in node.value.items()
            if key != "extends"
        }
        result = YamlValue(own, node.location)
        if "extends" not in node.value:
            return result
        named = node.value["extends"].plain()
        base = YamlValue({}, node.location)
        for reference in named if isinstance(named, list) else [named]:
            base = merge(base, self._base(str(reference), node.value["extends"].location, file, above))
        refuse_idle_nulls(base, result, annotation)
        return merge(base, result)

    def _base(self, reference: str, location: str, file: Path, above: tuple[Path, ...]) -> YamlValue:
        name, _, fragment = reference.partition("#")
        try:
            tree = self.resolve(extended_file(name, file, self._folder), above)
        except BadInput as error:
            raise BadInput(f"{location}: extends {reference}: {error}") from error
        if not fragment:
            return YamlValue(
                {key: child for key, child in tree.value.items() if key not in NOT_INHERITED}, tree.location
            )
        path = tuple(fragment.split("."))
        steps = list(tree.along(path))
        if len(steps) < len(path):
            raise BadInput(f"{location}: extends {reference}: {name} has no {fragment}")
        return steps[-1][1]


def _load(reader: Reader, file: Path, model: type[Model]) -> Model:
    tree = reader.resolve(file)
    if "name" not in tree.value:
        tree = YamlValue({"name": YamlValue(file.stem, tree.location), **tree.value}, tree.location)
    return validate(tree, model, shown(file))


def _override(experiment: Experiment, changes: list[Override], what: str) -> Experiment:
    """Apply overrides to all fields, defaults included: ``stages.*.epochs`` also matches stages a recipe leaves out."""
    if not changes:
        return experiment
    tree = wrap(experiment.model_dump(mode="json"), what)
    for change in changes:
        tree = apply(tree, change, type(experiment))
    return validate(tree, type(experiment), "the options")


def _overlay(name: str, experiment: Experiment) -> list[Override]:
    """The overrides of an overlay. It replaces synthetic films only: films of one's own are kept."""
    file = find(name, OVERLAYS, "overlay")
    overrides = parse_overlay(parse(read_text(file), shown(file)))
    synthetic = experiment.data.source.startswith(PREFIX)
    return [override for override in overrides if synthetic or override.path != SOURCE]

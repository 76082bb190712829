"""Experiments and profiles from YAML files: found by name or path, extended, overridden, validated.

``extends`` at the top of a file names one file or several, which this one is laid upon; deeper in, it names a place in
a file (``study-06#classifiers.b3``). Mappings merge, lists replace, null takes away. A file's name, title and remark
are its own.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows.settings.overrides import Override, apply, parse_overlay, parse_setting
from workflows.settings.recipes import EXPERIMENTS
from workflows.settings.schema import Model, nearest, validate, without_nulls
from workflows.settings.tree import Node, merge, parse, shown, wrap

PROFILES = Path(__file__).parents[1] / "profiles"
OVERLAYS = EXPERIMENTS / "overlays"
NOT_INHERITED = ("name", "title", "remark")


def load_experiment(
    name_or_path: str | Path,
    overrides: Sequence[str] = (),
    data: str | None = None,
    folds: Sequence[int] | None = None,
    overlay: str | None = None,
) -> Experiment:
    """An experiment, resolved.

    Args:
        name_or_path: a recipe's name, or a YAML file.
        overrides: ``a.b=c`` each, applied last.
        data: a SOURCE in place of the experiment's own.
        folds: the folds to train, in place of the experiment's own.
        overlay: name or path of an overlay, e.g. ``smoke``, applied before all other overrides.

    Raises:
        BadInput: naming every mistake with file, line and remedy.
    """
    changes = _overlay(overlay) if overlay else []
    if data is not None:
        changes.append(Override(("data", "source"), Node(data, "--data")))
    if folds is not None:
        changes.append(Override(("folds", "run"), wrap(list(folds), "--folds")))
    changes += [parse_setting(text) for text in overrides]
    file = find(name_or_path, EXPERIMENTS, "experiment")
    return _override(_load(Reader(Experiment, EXPERIMENTS), file, Experiment), changes, shown(file))


def load_profile(name_or_path: str | Path | None) -> Profile:
    """The profile of a cluster, by name or file; the defaults where none is given.

    Raises:
        BadInput: naming every mistake with file, line and remedy.
    """
    if name_or_path is None:
        return Profile()
    return _load(Reader(Profile, PROFILES), find(name_or_path, PROFILES, "profile"), Profile)


def list_recipes() -> list[Experiment]:
    """Every experiment that ships with the pipeline, by name."""
    reader = Reader(Experiment, EXPERIMENTS)
    return [_load(reader, file, Experiment) for file in sorted(EXPERIMENTS.glob("*.yaml"))]


def find(name_or_path: str | Path, folder: Path, what: str) -> Path:
    """The file that a name or a path means.

    Raises:
        BadInput: naming the nearest name, where there is none.
    """
    given = Path(name_or_path)
    is_path = given.suffix in (".yaml", ".yml")
    candidate = given if is_path else folder / f"{name_or_path}.yaml"
    if candidate.is_file():
        return candidate
    if is_path:
        raise BadInput(f"{given}: there is no such file")
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    near = nearest(str(name_or_path), names)
    raise BadInput(
        f"there is no {what} named {name_or_path}; "
        + (f"did you mean {near}?" if near else f"known: {', '.join(names)}")
    )


class Reader:
    """Reads files once each and resolves what they extend."""

    def __init__(self, model: type[BaseModel], folder: Path) -> None:
        self._model, self._folder = model, folder
        self._resolved: dict[Path, Node] = {}

    def resolve(self, file: Path, above: tuple[Path, ...] = ()) -> Node:
        """A file's tree with everything it extends merged in."""
        file = file.resolve()
        if file in above:
            raise BadInput(f"{shown(file)}: extends itself by way of {', '.join(shown(one) for one in above)}")
        if file not in self._resolved:
            tree = parse(file.read_text(encoding="utf-8"), shown(file))
            if not isinstance(tree.value, dict):
                raise BadInput(f"{tree.place}: a mapping of keys to values is expected here")
            self._resolved[file] = without_nulls(self._extended(tree, file, (*above, file)), self._model)
        return self._resolved[file]

    def _extended(self, node: Node, file: Path, above: tuple[Path, ...]) -> Node:
        if not isinstance(node.value, dict):
            return node
        own = {key: self._extended(child, file, above) for key, child in node.value.items() if key != "extends"}
        result = Node(own, node.place)
        if "extends" not in node.value:
            return result
        named = node.value["extends"].plain()
        base = Node({}, node.place)
        for reference in named if isinstance(named, list) else [named]:
            base = merge(base, self._base(str(reference), node.value["extends"].place, file, above))
        return merge(base, result)

    def _base(self, reference: str, place: str, file: Path, above: tuple[Path, ...]) -> Node:
        name, _, fragment = reference.partition("#")
        beside = file.parent / f"{name}.yaml"
        try:
            tree = self.resolve(beside if beside.is_file() else find(name, self._folder, "file"), above)
        except BadInput as error:
            raise BadInput(f"{place}: extends {reference}: {error}") from error
        if not fragment:
            return Node({key: child for key, child in tree.value.items() if key not in NOT_INHERITED}, tree.place)
        steps = fragment.split(".")
        found = list(tree.along(tuple(steps)))
        if len(found) < len(steps):
            raise BadInput(f"{place}: extends {reference}: {name} has no {fragment}")
        return found[-1][1]


def _load(reader: Reader, file: Path, model: type[Model]) -> Model:
    tree = reader.resolve(file)
    if "name" not in tree.value:
        tree = Node({"name": Node(file.stem, tree.place), **tree.value}, tree.place)
    return validate(tree, model, shown(file))


def _override(experiment: Experiment, changes: list[Override], what: str) -> Experiment:
    """Overrides see the defaults, too: ``stages.*.epochs`` finds stages that a recipe does not write down."""
    if not changes:
        return experiment
    tree = wrap(experiment.model_dump(mode="json"), what)
    for change in changes:
        tree = apply(tree, change, type(experiment))
    return validate(tree, type(experiment), what)


def _overlay(name: str) -> list[Override]:
    return parse_overlay(parse((file := find(name, OVERLAYS, "overlay")).read_text(encoding="utf-8"), shown(file)))

"""What the commands share: their options, what becomes of them, and how things are printed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.contract.exits import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.contract.experiment import Experiment
    from workflows.plan import Predict


def recipe_names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from workflows.recipes import names

    return [name for name in names() if name.startswith(incomplete)]


ExperimentName = Annotated[
    str, typer.Option("--experiment", "-e", help="a recipe's name or a YAML file", autocompletion=recipe_names)
]
DataSource = Annotated[
    str | None, typer.Option("--data", help="s3://bucket/prefix, a folder, or phantom:patients=N,seed=S")
]
FoldList = Annotated[str | None, typer.Option("--folds", help="the folds to train, e.g. 0,2")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="overrides, e.g. classifiers.*.size=256")]
RunName = Annotated[str | None, typer.Option("--run", help="the run's name; by default the experiment's with its hash")]
Smoke = Annotated[bool, typer.Option("--smoke", help="the smallest that still runs every stage")]
ProfileName = Annotated[str | None, typer.Option("--profile", help="a profile's name or a YAML file")]
PredictSource = Annotated[str | None, typer.Option("--predict", help="a test set to predict, with --from")]
FromRun = Annotated[str | None, typer.Option("--from", help="the finished run whose weights predict")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
ClusterProfile = Annotated[
    str | None, typer.Option("--profile", envvar="CXRFOLD_PROFILE", help="the cluster's profile: a name or a YAML file")
]
OfRun = Annotated[str, typer.Argument(help="the run's name", metavar="RUN")]


def resolve(name: str, data: str | None, folds: str | None, settings: list[str] | None, *, smoke: bool) -> "Experiment":
    """The experiment that the options mean."""
    from workflows.files import load_experiment

    return load_experiment(name, settings or (), source_of(data), fold_numbers(folds), "smoke" if smoke else None)


def source_of(given: str | None) -> str | None:
    """A folder's absolute path: prepare may stand elsewhere."""
    if given is None or given.startswith(("s3://", "phantom:")):
        return given
    if not Path(given).is_dir():
        raise BadInput(f"--data {given}: there is no such folder; write s3://bucket/prefix for one in a store")
    return str(Path(given).resolve())


def fold_numbers(given: str | None) -> list[int] | None:
    """``0,2`` as numbers."""
    if given is None:
        return None
    try:
        return [int(one) for one in given.split(",")]
    except ValueError as error:
        raise BadInput(f"--folds {given}: write the folds' numbers, e.g. 0,2") from error


def test_set(source: str | None, from_run: str | None) -> "Predict | None":
    """The test set that two options name together."""
    from workflows.plan import Predict

    if source is None and from_run is None:
        return None
    if source is None or from_run is None:
        raise BadInput("--predict SOURCE and --from RUN belong together: which films, and whose weights")
    return Predict(source_of(source) or source, from_run)


def default_run(experiment: "Experiment", predict: "Predict | None") -> str:
    """The run's name where none is given: the same options, the same run."""
    if predict is None:
        return experiment.default_run
    from jobs.contract.experiment import digest

    return f"{predict.from_run}-on-{digest(predict.source)[:6]}"


def console() -> "Console":
    """Where people read."""
    from rich.console import Console

    return Console()


def print_json(value: Any) -> None:
    """For other programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere lines with tabs, for other programs."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*head, box=None, header_style="dim", padding=(0, 2, 0, 0))
    for row in rows:
        drawn.add_row(Text(row[0], "bold"), *(Text(cell) for cell in row[1:]))
    console().print(drawn)

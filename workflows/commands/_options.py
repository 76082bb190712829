"""The options that several commands share, and what they resolve to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage

if TYPE_CHECKING:
    from jobs.contract.experiment import Experiment
    from jobs.contract.profile import Profile
    from workflows.manifest.spec import TestSet


def recipe_names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from workflows.settings.recipes import names

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
ProfileName = Annotated[str | None, typer.Option("--profile", help="a profile's name, a YAML file, or cluster")]
PredictSource = Annotated[str | None, typer.Option("--predict", help="a test set to predict, with --from")]
FromRun = Annotated[str | None, typer.Option("--from", help="the finished run whose weights predict")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
ClusterProfile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="CXRFOLD_PROFILE",
        help="the cluster's profile: a name, a YAML file, or cluster for the one that the chart wrote there",
    ),
]
OfRun = Annotated[str, typer.Argument(help="the run's name", metavar="RUN")]
OneRun = Annotated[
    str | None, typer.Argument(help="the run's name; the cluster's newest where not given", metavar="[RUN]")
]
OfStage = Annotated[Stage | None, typer.Option("--stage", "-s", help="of this stage only")]
OfModel = Annotated[str | None, typer.Option("--model", "-m", help="of this model only")]
OfFold = Annotated[int | None, typer.Option("--fold", "-k", help="of this fold only")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="show the board until the run ends")]
Revision = Annotated[str | None, typer.Option(help="the images' revision, in place of this checkout's or the run's")]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="processes at once; one per GPU, else one per core, where not given")
]
Gpus = Annotated[str | None, typer.Option(help="0,1 for these, none for none; all where not given")]


def resolve(name: str, data: str | None, folds: str | None, settings: list[str] | None, *, smoke: bool) -> "Experiment":
    """The experiment that the options mean."""
    from workflows.settings.files import load_experiment

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


def test_set(source: str | None, from_run: str | None) -> "TestSet | None":
    """The test set that two options name together."""
    from workflows.manifest.spec import TestSet

    if source is None and from_run is None:
        return None
    if source is None or from_run is None:
        raise BadInput("--predict SOURCE and --from RUN belong together: which films, and whose weights")
    return TestSet(source=source_of(source) or source, from_run=from_run)


def profile_of(name: str | None) -> "Profile | None":
    """The profile that the option names: a name, a YAML file, or ``cluster`` for the one that the chart wrote there."""
    from workflows.settings.files import load_profile, parse_profile

    if not name:
        return None
    if name.partition(":")[0] != "cluster":
        return load_profile(name)
    from workflows.cluster.profile import profile_text

    return parse_profile(*profile_text(name))


def profile_or_default(name: str | None) -> "Profile":
    """The same, with the defaults where the option names none."""
    from jobs.contract.profile import Profile

    return profile_of(name) or Profile()

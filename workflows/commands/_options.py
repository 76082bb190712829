"""Options that several commands share, and functions that parse them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage

if TYPE_CHECKING:
    from jobs.contract.experiment import Experiment
    from jobs.contract.profile import Profile
    from workflows.manifest.spec import TestSet


def recipe_names(incomplete: str) -> list[str]:
    """Complete the name of a recipe in the shell."""
    from workflows.settings.recipes import names

    return [name for name in names() if name.startswith(incomplete)]


def run_names(incomplete: str) -> list[str]:
    """Complete the name of a run in the shell."""
    from workflows.runs.finding.known import known_runs

    return [name for name in known_runs() if name.startswith(incomplete)]


def run_pairs(incomplete: str) -> list[str]:
    """Complete FIRST,SECOND in the shell."""
    first, comma, second = incomplete.rpartition(",")
    return [f"{first}{comma}{name}" for name in run_names(second)]


ExperimentName = Annotated[
    str, typer.Option("--experiment", "-e", help="name of a recipe, or a YAML file", autocompletion=recipe_names)
]
DataSource = Annotated[
    str | None, typer.Option("--data", help="s3://bucket/prefix, a folder, or phantom:patients=N,seed=S")
]
FoldList = Annotated[str | None, typer.Option("--folds", help="folds to train, e.g. 0,2")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting, e.g. classifiers.*.size=256; repeatable")
]
RunName = Annotated[str | None, typer.Option("--run", help="name of the run; default: the experiment's name and hash")]
Smoke = Annotated[bool, typer.Option("--smoke", help="reduce films, sizes and epochs to a quick test of every stage")]
ProfileName = Annotated[str | None, typer.Option("--profile", help="name of a profile, a YAML file, or cluster")]
PredictSource = Annotated[
    str | None, typer.Option("--predict", help="predict this test set instead of training; needs --from")
]
FromRun = Annotated[
    str | None,
    typer.Option("--from", help="finished run whose weights to predict with", autocompletion=run_names),
]
OverlapRule = Literal["refuse", "drop"]
Overlap = Annotated[
    OverlapRule | None,
    typer.Option(
        help="labelled --predict films whose patients or near-duplicates training has seen: refuse, or drop from the "
        "scores; default: refuse"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
ClusterProfile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="CXRFOLD_PROFILE",
        help="profile of the cluster: a name, a YAML file, or cluster for the one that the chart wrote there",
    ),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="let the run take the name of an ended run of another experiment")
]
MaxGpuHours = Annotated[
    float | None,
    typer.Option(
        "--max-gpu-hours",
        min=0.001,
        help="stop with checkpoints once all attempts of the run have held so many GPU hours",
    ),
]
OfRun = Annotated[str, typer.Argument(help="name of the run", metavar="RUN", autocompletion=run_names)]
OneRun = Annotated[
    str | None,
    typer.Argument(
        help="name of the run; default: the newest on the cluster", metavar="[RUN]", autocompletion=run_names
    ),
]
OfStage = Annotated[Stage | None, typer.Option("--stage", "-s", help="only tasks of this stage")]
OfModel = Annotated[str | None, typer.Option("--model", "-m", help="only tasks of this model")]
OfFold = Annotated[int | None, typer.Option("--fold", "-k", help="only tasks of this fold")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="show the board until the run ends")]
Revision = Annotated[str | None, typer.Option(help="revision of the images; default: this checkout's, or the run's")]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="number of parallel processes; default: one per GPU, or one per core without GPUs"),
]
Gpus = Annotated[str | None, typer.Option(help="GPUs to use, e.g. 0,1, or none; default: all")]


def resolve(name: str, data: str | None, folds: str | None, settings: list[str] | None, *, smoke: bool) -> "Experiment":
    """Load the experiment that the options select."""
    from workflows.settings.files import load_experiment

    return load_experiment(name, settings or (), source_of(data), fold_numbers(folds), "smoke" if smoke else None)


def source_of(given: str | None) -> str | None:
    """Make the path of a folder absolute: prepare may run in another working directory."""
    if given is None or given.startswith(("s3://", "phantom:")):
        return given
    if not Path(given).is_dir():
        raise BadInput(f"--data {given}: no such folder; write s3://bucket/prefix for films in a store")
    return str(Path(given).resolve())


def fold_numbers(given: str | None) -> list[int] | None:
    """Parse ``0,2``."""
    if given is None:
        return None
    try:
        return [int(number) for number in given.split(",")]
    except ValueError as error:
        raise BadInput(f"--folds {given}: write fold numbers, e.g. 0,2") from error


def test_set(source: str | None, from_run: str | None, overlap: OverlapRule | None) -> "TestSet | None":
    """Return the test set of ``--predict``, ``--from`` and ``--overlap``; None without the first two."""
    from workflows.manifest.spec import TestSet

    if source is None and from_run is None:
        if overlap is not None:
            raise BadInput("--overlap is about the films of --predict: give --predict SOURCE and --from RUN too.")
        return None
    if source is None or from_run is None:
        raise BadInput("--predict SOURCE and --from RUN need each other: the films, and the run whose weights to use")
    return TestSet(source=source_of(source) or source, from_run=from_run, overlap=overlap or "refuse")


def profile_of(name: str | None) -> "Profile | None":
    """Load the profile: a name, a YAML file, or ``cluster`` for the one that the chart wrote there."""
    from workflows.settings.files import load_profile, parse_profile

    if not name:
        return None
    if name.partition(":")[0] != "cluster":
        return load_profile(name)
    from workflows.cluster.profile import profile_text

    return parse_profile(*profile_text(name))


def profile_or_default(name: str | None) -> "Profile":
    """Load the profile of pods to build, all its parts checked; the defaults without the option."""
    from jobs.contract.profile import Profile

    profile = profile_of(name)
    if profile is None:
        return Profile()
    from workflows.manifest.pods import check_profile

    try:
        check_profile(profile)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
    return profile


def confirm_replacement(taken: str) -> None:
    """Ask whether a run may take the name of an ended one; raises where nobody can be asked."""
    import sys

    if not sys.stdin.isatty():
        raise BadInput(f"{taken} Nothing was started: choose another --run, or give --replace.")
    typer.confirm(f"{taken} Replace its results?", abort=True, err=True)

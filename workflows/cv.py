"""The command line: builds, checks, runs and looks at experiments. ``python workflows/cv.py --help`` says the rest.

Nothing heavy is imported here: help and shell completion must come at once, so each command imports what it needs.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if sys.path[0] == str(Path(__file__).parent):
    # Run as a script: what lies beside this file must not be taken for a library of the same name.
    sys.path[0] = str(Path(__file__).parents[1])

import typer

from jobs.contract.exits import BadInput, StageError
from jobs.contract.names import Stage

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.contract.experiment import Experiment
    from workflows.plan import Predict

app = typer.Typer(
    name="cv", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Cross-validated chest-X-ray models: from films to one honest number, here or on a cluster.",
)  # fmt: skip


def _recipe_names(incomplete: str) -> list[str]:
    from workflows.recipes import names

    return [name for name in names() if name.startswith(incomplete)]


ExperimentName = Annotated[
    str, typer.Option("--experiment", "-e", help="a recipe's name or a YAML file", autocompletion=_recipe_names)
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
OfRun = Annotated[str, typer.Argument(help="the run's name", metavar="RUN")]


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the experiments that ship with it."""
    from workflows.recipes import recipes as all_recipes

    found = all_recipes()
    if as_json:
        _print_json([one.as_json() for one in found])
    else:
        _print_columns(("name", "title", "remark"), [(one.name, one.title, one.remark) for one in found])


@app.command()
def render(
    experiment: ExperimentName = "demo",
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    run: RunName = None,
    smoke: Smoke = False,
    profile: ProfileName = None,
    only: Annotated[str | None, typer.Option(help="experiment or manifest; both where not given")] = None,
) -> None:
    """Print the resolved experiment and the manifest that a cluster would get."""
    from workflows.files import load_profile
    from workflows.local.run import revision
    from workflows.render import render as rendered

    if only not in (None, "experiment", "manifest"):
        raise BadInput(f"--only {only}: say experiment or manifest")
    resolved = _experiment(experiment, data, folds, settings, smoke=smoke)
    result = rendered(resolved, load_profile(profile), run, revision=revision())
    texts = {"experiment": result.experiment, "manifest": result.manifest}
    typer.echo(texts[only] if only else "---\n".join(texts.values()), nl=False)


@app.command()
def lint(
    experiment: ExperimentName = "demo",
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    smoke: Smoke = False,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Find every mistake that a cluster would only show hours later."""
    from dataclasses import asdict

    from workflows.files import load_profile
    from workflows.lint import lint as findings_of
    from workflows.local.run import revision
    from workflows.render import render as rendered

    resolved, chosen = _experiment(experiment, data, folds, settings, smoke=smoke), load_profile(profile)
    findings = findings_of(rendered(resolved, chosen, revision=revision()).workflow, resolved, chosen)
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.code} {finding.level}  {finding.where}: {finding.says}\n    fix: {finding.fix}")
        typer.echo(f"{len(findings)} findings" if findings else "no mistake found", err=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(BadInput.exit)


@app.command()
def run(
    experiment: ExperimentName = "demo",
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    run: RunName = None,
    smoke: Smoke = False,
    profile: ProfileName = "local",
    jobs: Annotated[int | None, typer.Option(min=1, help="processes at once; one a GPU, else one a core")] = None,
    gpus: Annotated[str | None, typer.Option(help="0,1 for these, none for none; all where not given")] = None,
    predict: PredictSource = None,
    from_run: FromRun = None,
) -> None:
    """Run an experiment here: its workflow, with a process in place of a pod.

    Ctrl-C stops gracefully, and the same command goes on where it was; so it does after any failure.
    Without CXRFOLD_STORE and AWS_ENDPOINT_URL_S3, an S3 server of its own keeps everything under ~/.cache/cxrfold.
    """
    from workflows.files import load_profile
    from workflows.local.machine import this_machine
    from workflows.local.run import run as run_here

    resolved = _experiment(experiment, data, folds, settings, smoke=smoke)
    predicted = _predict(predict, from_run)
    name = run or _default_run(resolved, predicted)
    code = run_here(resolved, load_profile(profile), name, this_machine(jobs, gpus), _console(), predicted)
    raise typer.Exit(code)


@app.command()
def runs(as_json: AsJson = False) -> None:
    """List what has run, with scores."""
    from workflows.stored import list_runs
    from workflows.stores import local_store, open_store

    with local_store():
        found = list_runs(open_store())
    if as_json:
        _print_json([one.as_json() for one in found])
        return
    rows = [
        (one.name, one.experiment.title, f"{one.done}/{one.tasks}", one.headline,
         "" if one.score is None else f"{one.score:.4f}", f"{one.changed:%Y-%m-%d %H:%M}")
        for one in found
    ]  # fmt: skip
    _print_columns(("run", "title", "tasks", "figure", "score", "changed (UTC)"), rows)


@app.command()
def status(
    run: OfRun, watch: Annotated[bool, typer.Option("--watch", "-w", help="until it ends")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show one line a task: phase, attempt, epoch, best score, time left."""
    from workflows.watching import show_status, watch_status

    if as_json:
        from dataclasses import asdict

        _print_json([asdict(row) for row in show_status(run)])
    else:
        watch_status(run, _console(), once=not watch)


@app.command()
def logs(
    run: OfRun,
    stage: Annotated[Stage | None, typer.Option("--stage", "-s", help="of this stage only")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="of this model only")] = None,
    fold: Annotated[int | None, typer.Option("--fold", "-k", help="of this fold only")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as more comes")] = False,
) -> None:
    """Print the stored logs of a run's tasks."""
    from workflows.watching import print_logs

    print_logs(run, _console(), stage, model, fold, follow=follow)


def _experiment(
    name: str, data: str | None, folds: str | None, settings: list[str] | None, *, smoke: bool
) -> "Experiment":
    from workflows.files import load_experiment

    return load_experiment(name, settings or (), _source(data), _folds(folds), "smoke" if smoke else None)


def _source(given: str | None) -> str | None:
    """A folder's absolute path: prepare may stand elsewhere."""
    if given is None or given.startswith(("s3://", "phantom:")):
        return given
    if not Path(given).is_dir():
        raise BadInput(f"--data {given}: there is no such folder; write s3://bucket/prefix for one in a store")
    return str(Path(given).resolve())


def _folds(given: str | None) -> list[int] | None:
    if given is None:
        return None
    try:
        return [int(one) for one in given.split(",")]
    except ValueError as error:
        raise BadInput(f"--folds {given}: write the folds' numbers, e.g. 0,2") from error


def _predict(source: str | None, from_run: str | None) -> "Predict | None":
    from workflows.plan import Predict

    if source is None and from_run is None:
        return None
    if source is None or from_run is None:
        raise BadInput("--predict SOURCE and --from RUN belong together: which films, and whose weights")
    return Predict(_source(source) or source, from_run)


def _default_run(experiment: "Experiment", predict: "Predict | None") -> str:
    if predict is None:
        return experiment.default_run
    from jobs.contract.experiment import digest

    return f"{predict.from_run}-on-{digest(predict.source)[:6]}"


def _console() -> "Console":
    from rich.console import Console

    return Console()


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
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
    _console().print(drawn)


def main() -> None:
    """Run a command; a :class:`StageError` becomes its sentence and its exit code."""
    try:
        app()
    except StageError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit)


if __name__ == "__main__":
    main()

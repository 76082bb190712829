#!/usr/bin/env python3
"""The command line: builds, checks, runs and looks at experiments. ``python workflows/cv.py --help`` says the rest.

Nothing heavy is imported here: help and shell completion must come at once, so each command imports what it needs.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if sys.path[0] == str(Path(__file__).parent):
    # Run as a script: what lies beside this file must not be taken for a library of the same name.
    sys.path[0] = str(Path(__file__).parents[1])

import typer

from jobs.contract.exits import BadInput, StageError
from workflows.arguments import (
    AsJson,
    DataSource,
    ExperimentName,
    FoldList,
    FromRun,
    PredictSource,
    ProfileName,
    RunName,
    Settings,
    Smoke,
    console,
    default_run,
    print_columns,
    print_json,
    recipe_names,
    resolve,
    test_set,
)  # fmt: skip
from workflows.commands.cli import commands as cluster_commands
from workflows.commands.study import study

if TYPE_CHECKING:
    from jobs.contract.experiment import Experiment

GivenExperiment = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        "-e",
        help="a recipe or a YAML file; demo, or with --from that run's, where not given",
        autocompletion=recipe_names,
    ),
]

app = typer.Typer(
    name="cv", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Cross-validated chest-X-ray models: from films to one honest number, here or on a cluster.",
)  # fmt: skip


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the experiments that ship with it."""
    from workflows.recipes import recipes as all_recipes

    found = all_recipes()
    if as_json:
        print_json([one.as_json() for one in found])
    else:
        print_columns(("name", "title", "remark"), [(one.name, one.title, one.remark) for one in found])


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
    from jobs.runtime.provenance import revision
    from workflows.files import load_profile
    from workflows.render import render as rendered

    if only not in (None, "experiment", "manifest"):
        raise BadInput(f"--only {only}: say experiment or manifest")
    resolved = resolve(experiment, data, folds, settings, smoke=smoke)
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

    from jobs.runtime.provenance import revision
    from workflows.files import load_profile
    from workflows.lint import lint as findings_of
    from workflows.render import render as rendered

    resolved, chosen = resolve(experiment, data, folds, settings, smoke=smoke), load_profile(profile)
    findings = findings_of(rendered(resolved, chosen, revision=revision()).workflow, resolved, chosen)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.code} {finding.level}  {finding.where}: {finding.says}\n    fix: {finding.fix}")
        typer.echo(f"{len(findings)} findings" if findings else "no mistake found", err=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(BadInput.exit)


@app.command()
def run(
    experiment: GivenExperiment = None,
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

    test = test_set(predict, from_run)
    if test is not None and experiment is None:
        resolved = _experiment_of(test.from_run, folds, settings)
    else:
        resolved = resolve(experiment or "demo", data, folds, settings, smoke=smoke)
    name = run or default_run(resolved, test)
    code = run_here(resolved, load_profile(profile), name, this_machine(jobs, gpus), console(), test)
    raise typer.Exit(code)


app.add_typer(cluster_commands)
app.command()(study)


def _experiment_of(run: str, folds: str | None, settings: list[str] | None) -> "Experiment":
    """The experiment that a run was made with, with what was set laid over it."""
    from tempfile import TemporaryDirectory

    from workflows.stored import experiment_file
    from workflows.stores import local_store, open_store

    with local_store(), TemporaryDirectory() as folder:
        return resolve(str(experiment_file(open_store(), run, Path(folder))), None, folds, settings, smoke=False)


def main() -> None:
    """Run a command; a :class:`StageError` becomes its sentence and its exit code."""
    try:
        app()
    except StageError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit)


if __name__ == "__main__":
    main()

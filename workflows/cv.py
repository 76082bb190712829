#!/usr/bin/env python3
"""The command line: builds, checks, runs, submits and shows experiments; see ``python workflows/cv.py --help``.

Nothing heavy is imported here: help and shell completion must be instant, so each command imports what it needs.
"""

import sys
from pathlib import Path

if sys.path[0] == str(Path(__file__).parent):
    # Run as a script: what lies beside this file must not be taken for a library of the same name.
    sys.path[0] = str(Path(__file__).parents[1])

import typer

from jobs.contract import command_line
from workflows.commands.compare import compare
from workflows.commands.cost import cost
from workflows.commands.deploy import deploy
from workflows.commands.doctor import doctor
from workflows.commands.explain import explain
from workflows.commands.export import export
from workflows.commands.fetch import fetch
from workflows.commands.lint import lint
from workflows.commands.logs import logs
from workflows.commands.predict import predict
from workflows.commands.purge import purge
from workflows.commands.recipes import recipes
from workflows.commands.render import render
from workflows.commands.resume import resume
from workflows.commands.run import run
from workflows.commands.runs import runs
from workflows.commands.split import app as split_app
from workflows.commands.status import status
from workflows.commands.stop import stop
from workflows.commands.study import study
from workflows.commands.submit import submit

app = typer.Typer(
    name="cv", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Cross-validated chest-X-ray models: from films to one honest number, here or on a cluster.",
)  # fmt: skip

for verb in (
    recipes, render, lint, run, submit, deploy, resume, status, logs, stop, explain, cost, fetch, predict, export,
    purge, doctor, runs, compare, study,
):  # fmt: skip
    app.command()(verb)
app.add_typer(split_app, name="split")


def main() -> None:
    """Run a command; print a :class:`StageError` and exit with its code."""
    command_line.run(app)


if __name__ == "__main__":
    main()

"""The command ``export``."""

from pathlib import Path
from typing import Annotated

import typer

from workflows.commands._options import ClusterProfile, OfRun, profile_of


def export(
    name: OfRun,
    profile: ClusterProfile = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="an empty or new folder; runs/RUN/export where not given")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="store weights in half precision: half the size, slightly other figures")
    ] = False,
) -> None:
    """Write a folder that predicts without a store, a network or this repository.

    It holds weights, experiment, code, licences, checksums, predict.py and a README with the lines for a notebook.
    """
    from workflows.runs.find import find_run
    from workflows.runs.tools import run_tool

    with find_run(name, profile_of(profile)) as run:
        options = ["--run", run.name, "--to", str(to or Path("runs") / run.name / "export"), *["--half"] * half]
        raise typer.Exit(run_tool(run, "export", options))

"""The command ``fetch``."""

from pathlib import Path
from typing import Annotated

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfRun, profile_of
from workflows.commands._output import print_json


def fetch(
    name: OfRun, profile: ClusterProfile = None,
    to: Annotated[Path | None, typer.Option("--to", help="the folder; runs/RUN where not given")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Download a run's report, weights, out-of-fold tables and tracker's files."""
    from workflows.runs import fetching
    from workflows.runs.finding.find import find_run
    from workflows.runs.tracker_files import how_to_open

    with find_run(name, profile_of(profile)) as run:
        folder = to or Path("runs") / run.name
        files = fetching.fetch(run, folder, lambda line: typer.echo(line, err=True))
        opened = how_to_open(run.experiment, folder)
    if as_json:
        print_json([str(file) for file in files])
    else:
        typer.echo(f"{len(files)} files in {folder}")
        if opened:
            typer.echo(f"learning curves: {opened}")

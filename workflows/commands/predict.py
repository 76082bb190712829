"""The command ``predict``."""

from pathlib import Path
from typing import Annotated

import typer

from workflows.commands._options import AsJson, ClusterProfile, profile_of, run_names


def predict(
    films: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them in any layout", metavar="FILM…")],
    from_run: Annotated[
        str, typer.Option("--from", help="finished run whose weights to predict with", autocompletion=run_names)
    ],
    profile: ClusterProfile = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="folder for pictures and JSON; runs/RUN/films where not given")
    ] = None,
    as_json: AsJson = False,
    open_picture: Annotated[bool, typer.Option("--open", help="show the picture")] = False,
) -> None:
    """Predict a few films on this machine: classes, boxes, a picture with heat map, and JSON per film.

    A file that is no film is named and skipped; the exit code is 78 then.
    """
    from workflows.runs.finding.find import find_run
    from workflows.runs.tools import run_tool

    with find_run(from_run, profile_of(profile)) as run:
        options = ["--run", run.name, "--to", str(to or Path("runs") / run.name / "films")]
        options += ["--json"] * as_json + ["--open"] * open_picture
        raise typer.Exit(run_tool(run, "predict-films", [*options, "--", *map(str, films)]))

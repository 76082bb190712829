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
    onnx: Annotated[
        bool, typer.Option("--onnx", help="write the nets as ONNX: prediction then needs ONNX Runtime and no PyTorch")
    ] = False,
    wheels: Annotated[
        bool, typer.Option("--wheels", help="add the libraries' wheels for this Python and platform, from pip's index")
    ] = False,
) -> None:
    """Write a folder that predicts without a store, a network or this repository.

    It holds weights, experiment, code, licences, checksums, predict.py and a README with the lines for a notebook.
    With --onnx each net is checked against PyTorch, and the greatest difference is printed and kept in that README.
    """
    from workflows.runs.finding.find import find_run
    from workflows.runs.tools import run_tool

    with find_run(name, profile_of(profile)) as run:
        choices = {"--half": half, "--onnx": onnx, "--wheels": wheels}
        options = ["--run", run.name, "--to", str(to or Path("runs") / run.name / "export")]
        options += [option for option, chosen in choices.items() if chosen]
        raise typer.Exit(run_tool(run, "export", options))

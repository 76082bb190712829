"""The commands ``split export`` and ``split import``."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from workflows.commands._options import ClusterProfile, OfRun, profile_of

app = typer.Typer(no_args_is_help=True, help="Keep the folds of patients while films are added.")


@app.command("export")
def split_export(
    name: OfRun,
    file: Annotated[Path, typer.Argument(help="the CSV file to write", metavar="FILE")],
    profile: ClusterProfile = None,
) -> None:
    """Write the split of a run to a CSV file: patient, study and fold of each study."""
    from workflows.runs.finding.find import find_run
    from workflows.runs.tools import run_tool

    with find_run(name, profile_of(profile)) as run:
        raise typer.Exit(run_tool(run, "split", ["export", run.name, str(file)]))


@app.command("import")
def split_import(
    file: Annotated[Path, typer.Argument(help="a CSV file as split export writes it", metavar="FILE")],
    name: Annotated[str, typer.Argument(help="name of the split, for folds.frozen", metavar="NAME")],
    profile: ClusterProfile = None,
) -> None:
    """Keep a split in the store under a name. One that exists can grow; its patients keep their folds."""
    from workflows.runs.tools import run_on_store
    from workflows.store.opening import local_store

    given = profile_of(profile)
    with nullcontext() if given else local_store():
        raise typer.Exit(run_on_store(given.store if given else None, "split", ["import", str(file), name]))

"""The command ``compare``."""

from typing import Annotated

import typer

from jobs.contract.exits import BadInput
from jobs.contract.names import check_run_name
from workflows.commands._options import AsJson, ClusterProfile, profile_of, run_pairs


def compare(
    runs: Annotated[
        str, typer.Argument(help="two runs, FIRST,SECOND", metavar="FIRST,SECOND", autocompletion=run_pairs)
    ],
    profile: ClusterProfile = None,
    as_json: AsJson = False,
) -> None:
    """Compare the scores of two runs: the difference, its interval over patients, and whether it is beyond noise."""
    from workflows.runs.finding.find import find_run
    from workflows.runs.tools import run_tool

    names = [name.strip() for name in runs.split(",")]
    if len(names) != 2 or not all(names):
        raise BadInput(f"compare {runs}: name two runs, FIRST,SECOND.")
    for name in names:
        check_run_name(name)
    with find_run(names[0], profile_of(profile)) as run:
        raise typer.Exit(run_tool(run, "compare", ["--runs", ",".join(names), *["--json"] * as_json]))

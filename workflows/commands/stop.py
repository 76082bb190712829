"""The command ``stop``."""

from typing import Annotated

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfRun, profile_of
from workflows.commands._output import print_json


def stop(
    name: OfRun, profile: ClusterProfile = None,
    wait: Annotated[bool, typer.Option(help="wait until every pod has ended")] = True, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Stop a run on a cluster. Every running pod writes a checkpoint first."""
    from workflows.cluster import workflow_json
    from workflows.runs import stopping
    from workflows.runs.finding.find import find_run

    with find_run(name, profile_of(profile)) as run:
        stopping.stop(run, lambda text: typer.echo(text, err=as_json), wait=wait)
        if as_json and run.workflow:
            print_json({"run": run.name, "workflow": workflow_json.name(run.workflow), "phase": run.phase})

"""The command ``stop``."""

from typing import Annotated

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfRun, profile_of
from workflows.commands._output import print_json


def stop(
    run: OfRun, profile: ClusterProfile = None,
    wait: Annotated[bool, typer.Option(help="until every pod has ended")] = True, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Stop a run on a cluster: every pod writes a checkpoint first."""
    from workflows.cluster import workflow as wf
    from workflows.runs import stopping
    from workflows.runs.run import find_run

    with find_run(run, profile_of(profile)) as found:
        stopping.stop(found, lambda text: typer.echo(text, err=as_json), wait=wait)
        if as_json and found.workflow:
            print_json({"run": found.name, "workflow": wf.name(found.workflow), "phase": found.phase})

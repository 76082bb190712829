"""The command ``resume``."""

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfRun, Revision, Watch, profile_of
from workflows.commands.submit import send


def resume(
    run: OfRun, profile: ClusterProfile = None, watch: Watch = False, revision: Revision = None, as_json: AsJson = False
) -> None:
    """Submit a run again after a stop or a failure: only what is missing is done."""
    from workflows.runs.resubmission import resubmission
    from workflows.runs.run import find_run

    with find_run(run, profile_of(profile)) as found:
        spec, remarks = resubmission(found, revision)
    for remark in remarks:
        typer.echo(remark, err=True)
    send(spec, watch=watch, as_json=as_json)

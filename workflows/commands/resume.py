"""The command ``resume``."""

import typer

from workflows.commands._options import AsJson, ClusterProfile, OfRun, Revision, Watch, profile_of
from workflows.commands.submit import send


def resume(
    name: OfRun,
    profile: ClusterProfile = None,
    watch: Watch = False,
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Resume a stopped, failed or suspended run on a cluster. Finished tasks are skipped."""
    from workflows.runs.resubmission import continue_suspended, resubmission
    from workflows.runs.run import find_run

    with find_run(name, profile_of(profile)) as run:
        if continued := continue_suspended(run):
            typer.echo(f"Workflow {', '.join(continued)} is suspended no longer.", err=True)
            assert run.spec
            spec, remarks = run.spec, list[str]()
        else:
            spec, remarks = resubmission(run, revision)
    for remark in remarks:
        typer.echo(remark, err=True)
    send(spec, watch=watch, as_json=as_json)

"""The command ``resume``."""

from typing import TYPE_CHECKING

import typer

from workflows.commands._options import AsJson, ClusterProfile, MaxGpuHours, OfRun, Revision, Watch, profile_of
from workflows.commands._output import console
from workflows.commands.submit import send

if TYPE_CHECKING:
    from jobs.contract.exits import Exit
    from workflows.manifest.spec import RunSpec


def resume(
    name: OfRun,
    profile: ClusterProfile = None,
    watch: Watch = False,
    revision: Revision = None,
    max_gpu_hours: MaxGpuHours = None,
    as_json: AsJson = False,
) -> None:
    """Resume a stopped, failed or suspended run where it ran: on a cluster or here. Finished tasks are skipped."""
    from workflows.runs.finding.find import find_run
    from workflows.runs.resubmission import continue_suspended, resubmission

    with find_run(name, profile_of(profile)) as run:
        if continued := continue_suspended(run):
            typer.echo(f"Workflow {', '.join(continued)} is suspended no longer.", err=True)
            assert run.spec
            spec, remarks = run.spec, list[str]()
        else:
            spec, remarks = resubmission(run, revision, max_gpu_hours)
    for remark in remarks:
        typer.echo(remark, err=True)
    if spec.local:
        raise typer.Exit(_execute(spec))
    send(spec, watch=watch, as_json=as_json)


def _execute(spec: "RunSpec") -> "Exit":
    from workflows.local.execute import execute
    from workflows.local.machine import this_machine

    return execute(spec, this_machine(), console())

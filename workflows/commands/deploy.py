"""The command ``deploy``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workflows.commands._options import (
    AsJson,
    ClusterProfile,
    DataSource,
    ExperimentName,
    FoldList,
    Revision,
    Settings,
    Smoke,
    profile_or_default,
    resolve,
)  # fmt: skip
from workflows.commands._output import print_json

if TYPE_CHECKING:
    from jobs.contract.experiment import Experiment
    from jobs.contract.profile import Profile


def deploy(
    experiment: ExperimentName = "demo",
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    smoke: Smoke = False,
    name: Annotated[str | None, typer.Option(help="name of the template; default: the experiment's")] = None,
    cron: Annotated[
        str | None, typer.Option(help="start it on this schedule, e.g. '0 3 * * 1' or @daily: a CronWorkflow")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="of the schedule, e.g. Europe/Paris; default: UTC")] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="write the files to this folder, for GitOps; contacts no cluster")
    ] = None,
    profile: ClusterProfile = None,
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Put an experiment into a cluster as a WorkflowTemplate, with --cron on a schedule.

    Each start is a run of its own. It is named like its workflow, trains on the films that its source has at that time,
    and reuses all work that is done.
    """
    from jobs.runtime.provenance import revision as this_revision

    resolved, chosen = resolve(experiment, data, folds, settings, smoke=smoke), profile_or_default(profile)
    objects = _objects(name or resolved.name, resolved, chosen, revision or this_revision(), cron, timezone)
    if to:
        files = [_write(to, one) for one in objects]
        print_json(files) if as_json else typer.echo("\n".join(files))
        return
    from workflows.cluster.client import Cluster

    cluster = Cluster.connect(chosen)
    for one in objects:
        cluster.workflows.apply(cluster.namespace, one)
    lines = [f"{one['kind']} {one['metadata']['name']} is in namespace {cluster.namespace}." for one in objects]
    template = objects[0]["metadata"]["name"]
    lines.append(f"Start   argo submit -n {cluster.namespace} --from workflowtemplate/{template}")
    kinds = ",".join(one["kind"].lower() for one in objects)
    lines.append(f"Remove  kubectl -n {cluster.namespace} delete {kinds} {template}")
    print_json(objects) if as_json else typer.echo("\n".join(lines))


def _objects(
    name: str, experiment: "Experiment", profile: "Profile", revision: str, cron: str | None, timezone: str | None
) -> list[dict[str, Any]]:
    """The manifests.

    Raises:
        BadInput: lint finds errors, or an option is not valid.
    """
    from jobs.contract.exits import BadInput
    from jobs.contract.names import check_run_name
    from workflows.lint.check import check, refuse_errors
    from workflows.manifest.dag import manifest
    from workflows.manifest.deployment import cron_workflow, workflow_template
    from workflows.manifest.spec import RunSpec

    if timezone and not cron:
        raise BadInput("--timezone is that of --cron, which is missing.")
    check_run_name(name)
    spec = RunSpec.of(experiment, profile, revision=revision, run=name)
    refuse_errors(check(spec, manifest(spec)), lambda text: typer.echo(text, err=True), "deployed")
    objects = [workflow_template(name, experiment, profile, revision)]
    return [*objects, cron_workflow(name, profile, cron, timezone)] if cron else objects


def _write(folder: Path, manifest: dict[str, Any]) -> str:
    from workflows.manifest.dag import to_yaml

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{manifest['metadata']['name']}-{manifest['kind'].lower()}.yaml"
    file.write_text(to_yaml(manifest), encoding="utf-8")
    return str(file)

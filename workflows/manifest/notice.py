"""The exit handler of a workflow: one small pod that tells people how the run ended."""

from typing import Final

from hera.workflows import DAG, Container, Env, Resources, SecretEnv, Task, Workflow
from hera.workflows import models as m

from jobs.contract import environment
from jobs.contract.names import STAGE_LABEL, Stage
from jobs.contract.stored import layout
from workflows.manifest.pods import TemplateKind, template
from workflows.manifest.spec import RunSpec

NAME: Final = "notify"
# Pending time included: a full cluster must not keep an ended run from ending.
DEADLINE_SECONDS: Final = 1800


def add_exit_handler(workflow: Workflow, spec: RunSpec) -> None:
    """Let a workflow tell the profile's receivers how it ended. Call inside the workflow's context.

    A pod that fails does not change how the run ended: the DAG around it continues on failure.
    """
    notify = _template(spec)
    with DAG(name="exit", fail_fast=False):
        Task(name=NAME, template=notify, continue_on=m.ContinueOn(error=True, failed=True))
    workflow.on_exit = "exit"


def _template(spec: RunSpec) -> Container:
    """A pod as evaluate's, with less of everything."""
    profile = spec.profile
    assert profile.notify
    from_run = spec.test_set.from_run if spec.test_set else None
    pod = template(TemplateKind(Stage.EVALUATE), profile, spec.run, spec.revision, from_run)
    pod.name, pod.args, pod.labels, pod.outputs = NAME, [NAME], {STAGE_LABEL: NAME}, None
    assert isinstance(pod.volumes, list)
    pod.volumes = [volume for volume in pod.volumes if volume.name != "shm"]  # as large as this pod's memory
    pod.resources = Resources(cpu_request="100m", memory_request="512Mi", memory_limit="512Mi")
    pod.active_deadline_seconds = DEADLINE_SECONDS
    result = layout.report(spec.run, "submission.csv" if spec.predicts else "report.html")
    pages = [profile.page(result) or f"{profile.store.url.rstrip('/')}/{result}"]
    if profile.argo_url:
        pages.append(f"{profile.argo_url.rstrip('/')}/workflows/{{{{workflow.namespace}}}}/{{{{workflow.name}}}}")
    assert isinstance(pod.env, list)
    pod.env += [
        Env(name=environment.WORKFLOW, value="{{workflow.name}} {{workflow.uid}} {{workflow.status}}"),
        Env(name=environment.PAGES, value=" ".join(pages)),
        SecretEnv(name=environment.ADDRESSES, secret_name=profile.notify.name, secret_key=profile.notify.key),
    ]
    return pod

"""Rules for one template of a manifest: a container's, or a DAG's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from workflows.lint.findings import Problem, Rules
from workflows.manifest.quantity import parse_quantity
from workflows.manifest.retry import AttemptEnd, tries_again
from workflows.manifest.spec import Manifest

_SHELLS: Final = ("sh", "bash", "ash", "dash", "zsh")
_SHM: Final = "/dev/shm"  # noqa: S108 (a path in the pod)
_TMP: Final = "/tmp"  # noqa: S108 (a path in the pod)
# The image that hera fills in where none is given.
_HERA_IMAGE: Final = "python:3.10"
# Words of Argo's ``depends`` that are not task names.
_RESULTS: Final = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed")
_LOOPS: Final = {"withItems", "withParam", "withSequence"}

# How attempts end in a cluster, whether another attempt is right, and a description.
ENDS: Final = (
    (AttemptEnd("75"), True, "checkpointed (75)"),
    (AttemptEnd("69"), True, "service unavailable (69)"),
    (AttemptEnd("71"), True, "hardware failure (71)"),
    (AttemptEnd("0", "Error", "pod deleted"), True, "deleted pod"),
    (AttemptEnd("-1", "Failed", "The node was low on resource: memory."), True, "evicted pod"),
    (AttemptEnd("137", message="main: Error (exit code 137)", retries=3), True, "killed pod"),
    (AttemptEnd("143", message="main: Error (exit code 143)"), True, "SIGTERM before the program handled it"),
    (AttemptEnd("135", message="main: Error (exit code 135)"), True, "bus error (135)"),
    (AttemptEnd("139", message="main: Error (exit code 139)"), True, "crash of native code (139)"),
    (AttemptEnd("137", message="main: OOMKilled (exit code 137)", retries=3), False, "repeated OOM kill"),
    (AttemptEnd("76", message="main: Error (exit code 76)"), False, "GPU hours spent (76)"),
    (AttemptEnd("70", message="main: Error (exit code 70)"), False, "bug (70)"),
    (AttemptEnd("78", message="main: Error (exit code 78)"), False, "bad input (78)"),
    (AttemptEnd("2", message="main: Error (exit code 2)"), False, "usage error (2)"),
)


@dataclass(frozen=True)
class TemplateInSpec:
    """A template, and the workflow's spec."""

    body: Manifest
    spec: Manifest

    @property
    def where(self) -> str:
        """The template's name for messages."""
        return f"template {self.body['name']}"


class ContainerTemplate(TemplateInSpec):
    """A template with a container."""

    @property
    def container(self) -> Manifest:
        """The container."""
        return dict(self.body["container"])

    @property
    def security(self) -> Manifest:
        """The container's security context."""
        return dict(self.container.get("securityContext", {}))

    @property
    def limits(self) -> dict[str, Any]:
        """The container's resource limits."""
        return dict(self.container.get("resources", {}).get("limits", {}))

    @property
    def mounts(self) -> dict[str, Manifest]:
        """The volumes by mount path."""
        volumes = {item["name"]: item for item in [*self.spec.get("volumes", []), *self.body.get("volumes", [])]}
        return {item["mountPath"]: volumes.get(item["name"], {}) for item in self.container.get("volumeMounts", [])}

    @property
    def retries(self) -> Manifest:
        """The retry strategy; empty without one."""
        return dict(self.body.get("retryStrategy") or {})


class DagTemplate(TemplateInSpec):
    """A template with a DAG."""

    @property
    def dag(self) -> Manifest:
        """The DAG."""
        return dict(self.body["dag"])

    @property
    def tasks(self) -> list[Manifest]:
        """The DAG's tasks."""
        return list(self.dag["tasks"])

    def inputs(self, task: Manifest) -> list[Manifest]:
        """Return the input parameters of a task's template."""
        bodies = {item["name"]: item for item in self.spec["templates"]}
        return list(bodies.get(task.get("template"), {}).get("inputs", {}).get("parameters", []))


def containers(workflow: Manifest) -> list[ContainerTemplate]:
    """Return the templates of a manifest that run a container."""
    spec = workflow["spec"]
    return [ContainerTemplate(body, spec) for body in spec.get("templates", []) if "container" in body]


def dags(workflow: Manifest) -> list[DagTemplate]:
    """Return the templates of a manifest that are DAGs."""
    spec = workflow["spec"]
    return [DagTemplate(body, spec) for body in spec.get("templates", []) if "dag" in body]


def task_arguments(task: Manifest) -> dict[str, str]:
    """Return the values that a DAG's task gives to its template's inputs, by name."""
    parameters = task.get("arguments", {}).get("parameters", [])
    return {parameter["name"]: str(parameter.get("value", "")) for parameter in parameters}


container_rule = Rules[ContainerTemplate]()
dag_rule = Rules[DagTemplate]()


@container_rule("CXR005", "error", "use backoff.cap instead")
def max_duration(template: ContainerTemplate) -> Iterator[Problem]:
    """``maxDuration`` counts from the first attempt and ends the retries of a long training."""
    if "maxDuration" in (backoff := template.retries.get("backoff", {})):
        yield Problem(
            template.where, f"maxDuration {backoff['maxDuration']} counts from the start of the first attempt"
        )


@container_rule("CXR006", "error", "set the command: Argo's executor needs it")
def no_command(template: ContainerTemplate) -> Iterator[Problem]:
    """Argo would have to look into the image for the command."""
    if not template.container.get("command"):
        yield Problem(template.where, "no command is set")


@container_rule("CXR007", "error", 'run the program directly: ["python", "-m", …]')
def shell_receives_sigterm(template: ContainerTemplate) -> Iterator[Problem]:
    """A shell does not pass SIGTERM on, so the program writes no checkpoint."""
    command = template.container.get("command") or [""]
    words = [*command, *template.container.get("args", [])]
    if PurePosixPath(command[0]).name in _SHELLS and "-c" in words:
        yield Problem(template.where, f"{command[0]} -c runs the program and receives its SIGTERM")


@container_rule("CXR008", "error", "mount an emptyDir with medium Memory at /dev/shm")
def small_shared_memory(template: ContainerTemplate) -> Iterator[Problem]:
    """A container has 64 MiB of shared memory by default; data loaders need more."""
    in_memory = template.mounts.get(_SHM, {}).get("emptyDir", {}).get("medium") == "Memory"
    if not in_memory and any("gpu" in resource for resource in template.limits):
        yield Problem(template.where, "data loaders fail with a bus error on 64 MiB of /dev/shm")


@container_rule("CXR009", "error", "make /dev/shm smaller, or the memory limit larger")
def shared_memory_fills_the_limit(template: ContainerTemplate) -> Iterator[Problem]:
    """Shared memory counts against the memory limit."""
    volume = template.mounts.get(_SHM, {}).get("emptyDir", {})
    if volume.get("medium") != "Memory" or "memory" not in template.limits:
        return
    size, limit = volume.get("sizeLimit", "0"), template.limits["memory"]
    if parse_quantity(size) >= parse_quantity(limit):
        yield Problem(template.where, f"shared memory of {size} is not below the memory limit of {limit}")


@container_rule("CXR010", "error", "use a tag such as {revision}, or a digest")
def image_without_fixed_tag(template: ContainerTemplate) -> Iterator[Problem]:
    """The image can change between two attempts of a run."""
    image = template.container.get("image", "")
    name, _, tag = image.rpartition(":")
    if image == _HERA_IMAGE:
        yield Problem(template.where, f"{_HERA_IMAGE} is hera's default, so no image is set")
    elif "@sha256:" not in image and (not name or "/" in tag or tag == "latest"):
        yield Problem(template.where, f"{image or 'the image'} has no fixed tag")


@container_rule("CXR014", "warning", "remove it: with a single GPU node the retry waits for ever")
def node_anti_affinity(template: ContainerTemplate) -> Iterator[Problem]:
    """A retry may not run on the node of the previous attempt."""
    if "nodeAntiAffinity" in template.retries.get("affinity", {}):
        yield Problem(template.where, "a retry may not run on the node of the previous attempt")


@container_rule("CXR019", "error", "use retryPolicy Always with the generated expression")
def wrong_retries(template: ContainerTemplate) -> Iterator[Problem]:
    """Retries miss lost pods, or repeat bugs and bad input."""
    if "retryStrategy" not in template.body:
        return
    retries = template.retries
    if (policy := retries.get("retryPolicy", "OnFailure")) != "Always":
        yield Problem(template.where, f"retryPolicy {policy} applies beside the expression and misses lost pods")
    if "expression" not in retries:
        yield Problem(template.where, "without an expression bugs and bad input are retried")
        return
    for end, expected, description in ENDS:
        try:
            retried = tries_again(retries["expression"], end)
        except ValueError as error:
            yield Problem(template.where, f"the expression cannot be evaluated here: {error}")
            return
        if retried != expected:
            yield Problem(template.where, f"{description} is {'retried' if retried else 'not retried'}")


@container_rule("CXR026", "error", "mount an emptyDir at /tmp")
def no_writable_tmp(template: ContainerTemplate) -> Iterator[Problem]:
    """Output parameters and libraries write to /tmp."""
    if template.security.get("readOnlyRootFilesystem") and _TMP not in template.mounts:
        yield Problem(template.where, "the root file system is read-only and /tmp is no volume")


@container_rule("CXR028", "error", "set the stage's memory in the profile")
def no_memory_limit(template: ContainerTemplate) -> Iterator[Problem]:
    """Without a limit a pod can take the memory of its neighbours."""
    if "memory" not in template.limits:
        yield Problem(template.where, "memory has no limit")


@dag_rule("CXR003", "error", "give the argument, or give the input a default")
def missing_argument(template: DagTemplate) -> Iterator[Problem]:
    """A task does not give an input that has no default."""
    for task in template.tasks:
        given = task_arguments(task)
        for parameter in template.inputs(task):
            if parameter["name"] not in given and not {"default", "value", "valueFrom"} & parameter.keys():
                yield Problem(f"task {task['name']}", f"the argument {parameter['name']} is missing")


@dag_rule("CXR017", "error", "use names that differ in more than - and _")
def names_equal_to_argo(template: DagTemplate) -> Iterator[Problem]:
    """Argo replaces - with _ in task names before it compares them."""
    names: dict[str, str] = {}
    for task in template.tasks:
        first = names.setdefault(task["name"].replace("_", "-"), task["name"])
        if first != task["name"]:
            yield Problem(f"task {task['name']}", f"Argo takes {task['name']} and {first} for the same name")


@dag_rule("CXR018", "error", "put it on the container's template")
def retry_of_a_dag(template: DagTemplate) -> Iterator[Problem]:
    """A retry strategy on a DAG repeats all of its tasks."""
    if "retryStrategy" in template.body:
        yield Problem(template.where, "one failed task repeats the whole DAG")


@dag_rule("CXR025", "error", "make every task a target of the DAG")
def failed_task_hidden(template: DagTemplate) -> Iterator[Problem]:
    """A DAG whose last task tolerates failures succeeds unless every task is a target."""
    tolerant = [task["name"] for task in template.tasks if re.search(r"\.(Failed|Errored|Any)", _depends(task))]
    if tolerant and set(template.dag.get("target", "").split()) != {task["name"] for task in template.tasks}:
        yield Problem(template.where, f"{tolerant[0]} tolerates failed tasks, so the run succeeds in spite of them")


@dag_rule("CXR029", "error", "name a task of this DAG and a template of this workflow")
def unknown_task_or_template(template: DagTemplate) -> Iterator[Problem]:
    """A task depends on a task, or uses a template, that does not exist."""
    tasks = {task["name"] for task in template.tasks}
    bodies = {body["name"] for body in template.spec["templates"]}
    for task in template.tasks:
        for word in re.findall(r"[\w-]+", _depends(task)):
            if word not in tasks and word not in _RESULTS:
                yield Problem(f"task {task['name']}", f"there is no task {word}")
        if task.get("template") not in bodies:
            yield Problem(f"task {task['name']}", f"there is no template {task.get('template')}")


@dag_rule("CXR037", "warning", "set failFast: false")
def fail_fast(template: DagTemplate) -> Iterator[Problem]:
    """One failed fold keeps the others from starting. Argo's default is true."""
    if template.dag.get("failFast", True):
        yield Problem(template.where, "failFast is true, which is the default")


@dag_rule("CXR039", "error", "put the fold into the value, or read the store")
def aggregated_outputs(template: DagTemplate) -> Iterator[Problem]:
    """The aggregated outputs of a loop list successful tasks only, so an index is not the fold."""
    loops = [task["name"] for task in template.tasks if _LOOPS & task.keys()]
    for task in template.tasks:
        for name, value in task_arguments(task).items():
            for loop in loops:
                if f"{{{{tasks.{loop}.outputs.parameters." in value:
                    message = f"{name} aggregates {loop}: after a failed fold its indices are not the folds"
                    yield Problem(f"task {task['name']}", message)


@dag_rule("CXR040", "warning", "name Failed and Errored of each task")
def all_failed(template: DagTemplate) -> Iterator[Problem]:
    """``AllFailed`` does not count tasks that errored."""
    for task in template.tasks:
        if ".AllFailed" in _depends(task):
            yield Problem(f"task {task['name']}", f"{_depends(task)} ignores tasks that errored")


def _depends(task: Manifest) -> str:
    return str(task.get("depends", ""))

"""What can be wrong with one template of a workflow: a container's, or the DAG's."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from workflows.lint.findings import Found
from workflows.manifest.quantity import parse_quantity
from workflows.manifest.retry import End, tries_again

Manifest = dict[str, Any]

_SHELLS = ("sh", "bash", "ash", "dash", "zsh")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

# What hera puts where no image is named.
_HERAS_IMAGE = "python:3.10"

# How pods end on a real cluster, and whether another attempt is right.
ENDS = (
    (End("75"), True, "checkpointed (75)"),
    (End("69"), True, "service away (69)"),
    (End("0", "Error", "pod deleted"), True, "deleted pod"),
    (End("-1", "Failed", "The node was low on resource: memory."), True, "evicted pod"),
    (End("137", message="main: Error (exit code 137)", retries=3), True, "killed pod"),
    (End("143", message="main: Error (exit code 143)"), True, "pod ended before it listened"),
    (End("137", message="main: OOMKilled (exit code 137)", retries=3), False, "OOM kill, again and again"),
    (End("70", message="main: Error (exit code 70)"), False, "bug (70)"),
    (End("78", message="main: Error (exit code 78)"), False, "bad input (78)"),
    (End("2", message="main: Error (exit code 2)"), False, "usage error (2)"),
)


def label_problem(value: str) -> str | None:
    """Why a string is no label value; placeholders are filled later and pass."""
    if "{{" in value:
        return None
    if len(value) > 63:
        return f"{value} has {len(value)} characters"
    return None if not value or _LABEL.fullmatch(value) else f"{value} is no label"


def check_container(template: Manifest, spec: Manifest) -> Iterator[Found]:
    """A template that is a pod."""
    where, container = f"template {template['name']}", template["container"]
    command = container.get("command", [])
    if not command:
        yield "CXR006", where, "no command is set"
    elif PurePosixPath(command[0]).name in _SHELLS and "-c" in [*command, *container.get("args", [])]:
        yield "CXR007", where, f"{command[0]} -c runs the program"
    name, _, tag = container.get("image", "").rpartition(":")
    if "@sha256:" not in container.get("image", "") and (not name or "/" in tag or tag == "latest"):
        yield "CXR010", where, f"{container.get('image', 'no image')} can change under a run"
    elif container["image"] == _HERAS_IMAGE:
        yield "CXR010", where, f"{_HERAS_IMAGE} is hera's own choice, as no image is named"
    if not template.get("activeDeadlineSeconds"):
        yield "CXR022", where, "a task that hangs holds its GPU for ever"
    yield from _check_memory(where, template, spec)
    yield from _check_security(where, template, spec)
    yield from _check_retries(where, template)


def check_dag(template: Manifest, spec: Manifest) -> Iterator[Found]:
    """A template that is a DAG."""
    where, dag = f"template {template['name']}", template["dag"]
    if "retryStrategy" in template:
        yield "CXR018", where, "the whole DAG is tried again"
    if dag.get("failFast", True):
        yield "CXR037", where, "failFast is on, as it is where it is left out"
    names: dict[str, str] = {}
    tasks = {task["name"] for task in dag["tasks"]}
    for task in dag["tasks"]:
        if problem := label_problem(task["name"]):
            yield "CXR016", f"task {task['name']}", problem
        twin = names.setdefault(task["name"].replace("_", "-"), task["name"])
        if twin != task["name"]:
            yield "CXR017", f"task {task['name']}", f"{task['name']} and {twin} are one name to Argo"
        for needed in re.findall(r"[\w-]+", task.get("depends", "")):
            if needed not in tasks and needed not in _RESULTS:
                yield "CXR029", f"task {task['name']}", f"{needed} is no task"
        if ".AllFailed" in task.get("depends", ""):
            yield "CXR040", f"task {task['name']}", task["depends"]
        yield from _check_arguments(task, spec)
        yield from _check_gathering(task, dag["tasks"])
    lenient = [task["name"] for task in dag["tasks"] if re.search(r"\.(Failed|Errored|Any)", task.get("depends", ""))]
    if lenient and set(dag.get("target", "").split()) != tasks:
        yield "CXR025", where, f"{lenient[0]} goes on without what failed, and nothing else fails the run"


_RESULTS = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed")


def _check_arguments(task: Manifest, spec: Manifest) -> Iterator[Found]:
    template = next((one for one in spec["templates"] if one["name"] == task.get("template")), None)
    if template is None:
        yield "CXR029", f"task {task['name']}", f"template {task.get('template')} is not there"
        return
    given = {one["name"]: one.get("value", "") for one in task.get("arguments", {}).get("parameters", [])}
    for parameter in template.get("inputs", {}).get("parameters", []):
        name = parameter["name"]
        fallback = any(key in parameter for key in ("default", "value", "valueFrom"))
        if name not in given and not fallback:
            yield "CXR003", f"task {task['name']}", f"{name} is not given"
        if "{{tasks." in str(given.get(name, "")) and "default" not in parameter:
            says = f"{name} comes from a task that may be skipped, and has no default"
            yield "CXR004", f"task {task['name']}", says


def _check_gathering(task: Manifest, tasks: list[Manifest]) -> Iterator[Found]:
    """What a task takes from all tasks of a loop comes as a list of those that succeeded."""
    fanned = [one["name"] for one in tasks if {"withItems", "withParam", "withSequence"} & one.keys()]
    for parameter in task.get("arguments", {}).get("parameters", []):
        for name in fanned:
            if f"{{{{tasks.{name}.outputs.parameters." in str(parameter.get("value", "")):
                says = f"{parameter['name']} gathers {name}: after a lost fold its indices are not the folds"
                yield "CXR039", f"task {task['name']}", says


def _check_memory(where: str, template: Manifest, spec: Manifest) -> Iterator[Found]:
    container = template["container"]
    limits = container.get("resources", {}).get("limits", {})
    volumes = {one["name"]: one for one in [*spec.get("volumes", []), *template.get("volumes", [])]}
    mounts = {one["mountPath"]: volumes.get(one["name"], {}) for one in container.get("volumeMounts", [])}
    shm = mounts.get("/dev/shm", {}).get("emptyDir", {})  # noqa: S108
    if "memory" not in limits:
        yield "CXR028", where, "memory has no limit"
    if shm.get("medium") != "Memory":
        if any("gpu" in key for key in limits):
            yield "CXR008", where, "64 MiB of /dev/shm end loader processes with a bus error"
    elif "memory" in limits and parse_quantity(shm.get("sizeLimit", "0")) >= parse_quantity(limits["memory"]):
        yield "CXR009", where, f"shared memory may take {shm['sizeLimit']} of {limits['memory']}"
    if container.get("securityContext", {}).get("readOnlyRootFilesystem") and "/tmp" not in mounts:  # noqa: S108
        yield "CXR026", where, "outputs and libraries write to /tmp"


def _check_security(where: str, template: Manifest, spec: Manifest) -> Iterator[Found]:
    own = template["container"].get("securityContext", {})
    pod = spec.get("securityContext", {}) | template.get("securityContext", {})
    missing = []
    if own.get("allowPrivilegeEscalation") is not False:
        missing.append("allowPrivilegeEscalation: false")
    if "ALL" not in own.get("capabilities", {}).get("drop", []):
        missing.append("capabilities: {drop: [ALL]}")
    if not (pod.get("runAsNonRoot") or own.get("runAsNonRoot")):
        missing.append("runAsNonRoot: true")
    if not (pod.get("seccompProfile") or own.get("seccompProfile")):
        missing.append("seccompProfile")
    if missing:
        yield "CXR020", where, f"it lacks {', '.join(missing)}"


def _check_retries(where: str, template: Manifest) -> Iterator[Found]:
    strategy = template.get("retryStrategy")
    if strategy is None:
        return
    if "maxDuration" in strategy.get("backoff", {}):
        yield "CXR005", where, f"maxDuration {strategy['backoff']['maxDuration']} would end a long training's retry"
    if "nodeAntiAffinity" in strategy.get("affinity", {}):
        yield "CXR014", where, "a retry may not run where the attempt before it ran"
    if strategy.get("retryPolicy") != "Always":
        says = f"retryPolicy {strategy.get('retryPolicy', 'OnFailure')} must agree, too, and misses lost pods"
        yield "CXR019", where, says
    if "expression" not in strategy:
        yield "CXR019", where, "without an expression bugs and bad input are tried again"
        return
    for end, wanted, name in ENDS:
        try:
            given = tries_again(strategy["expression"], end)
        except ValueError as error:
            yield "CXR019", where, f"the expression cannot be checked: {error}"
            return
        if given != wanted:
            yield "CXR019", where, f"{name}: {'tried again' if given else 'not tried again'}"

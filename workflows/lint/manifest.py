"""Rules for a whole manifest as a plain dict, whatever program wrote it."""

import json
import re
from collections.abc import Iterator
from typing import Final

from jobs.contract.names import QUEUE_LABEL, RUN_LABEL
from workflows.lint.findings import Problem, Rules
from workflows.lint.placeholders import unresolved
from workflows.lint.templates import containers, dags, task_arguments
from workflows.manifest.spec import Manifest
from workflows.settings.tree import load_yaml

ETCD_LIMIT: Final = 1024 * 1024
PARAMETER_LIMIT: Final = 128 * 1024
LABEL_LIMIT: Final = 63
# Argo adds five random characters to generateName, and the result must fit a label.
GENERATED_NAME_LIMIT: Final = LABEL_LIMIT - 5
# Seconds to write a checkpoint to S3.
ENOUGH_GRACE: Final = 60
_PROGRESS: Final = "workflows.argoproj.io/progress"
_SECRET: Final = re.compile(r"SECRET|PASSWORD|TOKEN|API_?KEY|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_BY_RUN: Final = re.compile(rf"{{{{\s*(workflow\.(name|uid)|workflow\.labels\.{RUN_LABEL}|pod\.name)\s*}}}}")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

rule = Rules[Manifest]()


@rule("CXR002", "error", "use a declared parameter, or declare it")
def unresolved_placeholder(workflow: Manifest) -> Iterator[Problem]:
    """Argo has no value for a placeholder."""
    for template in _templates(workflow):
        for path, variable in unresolved(template, workflow["spec"]):
            yield Problem(path, f"{{{{{variable}}}}} has no value")


@rule("CXR004", "error", "set valueFrom.default of the output, or the input's default")
def parameter_without_default(workflow: Manifest) -> Iterator[Problem]:
    """A skipped task has no outputs, so whatever reads them needs a default."""
    for template in _templates(workflow):
        for parameter in template.get("outputs", {}).get("parameters", []):
            if "default" not in parameter.get("valueFrom", {}):
                yield Problem(f"template {template['name']}", f"output {parameter['name']} has no default")
    for dag in dags(workflow):
        for task in dag.tasks:
            given = task_arguments(task)
            for parameter in dag.inputs(task):
                name = parameter["name"]
                if "{{tasks." in given.get(name, "") and "default" not in parameter:
                    message = f"{name} comes from a task that may be skipped, and has no default"
                    yield Problem(f"task {task['name']}", message)


@rule("CXR011", "error", "refer to a key of a Kubernetes Secret")
def secret_in_the_manifest(workflow: Manifest) -> Iterator[Problem]:
    """Everybody who can read the workflow can read its parameters and variables."""
    for parameter in _parameters(workflow):
        if _SECRET.search(parameter["name"]):
            yield Problem(f"arguments.{parameter['name']}", "parameters are shown in Argo's pages and stored in etcd")
    for template in containers(workflow):
        for variable in template.container.get("env", []):
            if _SECRET.search(variable["name"]) and variable.get("value"):
                yield Problem(f"{template.where}.env.{variable['name']}", "its value stands in the manifest")


@rule("CXR012", "error", "train fewer folds or models in one run")
def too_large_for_etcd(workflow: Manifest) -> Iterator[Problem]:
    """Etcd refuses objects of 1 MiB and more."""
    size = len(json.dumps(workflow, separators=(",", ":")))
    if size >= ETCD_LIMIT:
        yield Problem("the workflow", f"{size // 1024} KiB are too much; the limit is {ETCD_LIMIT // 1024} KiB")


@rule("CXR013", "error", "put the data into the store and pass its key")
def parameters_too_large(workflow: Manifest) -> Iterator[Problem]:
    """Argo passes parameters on in places of limited size, such as a process' arguments."""
    size = sum(len(str(parameter.get("value", "")).encode()) for parameter in _parameters(workflow))
    if size >= PARAMETER_LIMIT:
        message = f"parameters of {size // 1024} KiB are too much; the limit is {PARAMETER_LIMIT // 1024} KiB"
        yield Problem("arguments", message)


@rule("CXR015", "error", "remove the annotation")
def progress_annotation(workflow: Manifest) -> Iterator[Problem]:
    """A progress set by hand switches the pods' own progress off."""
    for where, metadata in (("metadata", _metadata(workflow)), ("podMetadata", _pod_metadata(workflow))):
        if _PROGRESS in (metadata.get("annotations") or {}):
            yield Problem(where, f"{_PROGRESS} is set by hand")


@rule("CXR016", "error", "use at most 63 of a-z, 0-9 and -")
def invalid_name(workflow: Manifest) -> Iterator[Problem]:
    """Names become label values."""
    metadata = _metadata(workflow)
    for key, limit in (("name", LABEL_LIMIT), ("generateName", GENERATED_NAME_LIMIT)):
        if len(name := metadata.get(key, "")) > limit:
            yield Problem("metadata", f"{key} {name} has more than {limit} characters")
    for where, labels in (
        ("metadata.labels", metadata.get("labels")),
        ("podMetadata.labels", _pod_metadata(workflow).get("labels")),
    ):
        for key, value in (labels or {}).items():
            yield from _label_problems(f"{where}.{key}", value)
    for template in _templates(workflow):
        yield from _label_problems(f"template {template['name']}", template["name"])
    for dag in dags(workflow):
        for task in dag.tasks:
            yield from _label_problems(f"task {task['name']}", task["name"])


@rule("CXR020", "error", "use the generated security contexts")
def privileged(workflow: Manifest) -> Iterator[Problem]:
    """The restricted Pod Security Standard refuses the pods. Argo's own containers are set by podSpecPatch alone."""
    for template in containers(workflow):
        pod = workflow["spec"].get("securityContext", {}) | template.body.get("securityContext", {})
        if missing := _missing_restrictions(template.security, pod | template.security):
            yield Problem(template.where, f"missing: {', '.join(missing)}")
    patch = _pod_patch(workflow)
    for group, name in (("initContainers", "init"), ("containers", "wait")):
        patched = {container["name"]: container.get("securityContext", {}) for container in patch.get(group, [])}
        if missing := _missing_privileges(patched.get(name, {})):
            yield Problem(f"spec.podSpecPatch.{group}", f"missing for Argo's container {name}: {', '.join(missing)}")


@rule("CXR021", "error", "write the result to the store")
def artifacts(workflow: Manifest) -> Iterator[Problem]:
    """Argo cannot aggregate the artifacts of a fan-out."""
    for template in _templates(workflow):
        for side in ("inputs", "outputs"):
            if template.get(side, {}).get("artifacts"):
                yield Problem(f"template {template['name']}.{side}", "the template has artifacts")


@rule("CXR022", "warning", "set activeDeadlineSeconds")
def no_deadline(workflow: Manifest) -> Iterator[Problem]:
    """Without a deadline a process that hangs holds its GPU for ever."""
    if not workflow["spec"].get("activeDeadlineSeconds"):
        yield Problem("spec", "the workflow has no deadline")
    for template in containers(workflow):
        if not template.body.get("activeDeadlineSeconds"):
            yield Problem(template.where, "the template has no deadline")


@rule("CXR023", "warning", "use the podGC strategy OnWorkflowSuccess")
def failed_pods_deleted(workflow: Manifest) -> Iterator[Problem]:
    """The logs of a failed task are deleted with its pod."""
    strategy = workflow["spec"].get("podGC", {}).get("strategy")
    if strategy in ("OnPodCompletion", "OnWorkflowCompletion"):
        yield Problem("spec.podGC", f"{strategy} deletes the pods of failed tasks, too")


@rule("CXR024", "error", f"set the profile's grace to {ENOUGH_GRACE} or more")
def short_grace_period(workflow: Manifest) -> Iterator[Problem]:
    """A checkpoint takes its time from SIGTERM to SIGKILL, 30 seconds by default. Only a patch can set it."""
    grace = _pod_patch(workflow).get("terminationGracePeriodSeconds")
    if grace is None:
        yield Problem("spec.podSpecPatch", "terminationGracePeriodSeconds is not set, so 30 seconds remain")
    elif grace < ENOUGH_GRACE:
        yield Problem("spec.podSpecPatch", f"{grace} seconds are too short to write a checkpoint to S3")


@rule("CXR027", "warning", "remove it: DONE.json already skips finished work")
def memoized(workflow: Manifest) -> Iterator[Problem]:
    """Memoization conflicts with retries, and its cache is limited to 1 MiB."""
    for template in _templates(workflow):
        if "memoize" in template:
            yield Problem(f"template {template['name']}", "the template is memoized")


@rule("CXR031", "warning", "label the metric by experiment")
def metric_per_run(workflow: Manifest) -> Iterator[Problem]:
    """A label of the run makes a new time series for each run."""
    for template in _templates(workflow):
        for metric in template.get("metrics", {}).get("prometheus", []):
            if any(_BY_RUN.search(label.get("value", "")) for label in metric.get("labels", [])):
                yield Problem(f"template {template['name']}", f"metric {metric['name']} has a series for each run")


@rule("CXR032", "warning", "use the service account that the chart creates")
def default_service_account(workflow: Manifest) -> Iterator[Problem]:
    """The namespace's default account may not write task results."""
    if workflow["spec"].get("serviceAccountName", "default") == "default":
        yield Problem("spec.serviceAccountName", "the default account may not write task results")


@rule("CXR033", "error", "set executor.serviceAccountName, or mount the token")
def executor_without_token(workflow: Manifest) -> Iterator[Problem]:
    """Argo's executor reports results with a service account's token."""
    spec = workflow["spec"]
    if spec.get("automountServiceAccountToken") is False and not spec.get("executor", {}).get("serviceAccountName"):
        yield Problem("spec.automountServiceAccountToken", "the executor has no token to report results with")


@rule("CXR034", "error", "rename the hook")
def hook_named_exit(workflow: Manifest) -> Iterator[Problem]:
    """Argo takes a hook of this name for the exit handler."""
    if "exit" in workflow["spec"].get("hooks", {}):
        yield Problem("spec.hooks", "a hook is named exit")


@rule("CXR035", "warning", "use activeDeadlineSeconds")
def timeout(workflow: Manifest) -> Iterator[Problem]:
    """A template's timeout includes the time spent waiting for a GPU."""
    for template in _templates(workflow):
        if "timeout" in template:
            message = f"timeout {template['timeout']} starts before the pod has a node"
            yield Problem(f"template {template['name']}", message)


@rule("CXR036", "error", "give each stage a container template")
def container_set(workflow: Manifest) -> Iterator[Problem]:
    """Argo loses track of the pods of a containerSet."""
    for template in _templates(workflow):
        if "containerSet" in template:
            yield Problem(f"template {template['name']}", "the template is a containerSet")


@rule("CXR038", "error", "put it into podMetadata.labels")
def queue_label_on_the_workflow(workflow: Manifest) -> Iterator[Problem]:
    """Kueue queues pods, so it reads the label on pods only."""
    of_pods = _pod_metadata(workflow).get("labels") or {}
    if QUEUE_LABEL in (_metadata(workflow).get("labels") or {}) and QUEUE_LABEL not in of_pods:
        yield Problem("metadata.labels", f"{QUEUE_LABEL} is on the workflow, but Kueue reads it on pods")


def _metadata(workflow: Manifest) -> Manifest:
    return dict(workflow.get("metadata", {}))


def _pod_metadata(workflow: Manifest) -> Manifest:
    return dict(workflow["spec"].get("podMetadata", {}))


def _templates(workflow: Manifest) -> list[Manifest]:
    return list(workflow["spec"].get("templates", []))


def _parameters(workflow: Manifest) -> list[Manifest]:
    return list(workflow["spec"].get("arguments", {}).get("parameters", []))


def _pod_patch(workflow: Manifest) -> Manifest:
    return dict(load_yaml(workflow["spec"].get("podSpecPatch") or "{}", "spec.podSpecPatch"))


def _label_problems(where: str, value: str) -> Iterator[Problem]:
    """Yield why a string is no label value. One with placeholders passes, because Argo fills them in later."""
    if "{{" in value:
        return
    if len(value) > LABEL_LIMIT:
        yield Problem(where, f"{value} has {len(value)} characters")
    elif value and not _LABEL.fullmatch(value):
        yield Problem(where, f"{value} is no valid label value")


def _missing_privileges(container: Manifest) -> list[str]:
    """Return what the restricted standard asks of a container's security context and is not set."""
    missing = []
    if container.get("allowPrivilegeEscalation") is not False:
        missing.append("allowPrivilegeEscalation: false")
    if "ALL" not in container.get("capabilities", {}).get("drop", []):
        missing.append("capabilities: {drop: [ALL]}")
    return missing


def _missing_restrictions(container: Manifest, either: Manifest) -> list[str]:
    """Return the same and what may be set on the pod or the container."""
    missing = _missing_privileges(container)
    if not either.get("runAsNonRoot"):
        missing.append("runAsNonRoot: true")
    if not either.get("seccompProfile"):
        missing.append("seccompProfile")
    return missing

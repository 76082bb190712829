"""What can be wrong with a workflow's manifest, whoever wrote it. Works on plain values, where nothing is lost yet."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from workflows.lint.findings import Found
from workflows.lint.templates import check_container, check_dag, label_problem

ETCD_LIMIT = 1024 * 1024
PARAMETER_LIMIT = 128 * 1024
# Argo adds five random characters to generateName, and the result must fit a label.
GENERATED_NAME_LIMIT = 63 - 5
_PLACEHOLDER = re.compile(r"{{(.*?)}}")
_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|API_?KEY|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_BY_RUN = re.compile(r"{{\s*(workflow\.(name|uid)|workflow\.labels\.cxrfold/run|pod\.name)\s*}}")
_QUEUE = "kueue.x-k8s.io/queue-name"
_GLOBAL = re.compile(r"workflow\.(name|uid|namespace|serviceAccountName|labels\.|annotations\.|creationTimestamp)")

Manifest = dict[str, Any]


def check_manifest(workflow: Manifest) -> Iterator[Found]:
    """All that can be seen in a manifest alone."""
    yield from _check_keys(workflow)
    yield from _check_metadata(workflow)
    yield from _check_spec(workflow["spec"])
    for template in workflow["spec"].get("templates", []):
        yield from _check_placeholders(template, workflow["spec"])
        yield from _check_features(template)
        if "container" in template:
            yield from check_container(template, workflow["spec"])
        if "dag" in template:
            yield from check_dag(template, workflow["spec"])


def check_words(raw: Any, model: type[BaseModel], where: str) -> Iterator[Found]:
    """The keys of plain values that a model of hera's passes over, and the values that it refuses."""
    try:
        parsed = model.model_validate(raw)
    except ValidationError as error:
        for problem in error.errors():
            path = ".".join(str(step) for step in (where, *problem["loc"]) if step != "")
            yield "CXR030", path, problem["msg"]
        return
    known = parsed.model_dump(by_alias=True, mode="json", exclude_none=True, warnings="none")
    for key in _lost(raw, known, ""):
        yield "CXR001", f"{where}{key}".lstrip("."), f"Kubernetes and Argo know no {key.rpartition('.')[2]} here"


def _lost(raw: Any, known: Any, path: str) -> Iterator[str]:
    if isinstance(raw, dict) and isinstance(known, dict):
        for key, value in raw.items():
            if key not in known and value is not None:
                yield f"{path}.{key}"
            elif key in known:
                yield from _lost(value, known[key], f"{path}.{key}")
    elif isinstance(raw, list) and isinstance(known, list):
        for index, (one, other) in enumerate(zip(raw, known, strict=False)):
            yield from _lost(one, other, f"{path}[{index}]")


def _check_keys(workflow: Manifest) -> Iterator[Found]:
    from hera.workflows import models as m

    yield from check_words(workflow, m.Workflow, "")


def _check_metadata(workflow: Manifest) -> Iterator[Found]:
    size = len(json.dumps(workflow, separators=(",", ":")))
    if size >= ETCD_LIMIT:
        yield "CXR012", "the workflow", f"{size // 1024} KiB, of which etcd takes less than {ETCD_LIMIT // 1024}"
    metadata = workflow.get("metadata", {})
    if len(metadata.get("generateName", "")) > GENERATED_NAME_LIMIT or len(metadata.get("name", "")) > 63:
        name = metadata.get("generateName") or metadata["name"]
        yield "CXR016", "metadata", f"{name} is too long for Argo's labels"
    pods = workflow["spec"].get("podMetadata", {})
    for where, labels in (("metadata.labels", metadata.get("labels")), ("podMetadata.labels", pods.get("labels"))):
        for key, value in (labels or {}).items():
            if problem := label_problem(value):
                yield "CXR016", f"{where}.{key}", problem
    for where, annotations in (("metadata", metadata.get("annotations")), ("podMetadata", pods.get("annotations"))):
        if "workflows.argoproj.io/progress" in (annotations or {}):
            yield "CXR015", where, "workflows.argoproj.io/progress is set by hand"
    if _QUEUE in (metadata.get("labels") or {}) and _QUEUE not in (pods.get("labels") or {}):
        yield "CXR038", "metadata.labels", f"{_QUEUE} is on the workflow, and Kueue queues pods"


def _check_spec(spec: Manifest) -> Iterator[Found]:
    parameters = spec.get("arguments", {}).get("parameters", [])
    total = sum(len(str(parameter.get("value", "")).encode()) for parameter in parameters)
    if total >= PARAMETER_LIMIT:
        yield "CXR013", "arguments", f"{total // 1024} KiB of parameters, where {PARAMETER_LIMIT // 1024} are too many"
    for parameter in parameters:
        if _SECRET.search(parameter["name"]):
            yield "CXR011", f"arguments.{parameter['name']}", "parameters stand on Argo's page and in etcd"
    if not spec.get("activeDeadlineSeconds"):
        yield "CXR022", "spec", "a run that hangs stays for ever"
    strategy = spec.get("podGC", {}).get("strategy")
    if strategy in ("OnPodCompletion", "OnWorkflowCompletion"):
        yield "CXR023", "spec.podGC", f"{strategy} deletes the pods that one wants to look at"
    if spec.get("serviceAccountName", "default") == "default":
        yield "CXR032", "spec.serviceAccountName", "the namespace's default account may not write task results"
    if spec.get("automountServiceAccountToken") is False and not spec.get("executor", {}).get("serviceAccountName"):
        yield "CXR033", "spec.automountServiceAccountToken", "the executor cannot say what became of a task"
    if "exit" in spec.get("hooks", {}):
        yield "CXR034", "spec.hooks", "a hook is named exit"
    yield from _check_patch(spec.get("podSpecPatch"))


def _check_patch(text: str | None) -> Iterator[Found]:
    """Grace and Argo's own containers can be set by a patch alone."""
    import yaml

    patch = yaml.safe_load(text or "{}")
    if "terminationGracePeriodSeconds" not in patch:
        yield "CXR024", "spec.podSpecPatch", "a pod is killed 30 seconds after SIGTERM"
    for group, name in (("initContainers", "init"), ("containers", "wait")):
        security: Manifest = next(
            (one.get("securityContext", {}) for one in patch.get(group, []) if one["name"] == name), {}
        )
        if security.get("allowPrivilegeEscalation") is not False or "ALL" not in _dropped(security):
            yield "CXR020", f"spec.podSpecPatch.{group}", f"Argo's own container {name} keeps its privileges"


def _dropped(security: Manifest) -> list[str]:
    dropped: list[str] = security.get("capabilities", {}).get("drop", [])
    return dropped


def _check_placeholders(template: Manifest, spec: Manifest) -> Iterator[Found]:
    inputs = {one["name"] for one in template.get("inputs", {}).get("parameters", [])}
    globals_ = {one["name"] for one in spec.get("arguments", {}).get("parameters", [])}
    outputs = _outputs(template, spec)
    for path, text in _strings(template, f"template {template['name']}"):
        for word in (match.strip() for match in _PLACEHOLDER.findall(text)):
            filled = (
                word.removeprefix("inputs.parameters.") in inputs
                or word.removeprefix("workflow.parameters.") in globals_
                or word.removeprefix("tasks.") in outputs
                or word in ("pod.name", "node.name")
                or _GLOBAL.match(word)
                or ((word == "retries" or word.startswith("lastRetry.")) and "retryStrategy" in template)
                or (word == "item" or word.startswith("item."))
            )
            if not filled:
                yield "CXR002", path, f"nothing fills {{{{{word}}}}}"


def _outputs(template: Manifest, spec: Manifest) -> set[str]:
    """The output parameters of a DAG's tasks, as ``NAME.outputs.parameters.SCORE``."""
    by_name = {one["name"]: one for one in spec.get("templates", [])}
    return {
        f"{task['name']}.outputs.parameters.{parameter['name']}"
        for task in template.get("dag", {}).get("tasks", [])
        for parameter in by_name.get(task.get("template"), {}).get("outputs", {}).get("parameters", [])
    }


def _check_features(template: Manifest) -> Iterator[Found]:
    where = f"template {template['name']}"
    if problem := label_problem(template["name"]):
        yield "CXR016", where, problem
    if "memoize" in template:
        yield "CXR027", where, "the template is memoized"
    if "timeout" in template:
        yield "CXR035", where, f"timeout {template['timeout']} begins before the pod has a node"
    if "containerSet" in template:
        yield "CXR036", where, "the template is a containerSet"
    for metric in template.get("metrics", {}).get("prometheus", []):
        if any(_BY_RUN.search(label.get("value", "")) for label in metric.get("labels", [])):
            yield "CXR031", where, f"metric {metric['name']} has a series for each run"
    for side in ("inputs", "outputs"):
        if template.get(side, {}).get("artifacts"):
            yield "CXR021", f"{where}.{side}", "the template has artifacts"
    for parameter in template.get("outputs", {}).get("parameters", []):
        if "default" not in parameter.get("valueFrom", {}):
            says = f"output {parameter['name']} has no default: a skipped task fails whoever reads it"
            yield "CXR004", where, says
    for variable in template.get("container", {}).get("env", []):
        if _SECRET.search(variable["name"]) and variable.get("value"):
            yield "CXR011", f"{where}.env.{variable['name']}", "its value can be read in the manifest"


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _strings(child, f"{path}.{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _strings(child, f"{path}[{index}]")

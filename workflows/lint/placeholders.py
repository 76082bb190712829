"""Placeholders of a template, ``{{variable}}``, and the variables that Argo has a value for."""

import re
from collections.abc import Iterator
from typing import Any, Final

from workflows.manifest.retry import CREATION_TIME
from workflows.manifest.spec import Manifest

_PLACEHOLDER: Final = re.compile(r"{{(.*?)}}")
_GLOBAL: Final = re.compile(
    r"workflow\.(name|uid|namespace|serviceAccountName|labels\.|annotations\.|creationTimestamp)"
)
# What Argo knows of a workflow once it has ended: variables of the exit handler alone.
_OF_ENDED: Final = ("status", "failures", "duration")


def unresolved(template: Manifest, spec: Manifest) -> Iterator[tuple[str, str]]:
    """Yield path and variable of each placeholder in a template that Argo has no value for.

    Args:
        template: one of the workflow's templates.
        spec: the workflow's spec.
    """
    known = _known_variables(template, spec)
    for path, text in _strings(template, f"template {template['name']}"):
        for variable in (match.strip() for match in _PLACEHOLDER.findall(text)):
            retry = variable == "retries" or variable.startswith("lastRetry.")
            loop = variable == "item" or variable.startswith("item.")
            if variable == CREATION_TIME and "retryStrategy" in template:
                continue
            if variable in known or _GLOBAL.match(variable) or loop or (retry and "retryStrategy" in template):
                continue
            yield path, variable


def _known_variables(template: Manifest, spec: Manifest) -> set[str]:
    """Return the variables a template may use: parameters, outputs of its tasks and Argo's own."""
    inputs = template.get("inputs", {}).get("parameters", [])
    arguments = spec.get("arguments", {}).get("parameters", [])
    bodies = {body["name"]: body for body in spec.get("templates", [])}
    outputs = {
        f"tasks.{task['name']}.outputs.parameters.{parameter['name']}"
        for task in template.get("dag", {}).get("tasks", [])
        for parameter in bodies.get(task.get("template"), {}).get("outputs", {}).get("parameters", [])
    }
    ended = {f"workflow.{word}" for word in _OF_ENDED} if template["name"] in _exit_templates(spec) else set()
    return (
        {"pod.name", "node.name"}
        | ended
        | {f"inputs.parameters.{parameter['name']}" for parameter in inputs}
        | {f"workflow.parameters.{parameter['name']}" for parameter in arguments}
        | outputs
    )


def _exit_templates(spec: Manifest) -> set[str]:
    """Names of the exit handler's template and, where it is a DAG, of its tasks' templates."""
    bodies = {body["name"]: body for body in spec.get("templates", [])}
    handler = bodies.get(spec.get("onExit"), {})
    return {handler.get("name"), *(task.get("template") for task in handler.get("dag", {}).get("tasks", []))}


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield every string in a value with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _strings(child, f"{path}.{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _strings(child, f"{path}[{index}]")

"""Read a manifest into a program for the local engine. Unknown fields are errors: see ``workflows.local.fields``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from jobs.contract import environment
from jobs.contract.exits import BadInput
from workflows.local import fields
from workflows.settings.tree import load_yaml

Json = Mapping[str, Any]
# Resource names that are no accelerator. The engine allocates these itself, whatever the limits are.
NO_ACCELERATOR: Final = ("cpu", "memory", "ephemeral-storage")
UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True)
class RetryStrategy:
    """How often and when a step is retried."""

    limit: int = 0
    policy: str = "OnFailure"
    expression: str = "true"
    backoff: float = 0.0  # seconds before the second attempt
    factor: float = 1.0
    cap: float | None = None  # seconds

    def pause(self, attempt: int) -> float:
        """Return the seconds that a cluster waits after an attempt; the first is 0."""
        pause = self.backoff * self.factor**attempt
        return min(pause, self.cap) if self.cap is not None else pause


@dataclass(frozen=True)
class Variable:
    """An environment variable: a value, a key of a Secret, or a field of the pod."""

    name: str
    value: str | None = None
    secret: str | None = None  # NAME/KEY, for messages
    optional: bool = False
    field: str | None = None  # the field's path


@dataclass(frozen=True)
class OutputFile:
    """A file whose content becomes an output parameter."""

    name: str
    path: str
    default: str | None = None


@dataclass(frozen=True)
class Template:
    """A container template: what a step runs."""

    name: str
    command: tuple[str, ...]
    env: tuple[Variable, ...] = ()
    inputs: Mapping[str, str | None] = field(default_factory=dict)  # name → default
    outputs: tuple[OutputFile, ...] = ()
    mounts: Mapping[str, str | None] = field(default_factory=dict)  # mount path → host path; None: an empty folder
    gpus: int = 0
    retries: RetryStrategy = RetryStrategy()
    deadline: float | None = None  # seconds an attempt may take
    grace: float = 30.0  # seconds from SIGTERM to SIGKILL; Kubernetes' default


@dataclass(frozen=True)
class Step:
    """A task of the DAG."""

    name: str
    template: Template
    depends: str
    arguments: Mapping[str, str]


@dataclass(frozen=True)
class Program:
    """A manifest as the engine executes it."""

    name: str
    parameters: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    steps: tuple[Step, ...]  # in the manifest's order
    targets: tuple[str, ...]  # the steps that decide about success; empty: the last ones
    fail_fast: bool
    parallelism: int | None
    deadline: float | None  # seconds for the whole run


def read(workflow: Json) -> Program:
    """Read a manifest.

    Raises:
        BadInput: the engine does not support a field, or a reference leads nowhere; the message names the first.
    """
    fields.WORKFLOW.check(workflow, "workflow")
    metadata, spec = workflow.get("metadata") or {}, workflow["spec"]
    fields.METADATA.check(metadata, "metadata")
    fields.SPEC.check(spec, "spec")
    bodies = {body["name"]: body for body in spec["templates"]}
    if (entry := spec.get("entrypoint")) not in bodies or "dag" not in bodies[entry]:
        raise BadInput(f"spec.entrypoint: there is no DAG template {entry}")
    fields.TEMPLATE.check(bodies[entry], f"templates.{entry}")
    dag = bodies[entry]["dag"]
    fields.DAG.check(dag, f"templates.{entry}.dag")
    templates = {name: _template(body, spec) for name, body in bodies.items() if name != entry}
    return Program(
        name=metadata.get("name") or metadata.get("generateName", "workflow"),
        parameters={name: value or "" for name, value in _parameters(spec.get("arguments"), "spec.arguments").items()},
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        steps=tuple(_step(body, templates) for body in dag["tasks"]),
        targets=tuple((dag.get("target") or "").split()),
        fail_fast=dag.get("failFast") is not False,
        parallelism=spec.get("parallelism"),
        deadline=_number(spec.get("activeDeadlineSeconds")),
    )


def _step(body: Json, templates: Mapping[str, Template]) -> Step:
    place = f"task {body['name']}"
    fields.TASK.check(body, place)
    if body.get("template") not in templates:
        raise BadInput(f"{place}.template: there is no container template {body.get('template')}")
    template = templates[body["template"]]
    arguments = {name: value or "" for name, value in _parameters(body.get("arguments"), place).items()}
    missing = [name for name, default in template.inputs.items() if default is None and name not in arguments]
    if missing:
        raise BadInput(f"{place}.arguments: the input {missing[0]} of {template.name} has no value")
    depends = body.get("depends") or " && ".join(body.get("dependencies") or ())
    return Step(body["name"], template, depends, arguments)


def _template(body: Json, spec: Json) -> Template:
    place = f"templates.{body['name']}"
    fields.TEMPLATE.check(body, place)
    if "container" not in body:
        raise BadInput(f"{place}: the local engine supports container templates and one DAG; this is neither")
    container = body["container"]
    fields.CONTAINER.check(container, f"{place}.container")
    if not container.get("command"):
        raise BadInput(f"{place}.container.command: set it; the local engine does not look into images")
    return Template(
        name=body["name"],
        command=(*container["command"], *(container.get("args") or ())),
        env=tuple(_variable(item, place) for item in container.get("env") or ()),
        inputs=_parameters(body.get("inputs"), f"{place}.inputs"),
        outputs=_outputs(body.get("outputs"), f"{place}.outputs"),
        mounts=_mounts(container, [*(spec.get("volumes") or ()), *(body.get("volumes") or ())], place),
        gpus=_gpus(container.get("resources") or {}, place),
        retries=_retries(body.get("retryStrategy"), f"{place}.retryStrategy"),
        deadline=_number(body.get("activeDeadlineSeconds")),
        grace=_grace(body.get("podSpecPatch") or spec.get("podSpecPatch"), f"{place}.podSpecPatch"),
    )


def _parameters(arguments: Json | None, place: str) -> dict[str, str | None]:
    fields.ARGUMENTS.check(arguments or {}, place)
    found: dict[str, str | None] = {}
    for parameter in (arguments or {}).get("parameters") or ():
        fields.PARAMETER.check(parameter, f"{place}.{parameter['name']}")
        value = parameter.get("value", parameter.get("default"))
        found[parameter["name"]] = None if value is None else str(value)
    return found


def _outputs(outputs: Json | None, place: str) -> tuple[OutputFile, ...]:
    fields.ARGUMENTS.check(outputs or {}, place)
    files = []
    for parameter in (outputs or {}).get("parameters") or ():
        where = f"{place}.{parameter['name']}"
        fields.OUTPUT.check(parameter, where)
        source = parameter.get("valueFrom") or {}
        fields.OUTPUT_SOURCE.check(source, f"{where}.valueFrom")
        if "path" not in source:
            raise BadInput(f"{where}.valueFrom: the local engine supports output parameters from a path only")
        files.append(OutputFile(parameter["name"], source["path"], source.get("default")))
    return tuple(files)


def _variable(item: Json, place: str) -> Variable:
    place = f"{place}.env.{item['name']}"
    fields.ENV.check(item, place)
    source = item.get("valueFrom") or {}
    fields.ENV_SOURCE.check(source, f"{place}.valueFrom")
    if secret := source.get("secretKeyRef"):
        where = f"{secret.get('name')}/{secret.get('key')}"
        return Variable(item["name"], secret=where, optional=bool(secret.get("optional")))
    if pod_field := source.get("fieldRef"):
        return Variable(item["name"], field=pod_field["fieldPath"])
    return Variable(item["name"], value=item.get("value") or "")


def _mounts(container: Json, volumes: list[Json], place: str) -> dict[str, str | None]:
    known = {volume["name"]: volume for volume in volumes}
    # A local folder replaces the cache volume, whatever its type is in a cluster.
    cache = next((item.get("value") for item in container.get("env") or () if item["name"] == environment.CACHE), None)
    mounts: dict[str, str | None] = {}
    for mount in container.get("volumeMounts") or ():
        where = f"{place}.volumeMounts.{mount['name']}"
        fields.MOUNT.check(mount, where)
        if mount["mountPath"] == cache:
            continue
        if mount["name"] not in known:
            raise BadInput(f"{where}: there is no volume with this name")
        volume = known[mount["name"]]
        fields.VOLUME.check(volume, f"{place}.volumes.{mount['name']}")
        mounts[mount["mountPath"].rstrip("/")] = (volume.get("hostPath") or {}).get("path")
    return mounts


def _gpus(resources: Json, place: str) -> int:
    asked = {name: count for name, count in (resources.get("limits") or {}).items() if name not in NO_ACCELERATOR}
    if len(asked) > 1:
        raise BadInput(f"{place}.resources: the local engine supports one kind of accelerator, not {sorted(asked)}")
    return sum(int(count) for count in asked.values())


def _retries(body: Json | None, place: str) -> RetryStrategy:
    if body is None:
        return RetryStrategy()
    fields.RETRY.check(body, place)
    backoff = body.get("backoff") or {}
    fields.BACKOFF.check(backoff, f"{place}.backoff")
    cap = backoff.get("cap")
    return RetryStrategy(
        limit=int(body.get("limit") or 0),
        policy=body.get("retryPolicy") or "OnFailure",
        expression=body.get("expression") or "true",
        backoff=seconds(backoff.get("duration") or "0"),
        factor=float(backoff.get("factor") or 1),
        cap=None if cap is None else seconds(cap),
    )


def _grace(patch: str | None, place: str) -> float:
    body = load_yaml(patch, place) if patch else {}
    fields.POD_PATCH.check(body, place)
    return float(body.get("terminationGracePeriodSeconds", Template.grace))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def seconds(duration: str) -> float:
    """Convert a duration of Argo to seconds: ``30``, ``30s``, ``1m30s`` or ``2h``.

    Raises:
        BadInput: it is not a duration.
    """
    parts = re.findall(r"([0-9.]+)(ms|s|m|h|d)", f"{duration}s" if duration.isdigit() else duration)
    if "".join(number + unit for number, unit in parts) not in (duration, f"{duration}s"):
        raise BadInput(f"{duration!r} is not a duration: use 30s, 10m or 2h")
    return sum(float(number) * UNITS[unit] for number, unit in parts)

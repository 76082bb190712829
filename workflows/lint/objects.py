"""Rules for Kubernetes objects as plain dicts: unknown keys and values of the wrong type.

hera's models silently drop unknown keys, and so does Argo, so the dict is compared with what its model keeps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from jobs.contract.profile import Profile
from workflows.lint.findings import Problem, Rules
from workflows.manifest.spec import Manifest


@dataclass(frozen=True)
class KubernetesObject:
    """A dict, the hera model that describes it, and its path for messages."""

    where: str
    model: type[BaseModel]
    value: Manifest


rule = Rules[KubernetesObject]()


def workflow_object(workflow: Manifest) -> KubernetesObject:
    """Return a manifest as an object to check."""
    from hera.workflows import models as m

    return KubernetesObject("", m.Workflow, workflow)


def profile_objects(profile: Profile) -> Iterator[KubernetesObject]:
    """Yield the parts of a profile that go into the manifest as they are."""
    from hera.workflows import models as m

    for index, toleration in enumerate(profile.tolerations):
        yield KubernetesObject(f"tolerations.{index}", m.Toleration, toleration)
    for volume in profile.volumes:
        yield KubernetesObject(f"volumes.{volume.name}.source", m.Volume, {"name": volume.name, **volume.source})
    if profile.cache_volume:
        yield KubernetesObject("cache_volume", m.Volume, {"name": "cache", **profile.cache_volume})


@rule("CXR001", "error", "correct its spelling, or remove it")
def unknown_key(item: KubernetesObject) -> Iterator[Problem]:
    """Argo drops an unknown key without an error."""
    try:
        parsed = item.model.model_validate(item.value)
    except ValidationError:
        return
    known = parsed.model_dump(by_alias=True, mode="json", exclude_none=True, warnings="none")
    for path in _dropped(item.value, known, item.where):
        yield Problem(path, f"{path.rpartition('.')[2]} is no key that Kubernetes or Argo knows here")


@rule("CXR030", "error", "use a value of the type that the field expects")
def value_of_the_wrong_type(item: KubernetesObject) -> Iterator[Problem]:
    """Argo refuses the manifest."""
    try:
        item.model.model_validate(item.value)
    except ValidationError as error:
        for problem in error.errors():
            yield Problem(".".join(str(step) for step in (item.where, *problem["loc"]) if step != ""), problem["msg"])


def _dropped(raw: Any, known: Any, path: str) -> Iterator[str]:
    if isinstance(raw, dict) and isinstance(known, dict):
        for key, value in raw.items():
            inner = f"{path}.{key}".lstrip(".")
            if key in known:
                yield from _dropped(value, known[key], inner)
            elif value is not None:
                yield inner
    elif isinstance(raw, list) and isinstance(known, list):
        for index, (item, kept) in enumerate(zip(raw, known, strict=False)):
            yield from _dropped(item, kept, f"{path}[{index}]")

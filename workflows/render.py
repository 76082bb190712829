"""The manifest as text, and the resolved experiment beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows.plan import Predict

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Rendered:
    """What ``cv.py render`` shows."""

    experiment: str  # YAML
    manifest: str  # YAML, fit for kubectl create
    workflow: dict[str, Any]


def render(
    experiment: Experiment,
    profile: Profile,
    run: str | None = None,
    *,
    predict: Predict | None = None,
    revision: str,
    memory: Mapping[str, str] | None = None,
) -> Rendered:
    """Build the workflow of a run and write it down; the arguments are those of ``workflows.dag.build``."""
    from workflows.dag import build  # hera takes a second to import

    name = run or experiment.default_run
    workflow = build(experiment, profile, name, predict=predict, revision=revision, memory=memory).to_dict()
    return Rendered(to_yaml(experiment.model_dump(mode="json")), to_yaml(workflow), workflow)


def to_yaml(value: Any) -> str:
    """A value as YAML, keys in the order they have."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text

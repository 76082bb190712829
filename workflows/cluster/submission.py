"""What is sent to a cluster, and kept with the workflow so that it can be sent again."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, ValidationError

from jobs.contract import environment, layout
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment, Frozen
from jobs.contract.names import Stage
from jobs.contract.profile import Profile
from workflows.cluster.http import Json
from workflows.plan import Predict

if TYPE_CHECKING:
    from jobs.runtime.store import Store  # boto3 is slow to import, and submit needs no store

RUN_LABEL: Final = "cxrfold/run"
# All of a submission but its experiment, which is the workflow's parameter.
ANNOTATION: Final = "cxrfold/submission"
RUN_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?")


class Submission(Frozen):
    """Everything a run's workflow is built from."""

    run: str
    experiment: Experiment
    profile: Profile
    revision: str
    predict: Predict | None = None
    memory: dict[str, str] = Field(default_factory=dict, description="by task, raised after an OOM kill")

    @property
    def films(self) -> Experiment:
        """The experiment on the films that it is run on: its own, or the test set."""
        return self.predict.instead(self.experiment) if self.predict else self.experiment

    def manifest(self) -> Json:
        """The workflow, without a name yet. hera takes a second to import."""
        from workflows.dag import build

        workflow: Json = build(
            self.experiment, self.profile, self.run, predict=self.predict, revision=self.revision, memory=self.memory
        ).to_dict()
        kept = self.model_dump_json(exclude={"experiment"}, exclude_defaults=True)
        workflow["metadata"].setdefault("annotations", {})[ANNOTATION] = kept
        first = next(template for template in workflow["spec"]["templates"] if template["name"] == Stage.PREPARE)
        first["container"]["env"].append({"name": environment.SUBMISSION, "value": kept})
        return workflow

    @classmethod
    def stored(cls, store: "Store", run: str) -> "Submission":
        """What a run was submitted as, from its store: prepare wrote it there.

        Raises:
            Missing: where the run never got so far, or was not run on a cluster.
        """
        experiment = Experiment.model_validate_json(store.get(layout.run_experiment(run)))
        return cls(**{**store.get_json(layout.run_submission(run)), "experiment": experiment})

    @classmethod
    def of(cls, workflow: Mapping[str, Any]) -> "Submission":
        """What a workflow was built from.

        Raises:
            BadInput: where it was not made by ``submit``, or by a version that wrote it down otherwise.
        """
        name = workflow["metadata"]["name"]
        try:
            kept = json.loads(workflow["metadata"]["annotations"][ANNOTATION])
            parameters = {item["name"]: item["value"] for item in workflow["spec"]["arguments"]["parameters"]}
            return cls(**{**kept, "experiment": Experiment.model_validate_json(parameters["experiment"])})
        except (KeyError, json.JSONDecodeError, ValidationError) as error:
            raise BadInput(
                f"Workflow {name} does not say what it was made from: {error}. Submit the run anew."
            ) from error


def check_run_name(run: str) -> None:
    """A run's name is part of labels, pod names and S3 keys.

    Raises:
        BadInput: where it cannot be.
    """
    if not RUN_NAME.fullmatch(run):
        raise BadInput(f"--run {run}: use at most 53 of a-z, 0-9 and -, with a letter or figure at both ends")


def workflow_name(run: str, taken: Iterable[str]) -> str:
    """The name of a run's next workflow: ``<run>-1``, ``<run>-2`` and so on.

    The cluster refuses a second object of one name, so of two who submit at the same time one creates it.
    """
    numbers = [int(name.rsplit("-", 1)[-1]) for name in taken if re.fullmatch(rf"{re.escape(run)}-\d+", name)]
    return f"{run}-{max(numbers, default=0) + 1}"


def named(manifest: Json, name: str) -> Json:
    """The manifest under a name of its own in place of a generated one."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "generateName"}
    return {**manifest, "metadata": {"name": name, **metadata}}

"""The specification of a run: everything that its workflow is built from."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator

from jobs.contract.exits import BadInput, Damaged, StageError
from jobs.contract.experiment import Experiment, Frozen
from jobs.contract.experiment.source import check_source
from jobs.contract.names import LONGEST_RUN_NAME, check_run_name
from jobs.contract.plan import PlannedTask, plan
from jobs.contract.profile import Profile
from jobs.contract.stored import layout
from jobs.contract.stored.digest import digest
from jobs.contract.task import TaskId

if TYPE_CHECKING:
    from jobs.runtime.store import Store  # boto3 is slow to import, and submit needs no store

Manifest = dict[str, Any]

# All of a RunSpec but its experiment, which is the workflow's parameter.
ORDER_ANNOTATION: Final = "cxrfold/order"
# Argo's variable that is the run's name in a deployed template: each workflow made of it is a run of its own.
RUN_OF_TEMPLATE: Final = "{{workflow.name}}"
FORMER_ANNOTATION: Final = "cxrfold/submission"  # up to release 0.1


class TestSet(Frozen):
    """Films to predict with the weights of a finished run, in place of training."""

    __test__ = False  # pytest must not collect it

    source: str
    from_run: str
    # What becomes of patients and near-duplicates that training has seen, where the films have labels to be scored by.
    # None in the order of an older version, whose predictions were not scored.
    overlap: Literal["refuse", "drop"] | None = None

    @field_validator("source")
    @classmethod
    def _can_be_opened(cls, source: str) -> str:
        return check_source(source)

    @field_validator("from_run")
    @classmethod
    def _can_be_a_run(cls, name: str) -> str:
        return check_run_name(name)


class RunSpec(Frozen):
    """Specifies one run. ``render``, ``lint``, ``run``, ``submit`` and ``resume`` all take it.

    Attributes:
        run: the run's name: the same name continues the same run.
        experiment: what to train and score.
        profile: the cluster's settings.
        revision: git revision of the code, for the tags of images.
        test_set: films to predict instead of training.
        local: whether processes of the user's machine execute it in place of pods; only in a stored order.
        memory: memory by task name that replaces the profile's after an OOM kill.
        max_gpu_hours: GPU hours of all attempts after which the run's tasks stop.
    """

    run: str
    experiment: Experiment
    profile: Profile
    revision: str
    test_set: TestSet | None = Field(None, validation_alias=AliasChoices("test_set", "predict"))
    local: bool = False
    memory: dict[str, str] = Field(default_factory=dict)
    max_gpu_hours: float | None = Field(None, gt=0, allow_inf_nan=False)

    @field_validator("run")
    @classmethod
    def _can_be_a_run(cls, name: str) -> str:
        return check_run_name(name)

    @classmethod
    def of(
        cls, experiment: Experiment, profile: Profile, *, revision: str, run: str | None = None,
        test_set: TestSet | None = None, memory: Mapping[str, str] | None = None, max_gpu_hours: float | None = None,
    ) -> Self:  # fmt: skip
        """Build a spec. The default name depends on the settings, so that the same settings continue the same run."""
        return cls(
            run=default_run(experiment, test_set) if run is None else run, experiment=experiment, profile=profile,
            revision=revision, test_set=test_set, memory=dict(memory or {}), max_gpu_hours=max_gpu_hours,
        )  # fmt: skip

    @property
    def predicts(self) -> bool:
        """Whether the run predicts a test set."""
        return self.test_set is not None

    @property
    def scores(self) -> bool:
        """Whether the run ends with evaluate."""
        return self.test_set is None or self.test_set.overlap is not None

    @property
    def on_its_films(self) -> Experiment:
        """The experiment on the films that the run reads: its own, or the test set."""
        if self.test_set is None:
            return self.experiment
        data = self.experiment.data.model_copy(update={"source": self.test_set.source, "split": None, "extra": ()})
        return self.experiment.model_copy(update={"data": data})

    @property
    def tasks(self) -> list[PlannedTask]:
        """The run's tasks, each after those it needs."""
        return plan(self.experiment, predicts=self.predicts, scores=self.scores)

    @property
    def kept(self) -> str:
        """The spec without its experiment, as JSON: the workflow's annotation, stored as ``order.json``."""
        return self.model_dump_json(exclude={"experiment"}, exclude_defaults=True)

    def memory_of(self, task: TaskId) -> str | None:
        """Memory of a task that replaces the profile's; None if the profile's applies."""
        return self.memory.get(task.name) or self.memory.get(task.former_name)

    @classmethod
    def stored(cls, store: "Store", run: str) -> Self:
        """Read the spec that prepare stored.

        Raises:
            Missing: prepare has not run, or the run was not submitted to a cluster.
            Damaged: what prepare stored cannot be read.
        """
        from jobs.runtime.store import Missing

        experiment = store.get_record(layout.run_experiment(run), Experiment)
        try:
            order = store.get_json(layout.run_order(run))
        except Missing:
            order = store.get_json(layout.former_run_order(run))
        try:
            return cls(**{**order, "experiment": experiment})
        except (TypeError, ValidationError) as error:
            raise Damaged(f"{store.url}/{layout.run_order(run)} is damaged: it specifies no run.") from error

    @classmethod
    def of_workflow(cls, workflow: Mapping[str, Any]) -> Self:
        """Read the spec of a workflow.

        Raises:
            BadInput: the workflow has no spec, or one of an incompatible version.
        """
        name = workflow["metadata"]["name"]
        try:
            annotations = workflow["metadata"]["annotations"]
            text = annotations.get(ORDER_ANNOTATION) or annotations[FORMER_ANNOTATION]
            order = json.loads(text.replace(RUN_OF_TEMPLATE, name))
            arguments = _spec_of(workflow)["arguments"]["parameters"]
            parameters = {item["name"]: item["value"] for item in arguments}
            return cls(**{**order, "experiment": Experiment.model_validate_json(parameters["experiment"])})
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError, ValidationError, StageError) as error:
            reason = f"{error.errors()[0]['msg']}" if isinstance(error, ValidationError) else f"{error}"
            raise BadInput(
                f"Workflow {name} has no valid spec: it was made by hand, or by another version ({reason}). Submit the "
                "run again."
            ) from error


def _spec_of(workflow: Mapping[str, Any]) -> Mapping[str, Any]:
    """The workflow's spec; of one made of a template that which Argo stored with it."""
    of_template = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec")
    spec: Mapping[str, Any] = of_template or workflow["spec"]
    return spec


def kept_profile(workflow: Mapping[str, Any]) -> Mapping[str, Any]:
    """The profile that a workflow was submitted with, as plain values: also one of another version."""
    annotations = (workflow.get("metadata") or {}).get("annotations") or {}
    try:
        order = json.loads(annotations.get(ORDER_ANNOTATION) or annotations.get(FORMER_ANNOTATION) or "{}")
        profile: Mapping[str, Any] = dict(order["profile"])
    except (KeyError, TypeError, ValueError):
        return {}
    return profile


def default_run(experiment: Experiment, test_set: TestSet | None = None) -> str:
    """The default name of a run: the same settings give the same name."""
    if test_set is None:
        return experiment.default_run
    suffix = f"-on-{digest([test_set.source, experiment.hash])[:6]}"
    return test_set.from_run[: LONGEST_RUN_NAME - len(suffix)].rstrip("-") + suffix


def workflow_name(run: str, taken: Iterable[str]) -> str:
    """The name of a run's next workflow: ``<run>-1``, ``<run>-2`` and so on.

    The cluster refuses a second object of the same name, so only one of two simultaneous submits creates it.
    """
    numbers = [int(name.rsplit("-", 1)[-1]) for name in taken if re.fullmatch(rf"{re.escape(run)}-\d+", name)]
    return f"{run}-{max(numbers, default=0) + 1}"


def named(manifest: Manifest, name: str) -> Manifest:
    """Return the manifest with a fixed name instead of a generated one."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "generateName"}
    return {**manifest, "metadata": {"name": name, **metadata}}

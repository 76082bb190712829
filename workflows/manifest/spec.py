"""What was ordered: everything that a run's workflow is built from, and how the workflow keeps it."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator

from jobs.contract import layout
from jobs.contract.digest import digest
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment, Frozen
from jobs.contract.names import LONGEST_RUN_NAME, check_run_name
from jobs.contract.plan import PlannedTask, plan
from jobs.contract.profile import Profile
from jobs.contract.task import TaskId

if TYPE_CHECKING:
    from jobs.runtime.store import Store  # boto3 is slow to import, and submit needs no store

Manifest = dict[str, Any]

# All of a RunSpec but its experiment, which is the workflow's parameter.
ORDER_ANNOTATION: Final = "cxrfold/order"
FORMER_ANNOTATION: Final = "cxrfold/submission"  # up to release 0.1


class TestSet(Frozen):
    """Films to predict with the weights of a finished run, in place of training."""

    __test__ = False  # no class of tests, whatever pytest makes of its name

    source: str
    from_run: str

    @field_validator("from_run")
    @classmethod
    def _can_be_a_run(cls, name: str) -> str:
        return check_run_name(name)


class RunSpec(Frozen):
    """One run as it was ordered. ``render``, ``lint``, ``run``, ``submit`` and ``resume`` all take it.

    Attributes:
        run: the run's name: the same name continues the same run.
        experiment: what is trained and scored, on its own films.
        profile: where the pods run.
        revision: the code's git revision, for the tags of images.
        test_set: films to predict, in place of training.
        memory: memory by task name in place of the profile's, raised after an OOM kill.
    """

    run: str
    experiment: Experiment
    profile: Profile
    revision: str
    test_set: TestSet | None = Field(None, validation_alias=AliasChoices("test_set", "predict"))
    memory: dict[str, str] = Field(default_factory=dict)

    @field_validator("run")
    @classmethod
    def _can_be_a_run(cls, name: str) -> str:
        return check_run_name(name)

    @classmethod
    def of(
        cls, experiment: Experiment, profile: Profile, *, revision: str, run: str | None = None,
        test_set: TestSet | None = None, memory: Mapping[str, str] | None = None,
    ) -> Self:  # fmt: skip
        """An order; without a name it gets the default one, so that the same order continues the same run."""
        return cls(
            run=default_run(experiment, test_set) if run is None else run, experiment=experiment, profile=profile,
            revision=revision, test_set=test_set, memory=dict(memory or {}),
        )  # fmt: skip

    @property
    def predicts(self) -> bool:
        """Whether the run predicts a test set."""
        return self.test_set is not None

    @property
    def on_its_films(self) -> Experiment:
        """The experiment on the films that the run reads: its own, or the test set."""
        if self.test_set is None:
            return self.experiment
        data = self.experiment.data.model_copy(update={"source": self.test_set.source, "split": None})
        return self.experiment.model_copy(update={"data": data})

    @property
    def tasks(self) -> list[PlannedTask]:
        """The run's tasks, each after those it needs."""
        return plan(self.experiment, predicts=self.predicts)

    @property
    def kept(self) -> str:
        """The order without its experiment, as JSON: the workflow's annotation, stored as ``order.json``."""
        return self.model_dump_json(exclude={"experiment"}, exclude_defaults=True)

    def memory_of(self, task: TaskId) -> str | None:
        """The memory that a task gets in place of the profile's, None where it gets that."""
        return self.memory.get(task.name) or self.memory.get(task.former_name)

    @classmethod
    def stored(cls, store: "Store", run: str) -> Self:
        """What a run was submitted as, from its store, where prepare wrote it.

        Raises:
            Missing: the run never got so far, or was not run on a cluster.
        """
        from jobs.runtime.store import Missing

        experiment = Experiment.model_validate_json(store.get(layout.run_experiment(run)))
        try:
            order = store.get_json(layout.run_order(run))
        except Missing:
            order = store.get_json(layout.former_run_order(run))
        return cls(**{**order, "experiment": experiment})

    @classmethod
    def of_workflow(cls, workflow: Mapping[str, Any]) -> Self:
        """What a workflow was built from.

        Raises:
            BadInput: it was not built here, or by a version that wrote it down differently.
        """
        name = workflow["metadata"]["name"]
        try:
            annotations = workflow["metadata"]["annotations"]
            order = json.loads(annotations.get(ORDER_ANNOTATION) or annotations[FORMER_ANNOTATION])
            parameters = {item["name"]: item["value"] for item in workflow["spec"]["arguments"]["parameters"]}
            return cls(**{**order, "experiment": Experiment.model_validate_json(parameters["experiment"])})
        except (KeyError, json.JSONDecodeError, ValidationError) as error:
            raise BadInput(
                f"Workflow {name} does not say what it was built from: {error}. Submit the run again."
            ) from error


def default_run(experiment: Experiment, test_set: TestSet | None = None) -> str:
    """The run's name where none is given: the same options, the same run."""
    if test_set is None:
        return experiment.default_run
    suffix = f"-on-{digest(test_set.source)[:6]}"
    return test_set.from_run[: LONGEST_RUN_NAME - len(suffix)].rstrip("-") + suffix


def workflow_name(run: str, taken: Iterable[str]) -> str:
    """The name of a run's next workflow: ``<run>-1``, ``<run>-2`` and so on.

    The cluster refuses a second object of one name, so of two who submit at the same time one creates it.
    """
    numbers = [int(name.rsplit("-", 1)[-1]) for name in taken if re.fullmatch(rf"{re.escape(run)}-\d+", name)]
    return f"{run}-{max(numbers, default=0) + 1}"


def named(manifest: Manifest, name: str) -> Manifest:
    """The manifest with a name of its own in place of a generated one."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "generateName"}
    return {**manifest, "metadata": {"name": name, **metadata}}

"""What the tests on a cluster do with it: set it up as the README says, submit, disturb, compare."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, Reference
from jobs.runtime.store import Store

ROOT = Path(__file__).parents[2]
# Two epochs of a net of a few thousand parameters: long enough to be disturbed in the middle, and no longer.
TINY = ("-e", str(Path(__file__).with_name("tiny.yaml")))


def call(*command: str, check: bool = True, **options: Any) -> str:
    """Return a command's output; if it fails, the test fails with the whole output."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, **options
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def kubectl(*arguments: str, check: bool = True) -> str:
    """kubectl, with KUBECONFIG's cluster."""
    return call("kubectl", *arguments, check=check)


def until(what: Callable[[], Any], *, seconds: float, about: str, every: float = 1.0) -> Any:
    """What a look gives, once it gives something; the test fails when that takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds:.0f} s: {about}")


@dataclass(frozen=True)
class Place:
    """A store of a test's own and the profile that points there, so that no run finds another's work done."""

    profile: Path
    namespace: str
    store: Store
    revision: str
    submitter: Path  # kubeconfig of somebody who may submit and no more
    environment: dict[str, str] = field(repr=False)

    def as_submitter(self) -> "Place":
        """The place for somebody who may submit and no more, through Kubernetes alone."""
        mine = {"KUBECONFIG": str(self.submitter), "ARGO_SERVER": ""}
        return replace(self, environment={**self.environment, **mine})

    def cv(self, *arguments: str, exit_code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """The command line, as a person gives it."""
        command = [sys.executable, str(ROOT / "workflows" / "cv.py"), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=1200,
            env={**os.environ, **self.environment, "CXRFOLD_PROFILE": str(self.profile)},
        )  # fmt: skip
        said = f"cv.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert exit_code is None or done.returncode == exit_code, said
        return done

    def submit(self, run: str, *arguments: str) -> dict[str, Any]:
        """Submit a run with the images under test."""
        done = self.cv("submit", *arguments, "--run", run, "--revision", self.revision, "--json")
        submitted: dict[str, Any] = json.loads(done.stdout)
        return submitted

    def status(self, run: str) -> dict[str, Any]:
        """``status --json``, tasks by name."""
        found = json.loads(self.cv("status", run, "--json").stdout)
        return {**found, "tasks": {task["task"]: task for task in found["tasks"]}}

    def workflow(self, name: str) -> dict[str, Any]:
        """A workflow, as Kubernetes has it."""
        found: dict[str, Any] = json.loads(kubectl("get", "workflow", name, "-n", self.namespace, "-o", "json"))
        return found

    def wait(self, workflow: str, *, seconds: float = 900) -> str:
        """The phase in which a workflow ends."""

        def ended() -> str | None:
            phase = (self.workflow(workflow).get("status") or {}).get("phase")
            return phase if phase in {"Succeeded", "Failed", "Error"} else None

        phase: str = until(ended, seconds=seconds, every=3, about=f"the end of {workflow}")
        return phase

    def attempts(self, workflow: str, task: str) -> list[dict[str, Any]]:
        """The attempts at a task, as Argo has them, first to last."""
        nodes = (self.workflow(workflow).get("status") or {}).get("nodes") or {}
        numbered = {node["displayName"]: node for node in nodes.values() if node["type"] == "Pod"}
        names = (f"{task}({number})" for number in range(len(numbered)))
        return [numbered[name] for name in names if name in numbered]

    def last_workflow(self, run: str) -> str:
        """The newest workflow of a run."""
        listing = ("get", "workflows", "-n", self.namespace, "-l", f"cxrfold/run={run}", "-o", "json")
        found = [item["metadata"]["name"] for item in json.loads(kubectl(*listing))["items"]]
        name: str = max(found, key=lambda one: int(one.rsplit("-", 1)[-1]))
        return name

    def pod_in_training(self, run: str, fold: int = 0, *, but: str = "", seconds: float = 600) -> str:
        """The pod of a fold, once it has an epoch and a checkpoint behind it and more before it.

        Args:
            run: the run.
            fold: the fold.
            but: a pod of an earlier attempt, which is not meant.
            seconds: to wait for it.
        """
        selector = f"cxrfold/run={run},cxrfold/fold={fold}"

        def training() -> str | None:
            listing = ("get", "pods", "-n", self.namespace, "-l", selector, "--field-selector=status.phase=Running")
            pods = json.loads(kubectl(*listing, "-o", "json"))["items"]
            for pod in pods:
                name: str = pod["metadata"]["name"]
                said = kubectl("logs", "-n", self.namespace, name, "-c", "main", check=False)
                if name != but and re.search(r"epoch ([2-9]|\d{2,})/", said):
                    return name
            return None

        name: str = until(training, seconds=seconds, every=0.3, about=f"fold {fold} of {run} trains")
        return name

    def outputs(self, run: str) -> dict[str, str]:
        """Everything a run's trainings came to: work and output → sha256."""
        found: dict[str, str] = {}
        for entry in self.store.list(f"{layout.run(run)}/"):
            if (
                Stage.TRAIN_CLASSIFIER in entry.key
                and entry.key.endswith(".json")
                and "fold-" in entry.key.rsplit("/", 1)[-1]
            ):
                reference = Reference.model_validate(self.store.get_json(entry.key))
                for kind, digest in reference.works.items():
                    done = Done.model_validate(self.store.get_json(layout.done(layout.work(reference.stage, digest))))
                    found |= {
                        f"fold {reference.fold} {kind} {name}": output.sha256
                        for name, output in done.outputs.items()
                        if name != "curve.json"  # says how long each epoch took
                    }
        return found


def derived(place: Place, name: str, folder: Path, **changes: Any) -> Place:
    """The place with a store of its own, and changes to its profile."""
    profile = yaml.safe_load(place.profile.read_text())
    profile["store"]["url"] = f"s3://{place.store.bucket}/{name}"
    for key, value in changes.items():
        profile[key] = {**profile[key], **value} if isinstance(value, dict) and key in profile else value
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(profile))
    environment = {**place.environment, "CXRFOLD_STORE": profile["store"]["url"]}
    store = Store.open(profile["store"]["url"], endpoint=os.environ["AWS_ENDPOINT_URL_S3"], addressing="path")
    return replace(place, profile=path, store=store, environment=environment)

"""Every S3 key is built here. Keys are relative to the store's prefix.

Work lies under the hash of what it was made from and is shared by runs; a run is a small tree of references to work.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from jobs.contract.names import Stage
from jobs.contract.task import TaskId

WORK: Final = "work/"
RUNS: Final = "runs/"
SOURCES: Final = "sources/"
WEIGHTS: Final = "weights/"
SPLITS: Final = "splits/"
_TRACKER: Final = "-tracker.tar.gz"
_ATTEMPT: Final = re.compile(r".*/\d{8}T\d{6}Z-attempt-\d+\.json")
_LOG: Final = re.compile(r".*/(\d{8}T\d{6}Z)-attempt-(\d+)\.log")


def work(stage: Stage, digest: str) -> str:
    """Prefix of a piece of work, e.g. ``work/train-classifier/4f3a…``, with 32 of the digest's 64 hex digits."""
    return f"{WORK}{stage}/{digest[:32]}"


def done(work_prefix: str) -> str:
    """The record that says a piece of work is finished; written last."""
    return f"{work_prefix}/DONE.json"


def output(work_prefix: str, sha256: str, name: str) -> str:
    """An output of a piece of work. The key contains the content's hash, so two writers cannot mix their bytes."""
    return f"{work_prefix}/{sha256[:12]}-{name}"


def checkpoints(work_prefix: str) -> str:
    """Prefix of a training's checkpoints."""
    return f"{work_prefix}/checkpoints"


def run(name: str) -> str:
    """Prefix of a run."""
    return f"{RUNS}{name}"


def run_experiment(name: str) -> str:
    """The resolved experiment of a run."""
    return f"{run(name)}/experiment.json"


def run_order(name: str) -> str:
    """The profile, revision and test set that a run was submitted with."""
    return f"{run(name)}/order.json"


def former_run_order(name: str) -> str:
    """The key of :func:`run_order` up to release 0.1."""
    return f"{run(name)}/submission.json"


def task(name: str, task: TaskId) -> str:
    """Prefix of one task of a run, e.g. ``runs/<run>/<stage>/<model>/fold-<k>``."""
    return f"{run(name)}/{task.path}"


def reference(name: str, of: TaskId) -> str:
    """The reference from a task of a run to its works."""
    return f"{task(name, of)}.json"


def of_test_set(name: str, key: str) -> bool:
    """Whether a key of a run tells that it predicts a test set; films beside the folds are predicted in any run."""
    predicted = f"{task(name, TaskId(Stage.PREDICT))}/"
    return key.startswith(predicted) and not key.startswith(f"{predicted}extra-")


def heartbeat(name: str, of: TaskId) -> str:
    """The task's latest heartbeat."""
    return f"{task(name, of)}/heartbeat.json"


def attempt(name: str, of: TaskId, started: datetime, number: int) -> str:
    """One attempt at a task. A resubmitted run counts from 0 again, so the key contains the start (UTC)."""
    return f"{task(name, of)}/{started:%Y%m%dT%H%M%SZ}-attempt-{number}"


def attempt_record(attempt: str) -> str:
    """The last heartbeat of an attempt: what its time went into."""
    return f"{attempt}.json"


def is_attempt_record(key: str) -> bool:
    """Whether a key is of the record of an attempt."""
    return _ATTEMPT.fullmatch(key) is not None


def log(attempt: str) -> str:
    """The log of an attempt."""
    return f"{attempt}.log"


def read_log(key: str) -> tuple[datetime, int] | None:
    """Start (UTC) and number of the attempt from the key of its log; None where the key is not of a log."""
    if not (found := _LOG.fullmatch(key)):
        return None
    return datetime.strptime(found.group(1), "%Y%m%dT%H%M%S%z"), int(found.group(2))


def tracker(attempt: str) -> str:
    """The archive of the tracker's files of an attempt."""
    return f"{attempt}{_TRACKER}"


def latest_trackers(keys: Iterable[str]) -> set[str]:
    """Of archives of trackers among keys the latest of each task, which has its whole learning curve so far."""
    archives = sorted(key for key in keys if key.endswith(_TRACKER))
    return set({key.rpartition("/")[0]: key for key in archives}.values())


def report(name: str, file: str) -> str:
    """A result file of a run: ``report.html``, ``card.md``, ``quality.html``, ``metrics.json``, ``submission.csv``."""
    return f"{run(name)}/{file}"


def notice(name: str, workflow_uid: str, status: str) -> str:
    """What was told when a workflow of a run ended with Argo's status; written before it is told.

    A UID is never used again, but ``argo retry`` lets a failed workflow end once more, perhaps well.
    """
    return f"{run(name)}/notices/{workflow_uid}-{status.lower()}.json"


def recipe(name: str, model: str, fold: int) -> str:
    """The experiment with the best settings that a detector's search found on one fold."""
    return report(name, f"evolved-{model}-fold-{fold}.yaml")


def source_upload(digest: str) -> str:
    """Prefix of a folder of films that ``submit`` uploaded."""
    return f"{SOURCES}{digest[:32]}"


def weights(name: str) -> str:
    """Weights by name: a JSON pointer to a file beside it by sha256, or to the trainings of a run."""
    return f"{WEIGHTS}{name}.json"


def weights_file(name: str, sha256: str) -> str:
    """The pretrained weights themselves."""
    return f"{WEIGHTS}{name}-{sha256[:12]}.safetensors"


def split(name: str) -> str:
    """A split whose patients keep their folds, by name."""
    return f"{SPLITS}{name}.json"

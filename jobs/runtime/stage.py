"""One attempt at one stage, from the environment to the exit code."""

import importlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from jobs.contract import environment
from jobs.contract.exits import TABLE, BadInput, Damaged, Exit, OtherVersion, StageError
from jobs.contract.experiment import Experiment
from jobs.contract.experiment.tracker import check_tracker
from jobs.contract.experiment.values import mistakes
from jobs.contract.names import Stage, check_run_name
from jobs.contract.plan import fold_tasks, label_tasks, training_stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat, score_text
from jobs.contract.task import TaskId
from jobs.runtime.context import Context, Settings
from jobs.runtime.failures.disk import room_in
from jobs.runtime.failures.hardware import hardware_failure
from jobs.runtime.machine import cpus
from jobs.runtime.preemption import Stop
from jobs.runtime.provenance import revision
from jobs.runtime.store import Missing, Store
from jobs.runtime.telemetry import logs
from jobs.runtime.telemetry.before_start import on_node_since
from jobs.runtime.telemetry.budget import Budget
from jobs.runtime.telemetry.metrics import push_outcome
from jobs.runtime.telemetry.progress import Progress
from jobs.runtime.telemetry.trackers.thread import TrackerThread
from jobs.runtime.telemetry.trackers.tracker import TrackedTask

log = logging.getLogger(__name__)


def run_stage(task: TaskId) -> Exit:
    """Run one attempt at a task, configured by the environment (:mod:`jobs.contract.environment`)."""
    stop = Stop()
    stop.listen()
    threads = cpus()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    on_node = on_node_since()
    with _scratch() as scratch:
        log_file = scratch / "attempt.log"
        logs.listen(str(task), log_file)
        try:
            context = _context(task, scratch, log_file, threads, stop, on_node)
        except StageError as error:
            log.error("%s", error)
            return error.exit
        context.progress.start()
        return _run(context)


def _run(context: Context) -> Exit:
    try:
        context.progress.check_budget()
        context.stop.check()
        context.progress.tracker = _tracker(context)
        module = importlib.import_module(context.task.stage.module)
        with room_in(context.scratch, context.cache):
            scores: dict[str, float] = module.run(context)
            text = score_text(scores)
            if outputs := os.environ.get(environment.OUTPUTS):
                (Path(outputs) / "score").write_text(text)
    except StageError as error:
        if error.exit is Exit.CHECKPOINTED and context.stop.spent:
            log.info("%s", context.stop.spent)
            return _fail(context, Exit.BUDGET_SPENT, context.stop.spent)
        log.log(logging.INFO if error.exit is Exit.CHECKPOINTED else logging.ERROR, "%s", error)
        return _fail(context, error.exit, str(error))
    except Exception as error:
        if (failure := hardware_failure(error)) is not None:
            log.error("%s", failure)
            return _fail(context, failure.exit, str(failure))
        log.exception("A bug in %s: please report it with this log.", context.task.stage)
        return _fail(context, Exit.BUG, f"{type(error).__name__}: {error}")
    log.info("done: %s", text or "no score")
    context.progress.end("done", Exit.DONE, text)
    return Exit.DONE


def _tracker(context: Context) -> TrackerThread | None:
    """The experiment's tracker; only trainings have learning curves."""
    tracker = context.experiment.tracker
    if tracker == "none" or context.task.stage not in (Stage.TRAIN_CLASSIFIER, Stage.TRAIN_DETECTOR):
        return None
    check_tracker(tracker)
    settings = context.experiment.model_dump(mode="json")
    return TrackerThread(tracker, TrackedTask(context.scratch / "tracker", context.run, context.task.name, settings))


def _fail(context: Context, code: Exit, message: str) -> Exit:
    """Report how the attempt ended; where it is not retried, the run has failed: push that to Prometheus."""
    stopped = code in (Exit.CHECKPOINTED, Exit.BUDGET_SPENT)
    context.progress.end("stopped" if stopped else "failed", code, message)
    gateway = context.settings.pushgateway
    if gateway and not stopped and not TABLE[code].retry:
        push_outcome(
            gateway, context.experiment.name, _dataset(context), context.run, revision(),
            failed=True, seconds=context.cost().seconds,
        )  # fmt: skip
    return code


def _dataset(context: Context) -> str:
    """First characters of the dataset's hash; ``unknown`` where prepare is not done."""
    try:
        _, done = context.open_work(Stage.PREPARE, context.prepared.works["index"])
    except StageError:
        return "unknown"
    return done.outputs["index.parquet"].sha256[:12]


def _context(
    task: TaskId, scratch: Path, log_file: Path, threads: int, stop: Stop, on_node: float | None
) -> Context:  # fmt: skip
    run = os.environ.get(environment.RUN)
    if not run:
        raise BadInput(f"No run: set {environment.RUN} to the run's name.")
    check_run_name(run)
    store = Store.from_environment()
    store.retries.stop = stop
    experiment = _experiment(store, run, task)
    _check_task(experiment, task)
    attempt = int(environment.number(environment.ATTEMPT))
    earlier = _earlier_seconds(store, run, task)
    hours = environment.number(environment.MAX_GPU_HOURS)
    budget = Budget(store, run, hours, stop.end_budget) if hours else None
    cache = Path(os.environ.get(environment.CACHE) or scratch / "cache")
    cache.mkdir(parents=True, exist_ok=True)
    return Context(
        store=store, run=run, experiment=experiment, task=task, attempt=attempt,
        scratch=scratch, cache=cache, threads=threads, stop=stop,
        progress=Progress(store, run, task, attempt, log_file, earlier, budget, on_node),
        settings=Settings.from_environment(), earlier=earlier,
    )  # fmt: skip


def _earlier_seconds(store: Store, run: str, task: TaskId) -> float:
    """Seconds that earlier attempts took, from the heartbeat that the last one left; 0 after one that succeeded."""
    try:
        beat = store.get_record(layout.heartbeat(run, task), Heartbeat)
    except (Missing, Damaged, OtherVersion):
        return 0.0
    return 0.0 if beat.exit_code == Exit.DONE else beat.earlier + (beat.at - beat.started).total_seconds()


def _experiment(store: Store, run: str, task: TaskId) -> Experiment:
    """The run's experiment: from the environment, which is then stored with the run, else the stored one.

    Profile, revision and test set of the run are stored beside it, for ``cv.py resume``.
    """
    given = os.environ.get(environment.EXPERIMENT)
    key = layout.run_experiment(run)
    try:
        document = given.encode() if given else store.get(key)
        experiment = Experiment.model_validate_json(document)
    except Missing as error:
        raise BadInput(
            f"Run {run} has no experiment at {store.url}/{key}: set {environment.EXPERIMENT} to its JSON."
        ) from error
    except ValidationError as error:
        source = environment.EXPERIMENT if given else f"{store.url}/{key}"
        raise BadInput(
            f"The experiment of run {run} in {source} is not valid: {mistakes(error)}. Submit the run again with a "
            "corrected experiment, or with the code that it was made for."
        ) from error
    if given and task.stage is Stage.PREPARE and _is_of_another(store, key, experiment):
        store.delete_prefix(f"{layout.run(run)}/")  # its references must not be taken for this experiment's
    if given:
        store.put(key, experiment.model_dump_json(indent=1).encode())
    if order := os.environ.get(environment.ORDER):
        store.put(layout.run_order(run), order.encode())
    return experiment


def _is_of_another(store: Store, key: str, experiment: Experiment) -> bool:
    """Whether the run's stored experiment computes something else."""
    try:
        return store.get_record(key, Experiment).hash != experiment.hash
    except Missing:
        return False
    except Damaged:
        return True  # or was written by another version; the commands ask before they replace it


def _check_task(experiment: Experiment, task: TaskId) -> None:
    """Refuse a model or fold that the experiment does not have."""
    if not task.stage.per_fold:
        return
    predicts = task.stage is Stage.PREDICT
    if predicts and task in [label.id for label in label_tasks(experiment)]:
        return
    models = [name for name in experiment.models if predicts or training_stage(experiment, name) is task.stage]
    if task.model not in models:
        raise BadInput(f"--model {task.model}: {task.stage} of {experiment.name} knows {', '.join(models) or 'none'}.")
    if task not in fold_tasks(experiment, predicts=predicts):
        raise BadInput(f"--fold {task.fold}: {experiment.name} trains folds {list(experiment.folds.selected)}.")


@contextmanager
def _scratch() -> Iterator[Path]:
    """This attempt's folder for temporary files, deleted at its end."""
    base = os.environ.get(environment.SCRATCH)
    if base:
        Path(base).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cxrfold-", dir=base) as folder:
        yield Path(folder)

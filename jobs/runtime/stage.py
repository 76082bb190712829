"""One attempt at one stage, from the environment to the exit code."""

import importlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from jobs.contract import environment, layout
from jobs.contract.done import score_text
from jobs.contract.exits import TABLE, BadInput, Exit, StageError
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.runtime import logs
from jobs.runtime.context import Context
from jobs.runtime.disk import room_in
from jobs.runtime.machine import cpus
from jobs.runtime.metrics import push_outcome
from jobs.runtime.progress import Progress
from jobs.runtime.provenance import revision
from jobs.runtime.stopping import Stop
from jobs.runtime.store import Missing, Store
from jobs.runtime.tracker import Wandb

log = logging.getLogger(__name__)


def run_stage(stage: Stage, model: str | None, fold: int | None) -> Exit:
    """Run one stage as the environment says (:mod:`jobs.contract.environment`); what came of it is the exit code."""
    stop = Stop()
    stop.listen()
    threads = cpus()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    with _scratch() as scratch:
        log_file = scratch / "attempt.log"
        logs.listen(" ".join([stage, model or "", "" if fold is None else f"fold {fold}"]).strip(), log_file)
        try:
            context = _context(stage, model, fold, scratch, log_file, threads, stop)
        except StageError as error:
            log.error("%s", error)
            return error.exit
        context.progress.start()
        return _run(context)


def _run(context: Context) -> Exit:
    try:
        if context.experiment.tracker == "wandb" and context.fold is not None:
            task = f"{context.stage} {context.model} fold {context.fold}"
            config = context.experiment.model_dump(mode="json")
            context.progress.tracker = Wandb(context.scratch / "tracker", context.run, task, config)
        module = importlib.import_module(context.stage.module)
        with room_in(context.scratch, context.cache):
            scores: dict[str, float] = module.run(context)
    except StageError as error:
        log.log(logging.INFO if error.exit is Exit.CHECKPOINTED else logging.ERROR, "%s", error)
        return _fail(context, error.exit, str(error))
    except Exception as error:
        log.exception("A bug in %s: please report it with this log.", context.stage)
        return _fail(context, Exit.BUG, f"{type(error).__name__}: {error}")
    text = score_text(scores)
    log.info("done: %s", text or "no score")
    if outputs := os.environ.get(environment.OUTPUTS):
        (Path(outputs) / "score").write_text(text)
    context.progress.end("done", Exit.DONE, text)
    return Exit.DONE


def _fail(context: Context, code: Exit, message: str) -> Exit:
    """Say how the attempt ended; where no other follows, the run has failed, and Prometheus is told."""
    context.progress.end("stopped" if code is Exit.CHECKPOINTED else "failed", code, message)
    gateway = os.environ.get(environment.PUSHGATEWAY)
    if gateway and not TABLE[code].retry:
        push_outcome(
            gateway, context.experiment.name, _dataset(context), context.run, revision(),
            failed=True, seconds=context.cost().seconds,
        )  # fmt: skip
    return code


def _dataset(context: Context) -> str:
    """First characters of the dataset's hash, as far as prepare came."""
    try:
        reference = context.upstream(Stage.PREPARE)
        _, done = context.open_work(Stage.PREPARE, reference.works["index"])
    except StageError:
        return "unknown"
    return done.outputs["index.parquet"].sha256[:12]


def _context(
    stage: Stage, model: str | None, fold: int | None, scratch: Path, log_file: Path, threads: int, stop: Stop
) -> Context:
    run = os.environ.get(environment.RUN)
    if not run:
        raise BadInput(f"No run: set {environment.RUN} to the run's name.")
    store = Store.from_environment()
    experiment = _experiment(store, run)
    _check_place(experiment, stage, model, fold)
    attempt = int(os.environ.get(environment.ATTEMPT) or 0)
    cache = Path(os.environ.get(environment.CACHE) or scratch / "cache")
    cache.mkdir(parents=True, exist_ok=True)
    return Context(
        store=store, run=run, experiment=experiment, stage=stage, model=model, fold=fold, attempt=attempt,
        scratch=scratch, cache=cache, threads=threads, stop=stop,
        progress=Progress(store, run, stage, model, fold, attempt, log_file),
    )  # fmt: skip


def _experiment(store: Store, run: str) -> Experiment:
    """The run's experiment: from the environment, and then stored with the run; else the stored one.

    What else the run was submitted with is stored beside it, for ``cv.py resume``.
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
        raise BadInput(f"The experiment of run {run} is not valid: {error}") from error
    if given:
        store.put(key, experiment.model_dump_json(indent=1).encode())
    if submission := os.environ.get(environment.SUBMISSION):
        store.put(layout.run_submission(run), submission.encode())
    return experiment


def _check_place(experiment: Experiment, stage: Stage, model: str | None, fold: int | None) -> None:
    """A stage that is one task a model and fold needs both, of the experiment."""
    classifiers, detectors = list(experiment.classifiers), list(experiment.detectors)
    names = {
        Stage.TRAIN_CLASSIFIER: classifiers,
        Stage.TRAIN_DETECTOR: detectors,
        Stage.PREDICT: classifiers + detectors,
    }
    if stage not in names:
        return
    models = names[stage]
    if model not in models:
        raise BadInput(f"--model {model}: {stage} of {experiment.name} knows {', '.join(models) or 'none'}.")
    if fold not in experiment.folds.selected:
        raise BadInput(f"--fold {fold}: {experiment.name} trains folds {list(experiment.folds.selected)}.")


@contextmanager
def _scratch() -> Iterator[Path]:
    """This attempt's own folder, gone with it."""
    base = os.environ.get(environment.SCRATCH)
    if base:
        Path(base).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cxrfold-", dir=base) as folder:
        yield Path(folder)

"""Progress of a stage. One call reports to the terminal, the pod's log, Argo, the heartbeat and Prometheus."""

import logging
import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from jobs.contract import environment
from jobs.contract.durations import duration
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from jobs.runtime.telemetry.before_start import times_before_start
from jobs.runtime.telemetry.budget import Budget
from jobs.runtime.telemetry.heartbeat import HeartbeatThread
from jobs.runtime.telemetry.metrics import Metrics
from jobs.runtime.telemetry.stopwatch import Stopwatch
from jobs.runtime.telemetry.trackers.thread import TrackerThread

log = logging.getLogger("progress")

LINE_SECONDS: Final = 20.0  # between two lines of progress in a pod's log
FILE_SECONDS: Final = 0.5  # between two writes of the files that Argo and the local engine read
# What is shown of an epoch of a learning curve.
CURVE: Final = ("lr", "train_loss", "val_loss", "train_score", "val_score")


class Progress:
    """Reports what one attempt at a task does. ``start`` and ``end`` frame it; its stage calls the rest."""

    def __init__(
        self, store: Store, run: str, task: TaskId, attempt: int, log_file: Path, earlier: float = 0.0,
        budget: Budget | None = None, on_node: float | None = None,
    ) -> None:  # fmt: skip
        self.store, self.metrics = store, Metrics(task)
        now, node = datetime.now(UTC), os.environ.get(environment.NODE) or os.uname().nodename
        self.beat = Heartbeat(
            stage=task.stage, model=task.model, fold=task.fold, phase="starting", attempt=attempt, at=now, started=now,
            earlier=earlier, node=node, gpus=int(environment.number(environment.GPUS)),
            **times_before_start(now, on_node),
        )  # fmt: skip
        self._saved: datetime | None = None
        self._budget = budget
        self._thread = HeartbeatThread(store, run, lambda: self.beat, self.metrics, log_file, self.check_budget)
        self._begun, self._start, self._films = time.monotonic(), 0, 0
        self._part, self._number, self._count = "", 1, 1
        self._line_at = self._files_at = 0.0
        self.spent = Stopwatch()
        self.tracker: TrackerThread | None = None
        self._is_aside = False
        self._bar: Bar | None = None
        self._bar_task: TaskID | None = None
        outputs = os.environ.get(environment.OUTPUTS)
        self._local = Path(outputs) / "heartbeat.json" if outputs else None
        if self._local:
            self._local.parent.mkdir(parents=True, exist_ok=True)  # a pod's /tmp is empty
        argo = os.environ.get(environment.PROGRESS_FILE)
        self._argo = Path(argo) if argo else None

    def start(self) -> None:
        """Serve metrics and start the heartbeat."""
        if port := int(environment.number(environment.METRICS_PORT)):
            self.metrics.serve(port, self.store.moved)
        self._thread.start()

    def end(self, phase: str, exit_code: int, message: str = "") -> None:
        """Send the last heartbeat and the rest of the log. An unreachable store does not change how a stage ended."""
        self._close_bar()
        self._thread.stop()
        self._set(phase=phase, exit_code=exit_code, message=message[:500], eta=0.0 if exit_code == 0 else None)
        self._write_files()
        self._thread.send(self.tracker.finish if self.tracker else None)

    @contextmanager
    def part(self, name: str, number: int, count: int, best: float | None) -> Iterator[None]:
        """Inside the block, phases carry ``name number/count`` and the time left covers all ``count`` trainings.

        The time spent is counted anew, and the tracker gets no epochs.

        Args:
            name: of each training, e.g. ``candidate``.
            number: of this one, from 1.
            count: of all trainings.
            best: the best score of those before; None for the first.
        """
        self._part, self._number, self._count = f"{name} {number}/{count}", number, count
        self.spent.seconds.clear()
        self._set(best=best)
        self._is_aside = True
        try:
            yield
        finally:
            self._part, self._number, self._count = "", 1, 1
            self._is_aside = False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside the block, other weights than the task's own are trained: their epochs and best score do not count."""
        best = self.beat.best
        self._is_aside = True
        try:
            yield
        finally:
            self._is_aside = False
            self._set(best=best)

    def phase(self, name: str, steps: int | None = None, epochs: int | None = None, start: int = 0) -> None:
        """Begin a phase.

        Args:
            name: e.g. ``training``.
            steps: number of steps in the phase.
            epochs: number of epochs in the phase.
            start: steps that an earlier attempt has done.
        """
        self._close_bar()
        self._begun, self._start, self._films = time.monotonic(), start, 0
        name = self._part or name
        self._set(
            phase=name, step=start, steps=steps, epochs=epochs or self.beat.epochs, eta=None, films_per_second=None
        )
        log.info("%s%s", name, f", {start} of {steps} steps done before" if start else _steps(steps))
        self._write_files()
        self._thread.wake()
        if sys.stdout.isatty() and steps:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, transient=True)
            self._bar_task = self._bar.add_task(name, total=steps, completed=start)
            self._bar.start()

    def step(self, films: int = 0, loss: float | None = None) -> None:
        """Report a step done, with its number of films and its loss."""
        done = (self.beat.step or 0) + 1
        self._films += films
        passed = max(time.monotonic() - self._begun, 1e-9)
        epochs, steps = self.beat.epochs, self.beat.steps
        to_do = steps * (self._count - self._number + 1) - done if steps else None
        left = None if to_do is None else to_do * passed / (done - self._start)
        epoch = epochs * done / steps if epochs and steps else self.beat.epoch
        speed = self._films / passed if self._films else None
        self._set(step=done, films_per_second=speed, eta=left, epoch=epoch)
        self.metrics.step.set(done)
        self.metrics.films.inc(films)
        if speed is not None:
            self.metrics.speed.set(speed)
        if loss is not None:
            self.metrics.loss.set(loss)
        self._show(loss)

    def epoch(self, number: int, best: float | None = None, **figures: float | None) -> None:
        """Report the end of an epoch: ``number`` epochs are done. The other figures are logged under their names."""
        if best is not None and (self.beat.best is None or best > self.beat.best):
            self.metrics.best.set(best)
            self.metrics.improved.set(time.time())
            self._set(best=best)
        self._set(epoch=float(number))
        self.metrics.epoch.set(number)
        shown = {name: value for name, value in {**figures, "best": best}.items() if value is not None}
        self._track(number, shown)
        text = " ".join(f"{name} {value:.4g}" for name, value in shown.items())
        log.info("epoch %s/%s %s", number, self.beat.epochs or "?", text)

    def earlier_epochs(self, curve: Iterable[Mapping[str, Any]]) -> None:
        """Give the tracker the epochs that another attempt, or another run, has trained, so that its curve is whole.

        Args:
            curve: rows of a learning curve as ``curve.json`` has them. Those that the tracker knows are skipped.
        """
        best = -math.inf
        for row in curve:
            best = max(best, row["val_score"])
            self._track(row["epoch"] + 1, {**curve_figures(row), "best": best})

    def uses(self, work: str) -> None:
        """Name in the heartbeat a work (by its prefix) that the task makes or reads, so that ``purge`` keeps it."""
        if work not in self.beat.works:
            self._set(works=(*self.beat.works, work))
            self._thread.wake()

    def check_budget(self) -> None:
        """Ask the stage to stop if the run's GPU hours are spent."""
        if self._budget:
            self._budget.check()

    def saved(self) -> None:
        """Note that everything done so far is stored; also called by the thread that writes checkpoints."""
        self._saved = datetime.now(UTC)

    def on_gpu(self, model: str) -> None:
        """Note the model of the GPU that the task computes on."""
        self._set(gpu=model)

    def say(self, text: str) -> None:
        """Log a line."""
        log.info("%s", text)

    def _track(self, epoch: int, figures: Mapping[str, float]) -> None:
        if self.tracker and not self._is_aside:
            self.tracker.log(epoch, figures)

    def _set(self, **fields: object) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        always = {"at": datetime.now(UTC), "memory": memory, "spent": self.spent.rounded(), "saved": self._saved}
        self.beat = self.beat.model_copy(update={**always, **fields})

    def _show(self, loss: float | None) -> None:
        now = time.monotonic()
        if self._bar and self._bar_task is not None:
            self._bar.update(self._bar_task, completed=self.beat.step)
        elif now - self._line_at > LINE_SECONDS:
            self._line_at = now
            beat = self.beat
            parts = [f"step {beat.step}/{beat.steps}" if beat.steps else f"step {beat.step}"]
            parts += [f"epoch {beat.epoch:.1f}/{beat.epochs}"] if beat.epoch is not None and beat.epochs else []
            parts += [f"loss {loss:.4g}"] if loss is not None else []
            parts += [f"{beat.films_per_second:.1f} films/s"] if beat.films_per_second else []
            parts += [f"{share:.0%} waiting for films"] if (share := self.spent.share("waiting")) >= 0.01 else []
            parts += [f"{duration(beat.eta)} left"] if beat.eta is not None else []
            log.info("%s: %s", beat.phase, ", ".join(parts))
        if now - self._files_at > FILE_SECONDS:
            self._files_at = now
            self._write_files()

    def _write_files(self) -> None:
        """Write the files that the local engine and Argo read. A failure is logged only, as of every heartbeat."""
        try:
            if self._local:
                _replace(self._local, self.beat.model_dump_json())
            if self._argo and self.beat.steps:
                done = self.beat.steps * (self._number - 1) + (self.beat.step or 0)
                _replace(self._argo, f"{done}/{self.beat.steps * self._count}")
        except OSError as error:
            log.warning("The progress could not be written: %s", error)

    def _close_bar(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def curve_figures(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what is shown of a row of a learning curve, without what the epoch has no value of."""
    return {name: row[name] for name in CURVE if row.get(name) is not None}


def _steps(steps: int | None) -> str:
    return f", {steps} step{'' if steps == 1 else 's'}" if steps else ""


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)

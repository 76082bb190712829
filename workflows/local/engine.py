"""The engine: executes the steps of a program as processes. One thread, one loop: start, collect, retry."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from jobs.contract.exits import BadInput, Exit
from workflows.local import graph
from workflows.local.attempt import Allocation, Attempt, start
from workflows.local.graph import State
from workflows.local.machine import Machine
from workflows.local.program import Program, Step
from workflows.local.reaper import Reaper, reaper
from workflows.local.variables import substitute
from workflows.manifest.retry import CREATION_TIME, AttemptEnd, tries_again

TICK_SECONDS: Final = 0.1
# A cluster's backoff waits for nodes and services to come back; a local retry needs no such wait.
BACKOFF_SCALE: Final = 1 / 30
MAX_BACKOFF: Final = 5.0  # seconds


@dataclass
class StepRun:
    """A step and the state of its execution."""

    step: Step
    threads: int
    state: State = State.WAITING
    attempt: Attempt | None = None
    end: AttemptEnd | None = None  # of the latest attempt
    retry_at: float | None = None  # when the next attempt starts; None: no attempt is pending
    seconds: float = 0.0  # duration of all attempts that have ended
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def next_number(self) -> int:
        """The number of the next attempt."""
        return 0 if self.attempt is None else self.attempt.number + 1


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    runs: tuple[StepRun, ...]
    exit: Exit
    seconds: float
    message: str = ""


Watcher = Callable[[Sequence[StepRun]], None]
OnEnd = Callable[[StepRun], None]


class Engine:
    """Executes one program.

    Args:
        program: the program.
        folder: the parent of the steps' folders.
        machine: the cores and GPUs to allocate.
        overrides: environment variables that replace the cluster's, such as store, keys and cache; None removes one.
        watcher: called with all step runs at every tick.
        on_end: called with a step run when an attempt at it has ended, before its folders are removed.

    Raises:
        BadInput: the dependencies are invalid, or a step asks for more GPUs than there are.
    """

    def __init__(
        self,
        program: Program,
        folder: Path,
        machine: Machine,
        overrides: Mapping[str, str | None],
        watcher: Watcher = lambda _: None,
        on_end: OnEnd = lambda _: None,
    ) -> None:
        self._program, self._folder, self._machine = program, folder, machine
        self._overrides, self._watcher, self._on_end = overrides, watcher, on_end
        self._parents = graph.find_parents(program)
        self._targets = program.targets or graph.last_steps(self._parents)
        executed = graph.with_ancestors(self._targets, self._parents)
        self._runs = {
            step.name: StepRun(step, machine.threads(graph.concurrent_steps(step.name, self._parents)))
            for step in program.steps
            if step.name in executed
        }
        self._free_gpus = list(machine.gpus)
        self._jobs = min(machine.jobs, program.parallelism or machine.jobs)
        self._interrupts = 0
        self._stopping = ""  # the reason, once the run is stopping
        for run in self._runs.values():
            if machine.gpus and run.step.template.gpus > len(machine.gpus):
                gpus = run.step.template.gpus
                raise BadInput(f"task {run.step.name} requests {gpus} GPUs; this machine has {len(machine.gpus)}")

    def run(self) -> Result:
        """Execute the program until it ends or SIGINT or SIGTERM arrives; a second signal kills running steps."""
        started = time.monotonic()
        with reaper() as watch, self._signals():
            try:
                while not all(run.state.ended for run in self._runs.values()):
                    self._tick(watch, started)
                    self._watcher(list(self._runs.values()))
                    time.sleep(TICK_SECONDS)
            finally:
                for run in self._running():
                    assert run.attempt is not None
                    run.attempt.kill()
            self._watcher(list(self._runs.values()))
        return self._result(time.monotonic() - started)

    def _tick(self, watch: Reaper, started: float) -> None:
        deadline = self._program.deadline
        if deadline is not None and time.monotonic() - started > deadline and not self._stopping:
            self._stopping = f"the run exceeded its deadline of {deadline:.0f} s"
        if self._interrupts and not self._stopping:
            self._stopping = "interrupted; the same command continues the run"
        for run in self._running():
            self._collect(run, watch)
        self._enforce()
        if self._stopping or (self._program.fail_fast and self._any_failed()):
            self._end_waiting()
        else:
            self._start_ready(watch)

    def _running(self) -> list[StepRun]:
        return [run for run in self._runs.values() if run.state is State.RUNNING and run.retry_at is None]

    def _any_failed(self) -> bool:
        return any(run.state is State.FAILED for run in self._runs.values())

    # ---- starting

    def _start_ready(self, watch: Reaper) -> None:
        states = {name: run.state for name, run in self._runs.items()}
        for name, run in self._runs.items():
            if run.state is State.WAITING:
                ready = graph.may_start(run.step, self._parents[name], states)
                if ready is False:
                    run.state = State.OMITTED
                if not ready:
                    continue
            elif run.retry_at is None or time.monotonic() < run.retry_at:
                continue
            gpus = run.step.template.gpus if self._machine.gpus else 0
            if len(self._running()) < self._jobs and gpus <= len(self._free_gpus):
                self._start(run, gpus, watch)

    def _start(self, run: StepRun, gpus: int, watch: Reaper) -> None:
        allocation = Allocation(run.threads, tuple(self._free_gpus[:gpus]))
        folder = self._folder / run.step.name
        run.attempt = start(run.step, run.next_number, folder, allocation, self._values(run), self._overrides)
        watch.watch(run.attempt.process.pid)
        del self._free_gpus[:gpus]
        run.state, run.retry_at = State.RUNNING, None

    def _values(self, run: StepRun) -> dict[str, str]:
        """Return the value of every name that a ``{{…}}`` tag of this step may use."""
        program, last = self._program, run.end or AttemptEnd("0", status="")
        values = {
            "workflow.name": program.name,
            "workflow.namespace": "local",
            "pod.name": run.step.name,
            "node.name": run.step.name,
            "retries": str(run.next_number),
            CREATION_TIME: str(int(time.time())),
            "lastRetry.exitCode": last.exit_code,
            "lastRetry.status": last.status,
            "lastRetry.message": last.message,
        }
        for kind, mapping in (
            ("parameters", program.parameters),
            ("labels", program.labels),
            ("annotations", program.annotations),
        ):
            values |= {f"workflow.{kind}.{name}": value for name, value in mapping.items()}
        for other in self._runs.values():
            values |= {f"tasks.{other.step.name}.outputs.parameters.{k}": v for k, v in other.outputs.items()}
        template, place = run.step.template, f"task {run.step.name}.arguments"
        given = {**{k: v for k, v in template.inputs.items() if v is not None}, **run.step.arguments}
        return values | {f"inputs.parameters.{k}": substitute(v, values, place) for k, v in given.items()}

    # ---- ending

    def _collect(self, run: StepRun, watch: Reaper) -> None:
        attempt = run.attempt
        assert attempt is not None
        code = attempt.exit_code()
        if code is None:
            return
        attempt.kill()  # its children end with it, as in a pod
        watch.forget(attempt.process.pid)
        self._free_gpus = sorted([*self._free_gpus, *attempt.allocation.gpus], key=self._machine.gpus.index)
        run.seconds += time.monotonic() - attempt.started
        message = "" if code == 0 else f"main: Error (exit code {code})"
        run.end = AttemptEnd(str(code), "Succeeded" if code == 0 else "Failed", message, attempt.number)
        if code == 0:
            run.outputs, run.state = attempt.read_outputs(run.step.template), State.SUCCEEDED
        elif self._stopping and code in (Exit.CHECKPOINTED, Exit.KILLED, Exit.TERMINATED):
            run.state = State.STOPPED
        elif not self._stopping and self._should_retry(run):
            pause = min(run.step.template.retries.pause(attempt.number) * BACKOFF_SCALE, MAX_BACKOFF)
            run.retry_at = time.monotonic() + pause
        else:
            run.state = State.FAILED
        self._on_end(run)
        if code == 0:
            attempt.clear()

    def _should_retry(self, run: StepRun) -> bool:
        retries = run.step.template.retries
        assert run.end is not None
        if run.end.retries >= retries.limit or retries.policy not in ("Always", "OnFailure"):
            return False
        try:
            return tries_again(retries.expression, run.end) if retries.expression != "true" else True
        except ValueError as error:
            raise BadInput(f"templates.{run.step.template.name}.retryStrategy.expression: {error}") from error

    def _enforce(self) -> None:
        """Terminate steps that must stop, and kill those that exceed the grace period."""
        now = time.monotonic()
        for run in self._running():
            attempt, template = run.attempt, run.step.template
            assert attempt is not None
            overdue = template.deadline is not None and now - attempt.started > template.deadline
            if self._stopping or overdue:
                attempt.terminate()
            grace_over = attempt.terminated is not None and now - attempt.terminated > template.grace
            if grace_over or self._interrupts > 1:
                attempt.kill()

    def _end_waiting(self) -> None:
        for run in self._runs.values():
            if run.state is State.WAITING or run.retry_at is not None:
                run.retry_at = None
                run.state = State.STOPPED if self._stopping else State.OMITTED

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def count(_number: int, _frame: FrameType | None) -> None:
            self._interrupts += 1

        before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _result(self, seconds: float) -> Result:
        runs = tuple(self._runs.values())
        states = {name: run.state for name, run in self._runs.items()}
        if self._stopping:
            return Result(runs, Exit.CHECKPOINTED, seconds, self._stopping)
        if not graph.failed(self._targets, self._parents, states):
            return Result(runs, Exit.DONE, seconds)
        if graph.reached_end(self._parents, states):
            return Result(runs, Exit.DEGRADED, seconds)
        codes = [int(run.end.exit_code) for run in runs if run.state is State.FAILED and run.end]
        known = [Exit(code) for code in codes if code in list(Exit)]
        return Result(runs, known[0] if known else Exit.BUG, seconds)

"""The engine: starts what may start, collects what ended, decides what is tried again. One thread, one loop."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from jobs.contract.exits import BadInput, Exit
from workflows.local import graph
from workflows.local.attempt import Attempt, Share, start
from workflows.local.graph import State
from workflows.local.machine import Machine
from workflows.local.program import Program, Step
from workflows.local.reaper import Reaper, reaper
from workflows.local.variables import substitute
from workflows.manifest.retry import End, tries_again

TICK = 0.1  # seconds
# A cluster waits for nodes and services to come back; here nothing comes back by waiting longer than this.
BACKOFF_SCALE = 1 / 30
LONGEST_PAUSE = 5.0  # seconds


@dataclass
class StepRun:
    """A task and what has become of it so far."""

    step: Step
    threads: int
    state: State = State.WAITING
    attempt: Attempt | None = None
    end: End | None = None  # of the latest attempt
    again_at: float | None = None  # when the next attempt starts
    seconds: float = 0.0  # the latest attempt took
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def next_number(self) -> int:
        """Of the next attempt."""
        return 0 if self.attempt is None else self.attempt.number + 1


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    runs: tuple[StepRun, ...]
    exit: Exit
    seconds: float
    message: str = ""


Watcher = Callable[[Sequence[StepRun]], None]


class Engine:
    """Executes one program.

    Args:
        program: what to do.
        folder: where each task gets a folder of its own.
        machine: what there is to deal out.
        local: environment variables that stand for the cluster's: store, keys, cache; None takes one away.
        watcher: is shown all tasks at every tick.
    """

    def __init__(
        self,
        program: Program,
        folder: Path,
        machine: Machine,
        local: Mapping[str, str | None],
        watcher: Watcher = lambda _: None,
    ) -> None:
        self._program, self._folder, self._machine, self._local, self._watcher = (
            program,
            folder,
            machine,
            local,
            watcher,
        )
        self._above = graph.upstream(program)
        self._targets = program.targets or graph.last_tasks(self._above)
        executed = graph.needed(self._targets, self._above)
        self._runs = {
            step.name: StepRun(step, machine.threads(graph.beside(step.name, self._above)))
            for step in program.steps
            if step.name in executed
        }
        self._free_gpus = list(machine.gpus)
        self._jobs = min(machine.jobs, program.parallelism or machine.jobs)
        self._interrupts = 0
        self._stopping = ""  # why, once no more tasks are started
        for run in self._runs.values():
            if machine.gpus and run.step.template.gpus > len(machine.gpus):
                raise BadInput(
                    f"task {run.step.name} asks for {run.step.template.gpus} GPUs, there are {len(machine.gpus)} here"
                )

    def run(self) -> Result:
        """Execute the plan to its end, or until SIGINT or SIGTERM. A second signal kills what still runs."""
        began = time.monotonic()
        with reaper() as watch, self._signals():
            try:
                while not all(run.state.ended for run in self._runs.values()):
                    self._step(watch, began)
                    self._watcher(list(self._runs.values()))
                    time.sleep(TICK)
            finally:
                for run in self._running():
                    assert run.attempt is not None
                    run.attempt.kill()
            self._watcher(list(self._runs.values()))
        return self._result(time.monotonic() - began)

    def _step(self, watch: Reaper, began: float) -> None:
        if (
            self._program.deadline is not None
            and time.monotonic() - began > self._program.deadline
            and not self._stopping
        ):
            self._stopping = f"the run took longer than its {self._program.deadline:.0f} s"
        if self._interrupts and not self._stopping:
            self._stopping = "stopped by you; the same command goes on"
        for run in self._running():
            self._collect(run, watch)
        self._enforce()
        if self._stopping or (self._program.fail_fast and self._any_failed()):
            self._leave_out_waiting()
        else:
            self._start_ready(watch)

    def _running(self) -> list[StepRun]:
        return [run for run in self._runs.values() if run.state is State.RUNNING and run.again_at is None]

    def _any_failed(self) -> bool:
        return any(run.state is State.FAILED for run in self._runs.values())

    # ---- starting

    def _start_ready(self, watch: Reaper) -> None:
        states = {name: run.state for name, run in self._runs.items()}
        for name, run in self._runs.items():
            if run.state is State.WAITING:
                ready = graph.may_start(run.step, self._above[name], states)
                if ready is False:
                    run.state = State.OMITTED
                if not ready:
                    continue
            elif run.again_at is None or time.monotonic() < run.again_at:
                continue
            gpus = run.step.template.gpus if self._machine.gpus else 0
            if len(self._running()) < self._jobs and gpus <= len(self._free_gpus):
                self._start(run, gpus, watch)

    def _start(self, run: StepRun, gpus: int, watch: Reaper) -> None:
        share = Share(run.threads, tuple(self._free_gpus[:gpus]))
        folder = self._folder / run.step.name
        run.attempt = start(run.step, run.next_number, folder, share, self._values(run), self._local)
        watch.watch(run.attempt.process.pid)
        del self._free_gpus[:gpus]
        run.state, run.again_at = State.RUNNING, None

    def _values(self, run: StepRun) -> dict[str, str]:
        """All that ``{{…}}`` may name in this task."""
        program, last = self._program, run.end or End("0", status="")
        values = {
            "workflow.name": program.name,
            "workflow.namespace": "local",
            "pod.name": run.step.name,
            "node.name": run.step.name,
            "retries": str(run.next_number),
            "lastRetry.exitCode": last.exit_code,
            "lastRetry.status": last.status,
            "lastRetry.message": last.message,
        }
        for kind, named in (
            ("parameters", program.parameters),
            ("labels", program.labels),
            ("annotations", program.annotations),
        ):
            values |= {f"workflow.{kind}.{name}": value for name, value in named.items()}
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
        attempt.kill()  # what the process left behind goes with it, as in a pod
        watch.forget(attempt.process.pid)
        self._free_gpus = sorted([*self._free_gpus, *attempt.share.gpus], key=self._machine.gpus.index)
        run.seconds = time.monotonic() - attempt.started
        message = "" if code == 0 else f"main: Error (exit code {code})"
        run.end = End(str(code), "Succeeded" if code == 0 else "Failed", message, attempt.number)
        if code == 0:
            run.outputs, run.state = attempt.read_outputs(run.step.template), State.SUCCEEDED
            attempt.clear()
        elif self._stopping and code in (Exit.CHECKPOINTED, Exit.KILLED, Exit.TERMINATED):
            run.state = State.STOPPED
        elif not self._stopping and self._tries_again(run):
            pause = min(run.step.template.retries.pause(attempt.number) * BACKOFF_SCALE, LONGEST_PAUSE)
            run.again_at = time.monotonic() + pause
        else:
            run.state = State.FAILED

    def _tries_again(self, run: StepRun) -> bool:
        retries = run.step.template.retries
        assert run.end is not None
        if run.end.retries >= retries.limit or retries.policy not in ("Always", "OnFailure"):
            return False
        try:
            return tries_again(retries.expression, run.end) if retries.expression != "true" else True
        except ValueError as error:
            raise BadInput(f"templates.{run.step.template.name}.retryStrategy.expression: {error}") from error

    def _enforce(self) -> None:
        """Deadlines, the wish to stop, and the end of patience."""
        now = time.monotonic()
        for run in self._running():
            attempt, template = run.attempt, run.step.template
            assert attempt is not None
            late = template.deadline is not None and now - attempt.started > template.deadline
            if self._stopping or late:
                attempt.ask_to_stop()
            waited = attempt.told_to_stop is not None and now - attempt.told_to_stop > template.grace
            if waited or self._interrupts > 1:
                attempt.kill()

    def _leave_out_waiting(self) -> None:
        for run in self._runs.values():
            if run.state is State.WAITING or run.again_at is not None:
                run.again_at = None
                run.state = State.STOPPED if self._stopping else State.OMITTED

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def heard(_number: int, _frame: FrameType | None) -> None:
            self._interrupts += 1

        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
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
        if not graph.failed(self._targets, self._above, states):
            return Result(runs, Exit.DONE, seconds)
        codes = [int(run.end.exit_code) for run in runs if run.state is State.FAILED and run.end]
        known = [Exit(code) for code in codes if code in list(Exit)]
        return Result(runs, known[0] if known else Exit.BUG, seconds)

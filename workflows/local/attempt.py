"""One attempt at a task: a process where a cluster has a pod, with its own folders, GPUs and share of the cores."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.records import Heartbeat
from workflows.local.machine import THREAD_VARIABLES
from workflows.local.program import Step, Template, Variable
from workflows.local.variables import substitute
from workflows.store.process import dies_with_parent

# Several processes on one machine cannot serve metrics on one port, and nobody scrapes them here.
NOT_HERE = (environment.METRICS_PORT, environment.PROGRESS_FILE)
# What a person needs to repeat a task by hand; the experiment is stored with the run, and keys are never printed.
REPEATED = (
    environment.RUN,
    environment.FROM_RUN,
    environment.CACHE,
    environment.THREADS,
    environment.GPUS,
    environment.ALLOW_CPU,
)


@dataclass(frozen=True)
class Share:
    """What of the machine an attempt gets."""

    threads: int
    gpus: tuple[str, ...] = ()


@dataclass
class Attempt:
    """A process that was started for a task."""

    number: int
    process: "subprocess.Popen[bytes]"
    command: list[str]
    variables: Mapping[str, str]
    share: Share
    folder: Path
    log: Path
    outputs: Mapping[str, Path]  # output parameter → the file it is read from
    started: float = field(default_factory=time.monotonic)
    told_to_stop: float | None = None  # when SIGTERM was sent
    _beat: Heartbeat | None = None

    def heartbeat(self) -> Heartbeat | None:
        """The stage's latest sign of life; none from a process that gives none."""
        with suppress(FileNotFoundError, ValidationError):
            file = Path(self.variables[environment.OUTPUTS]) / "heartbeat.json"
            self._beat = Heartbeat.model_validate_json(file.read_bytes())
        return self._beat

    @property
    def repeat(self) -> str:
        """The command that does the same again in a shell."""
        told = {name: self.variables[name] for name in REPEATED if name in self.variables}
        told["CUDA_VISIBLE_DEVICES"] = ",".join(self.share.gpus)
        pairs = " ".join(f"{name}={shlex.quote(value)}" for name, value in told.items())
        return f"env {pairs} {shlex.join(['python' if one == sys.executable else one for one in self.command])}"

    def ask_to_stop(self) -> None:
        """SIGTERM to the process alone, as a pod's first process gets it; what it started is its own to end."""
        if self.told_to_stop is None:
            self.told_to_stop = time.monotonic()
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL to the process and everything it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def clear(self) -> None:
        """Remove the folders that a pod's end would have removed; log and heartbeat stay."""
        self.heartbeat()
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)

    def exit_code(self) -> int | None:
        """The exit code as Argo reports it, 128 and the number for an end by a signal. None while the process runs."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def read_outputs(self, template: Template) -> dict[str, str]:
        """The output parameters.

        Raises:
            BadInput: where a file is missing that has no default.
        """
        found: dict[str, str] = {}
        for output in template.outputs:
            file = self.outputs[output.name]
            if file.is_file():
                found[output.name] = file.read_text().strip()
            elif output.default is not None:
                found[output.name] = output.default
            else:
                raise BadInput(f"the output parameter {output.name} was not written: {file}")
        return found


def start(
    step: Step, number: int, folder: Path, share: Share, values: Mapping[str, str], local: Mapping[str, str | None]
) -> Attempt:
    """Start a process for a task.

    Args:
        step: what to run.
        number: of the attempt, 0 for the first.
        folder: the task's own.
        share: what of the machine it gets.
        values: of the workflow's ``{{…}}``.
        local: environment variables that stand for the cluster's: store and keys, cache; None takes one away.
    """
    template = step.template
    folders = _fresh_folders(template, folder)
    variables = dict(os.environ)
    for variable in template.env:
        value = _value(variable, step, values)
        if value is not None and variable.name not in NOT_HERE:
            variables[variable.name] = _moved(value, folders)
    variables.setdefault(environment.OUTPUTS, str(folder / "outputs"))
    for name, told in local.items():
        variables.pop(name, None)
        variables |= {} if told is None else {name: told}
    variables |= {
        environment.ATTEMPT: str(number),
        environment.NODE: socket.gethostname(),
        environment.THREADS: str(share.threads),
        environment.GPUS: str(len(share.gpus)),
        "CUDA_VISIBLE_DEVICES": ",".join(share.gpus),
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(THREAD_VARIABLES, str(share.threads)),
    }
    for needed in (environment.OUTPUTS, environment.SCRATCH):
        if needed in variables:
            Path(variables[needed]).mkdir(parents=True, exist_ok=True)
    place = f"templates.{template.name}.container"
    command = [_moved(substitute(word, values, place), folders) for word in template.command]
    if command[0] in ("python", "python3"):
        command[0] = sys.executable
    log = folder / f"attempt-{number}.log"
    return Attempt(
        number=number,
        process=_spawn(command, variables, log),
        command=command,
        variables=variables,
        share=share,
        folder=folder,
        log=log,
        outputs={output.name: Path(_moved(output.path, folders)) for output in template.outputs},
    )


def _spawn(command: list[str], variables: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        try:
            return subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches the engine alone, and one kill reaches all of a task
                preexec_fn=dies_with_parent(),  # safe: the engine has one thread
            )
        except OSError as error:
            raise BadInput(f"{command[0]}: cannot be started here ({error.strerror})") from error


def _fresh_folders(template: Template, folder: Path) -> dict[str, Path]:
    """A folder in place of each mounted volume: the host's own, or an empty one, as each pod finds an empty volume."""
    volumes = folder / "volumes"
    if volumes.exists():
        shutil.rmtree(volumes)
    folders = {}
    for path, host in template.mounts.items():
        folders[path] = Path(host) if host else volumes / path.strip("/").replace("/", "-")
        if not host:
            folders[path].mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folders


def _moved(text: str, folders: Mapping[str, Path]) -> str:
    """A path below a mounted volume, moved to where that volume's folder is here; any other text as it is."""
    for path in sorted(folders, key=len, reverse=True):
        if text == path or text.startswith(f"{path}/"):
            return f"{folders[path]}{text.removeprefix(path)}"
    return text


def _value(variable: Variable, step: Step, values: Mapping[str, str]) -> str | None:
    place = f"templates.{step.template.name}.env.{variable.name}"
    if variable.secret is not None:
        # A Secret's stand-in is the environment of the person who runs this.
        if variable.name not in os.environ and not variable.optional:
            raise BadInput(f"{place}: a cluster takes it from the Secret {variable.secret}; here, export it")
        return os.environ.get(variable.name)
    if variable.field is not None:
        known = {"spec.nodeName": socket.gethostname(), "metadata.name": step.name, "metadata.namespace": "local"}
        if variable.field not in known:
            raise BadInput(f"{place}: the local engine has no {variable.field}")
        return known[variable.field]
    return substitute(variable.value or "", values, place)

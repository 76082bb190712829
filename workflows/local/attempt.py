"""One attempt of a step: a process in place of a pod, with folders, GPUs and threads of its own."""

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
from typing import Final

from pydantic import ValidationError

from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.stored.records import Heartbeat
from workflows.local.machine import THREAD_VARIABLES
from workflows.local.program import Step, Template, Variable
from workflows.local.variables import substitute
from workflows.store.process import dies_with_parent

# Variables that a local process does not get: processes on one machine cannot share a metrics port, and there is no
# Argo to read a progress file.
CLUSTER_ONLY: Final = (environment.METRICS_PORT, environment.PROGRESS_FILE)
# The variables in the command that repeats an attempt. The experiment is stored with the run; keys are never printed.
REPEATED: Final = (
    environment.RUN,
    environment.FROM_RUN,
    environment.OVERLAP,
    environment.CACHE,
    environment.THREADS,
    environment.GPUS,
    environment.ALLOW_CPU,
)


@dataclass(frozen=True)
class Allocation:
    """The threads and GPUs of an attempt."""

    threads: int
    gpus: tuple[str, ...] = ()


@dataclass
class Attempt:
    """A process that was started for a step."""

    number: int  # 0 for the first
    process: "subprocess.Popen[bytes]"
    command: list[str]
    variables: Mapping[str, str]
    allocation: Allocation
    folder: Path
    log: Path
    outputs: Mapping[str, Path]  # output parameter → file
    started: float = field(default_factory=time.monotonic)
    terminated: float | None = None  # when SIGTERM was sent
    _beat: Heartbeat | None = None

    def heartbeat(self) -> Heartbeat | None:
        """Return the latest heartbeat; None if the process has written none."""
        with suppress(FileNotFoundError, ValidationError):
            file = Path(self.variables[environment.OUTPUTS]) / "heartbeat.json"
            self._beat = Heartbeat.model_validate_json(file.read_bytes())
        return self._beat

    @property
    def repeat(self) -> str:
        """The shell command that repeats the attempt."""
        variables = {name: self.variables[name] for name in REPEATED if name in self.variables}
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(self.allocation.gpus)
        pairs = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        return f"env {pairs} {shlex.join(['python' if word == sys.executable else word for word in self.command])}"

    def terminate(self) -> None:
        """Send SIGTERM to the process, but not to its children, as Kubernetes does."""
        if self.terminated is None:
            self.terminated = time.monotonic()
            self.process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def clear(self) -> None:
        """Remove the folders of volumes, which a cluster removes with the pod; keep log and heartbeat."""
        self.heartbeat()
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)

    def exit_code(self) -> int | None:
        """Return the exit code as Argo reports it, 128 + N after signal N; None while the process runs."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def read_outputs(self, template: Template) -> dict[str, str]:
        """Return the output parameters.

        Raises:
            BadInput: a parameter's file is missing, and it has no default.
        """
        outputs: dict[str, str] = {}
        for output in template.outputs:
            file = self.outputs[output.name]
            if file.is_file():
                outputs[output.name] = file.read_text().strip()
            elif output.default is not None:
                outputs[output.name] = output.default
            else:
                raise BadInput(f"{file}: the file of the output parameter {output.name} was not written")
        return outputs


def start(
    step: Step,
    number: int,
    folder: Path,
    allocation: Allocation,
    values: Mapping[str, str],
    overrides: Mapping[str, str | None],
) -> Attempt:
    """Start a process for a step.

    Args:
        step: the step.
        number: the attempt's number, 0 for the first.
        folder: the step's folder.
        allocation: its threads and GPUs.
        values: the value of each ``{{…}}`` tag.
        overrides: environment variables that replace the cluster's, such as store, keys and cache; None removes one.

    Raises:
        BadInput: a variable or tag has no value, or the command does not exist.
    """
    template = step.template
    folders = _create_folders(template, folder)
    variables = dict(os.environ)
    for variable in template.env:
        value = _value(variable, step, values)
        if value is not None and variable.name not in CLUSTER_ONLY:
            variables[variable.name] = _localize(value, folders)
    variables.setdefault(environment.OUTPUTS, str(folder / "outputs"))
    for name, override in overrides.items():
        variables.pop(name, None)
        variables |= {} if override is None else {name: override}
    variables |= {
        environment.ATTEMPT: str(number),
        environment.NODE: socket.gethostname(),
        environment.THREADS: str(allocation.threads),
        environment.GPUS: str(len(allocation.gpus)),
        "CUDA_VISIBLE_DEVICES": ",".join(allocation.gpus),
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(THREAD_VARIABLES, str(allocation.threads)),
    }
    for required in (environment.OUTPUTS, environment.SCRATCH):
        if required in variables:
            Path(variables[required]).mkdir(parents=True, exist_ok=True)
    place = f"templates.{template.name}.container"
    command = [_localize(substitute(word, values, place), folders) for word in template.command]
    if command[0] in ("python", "python3"):
        command[0] = sys.executable
    log = folder / f"attempt-{number + 1}.log"
    return Attempt(
        number=number,
        process=_spawn(command, variables, log),
        command=command,
        variables=variables,
        allocation=allocation,
        folder=folder,
        log=log,
        outputs={output.name: Path(_localize(output.path, folders)) for output in template.outputs},
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
                start_new_session=True,  # Ctrl-C reaches the engine only, and killpg reaches all children
                preexec_fn=dies_with_parent(),  # safe: the engine has one thread
            )
        except OSError as error:
            raise BadInput(f"{command[0]}: cannot be started ({error.strerror})") from error


def _create_folders(template: Template, folder: Path) -> dict[str, Path]:
    """Return a folder for each mount path: the host's, or a new empty one, as a pod gets an empty volume."""
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


def _localize(text: str, folders: Mapping[str, Path]) -> str:
    """Replace a path below a mount by the path below that mount's folder; return any other text unchanged."""
    for path in sorted(folders, key=len, reverse=True):
        if text == path or text.startswith(f"{path}/"):
            return f"{folders[path]}{text.removeprefix(path)}"
    return text


def _value(variable: Variable, step: Step, values: Mapping[str, str]) -> str | None:
    place = f"templates.{step.template.name}.env.{variable.name}"
    if variable.secret is not None:
        # The user's environment replaces a Secret.
        if variable.name not in os.environ and not variable.optional:
            raise BadInput(f"{place}: a cluster takes it from the Secret {variable.secret}; export it to run locally")
        return os.environ.get(variable.name)
    if variable.field is not None:
        known = {"spec.nodeName": socket.gethostname(), "metadata.name": step.name, "metadata.namespace": "local"}
        if variable.field not in known:
            raise BadInput(f"{place}: the local engine has no field {variable.field}")
        return known[variable.field]
    return substitute(variable.value or "", values, place)

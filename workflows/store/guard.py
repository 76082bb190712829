"""The guard of the embedded S3 server: runs SeaweedFS as its child and stops it after its last user.

Started by :mod:`workflows.store.embedded` as ``python -m workflows.store.guard FOLDER BINARY DESCRIPTOR``.
"""

import fcntl
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Final

from workflows.store.process import dies_with_parent

STOP_SECONDS: Final = 15.0  # about 1 on an idle machine
FORMER: Final = "former.json"  # server.json of a server whose guard was killed
PORTS: Final = ("s3", "master", "volume", "filer", "admin")  # each has a gRPC port, too


def locked(file: IO[str]) -> bool:
    """Try to take an exclusive lock on a file; return whether it succeeded."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def guard(folder: Path, binary: str) -> None:
    """Run SeaweedFS on ``folder`` until it has no user, SIGTERM arrives, or it does not start.

    Where SeaweedFS or an earlier guard was killed, the server starts again with the address and keys that its users
    know.
    """
    port, keys = _former(folder) or (None, (secrets.token_hex(10), secrets.token_hex(20)))
    with (folder / "users.lock").open("w") as users:
        while True:
            ports = _free_ports(port)
            port = ports["s3"]
            if not _serve(folder, binary, ports, keys, users):
                return


def _serve(folder: Path, binary: str, ports: dict[str, int], keys: tuple[str, str], users: IO[str]) -> bool:
    """Run SeaweedFS once; return whether it ended by itself after it was ready."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    weed = _start_weed(folder, binary, ports, keys)
    try:
        while not _ready(ports["s3"]):
            if weed.poll() is not None or locked(users):
                return False
            time.sleep(0.02)
        _publish(folder, ports, *keys)
        while weed.poll() is None:
            if locked(users):
                return False
            time.sleep(0.2)
        return True
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (folder / "server.json").unlink(missing_ok=True)
        weed.terminate()
        try:
            weed.wait(STOP_SECONDS / 2)
        except subprocess.TimeoutExpired:
            weed.kill()
        for port in ports.values():  # SeaweedFS does not remove all of its sockets
            for file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 (the path is SeaweedFS')
                file.unlink(missing_ok=True)


def _former(folder: Path) -> tuple[int, tuple[str, str]] | None:
    """Port and keys of a server whose guard was killed."""
    former = folder / FORMER
    try:
        content = json.loads(former.read_text())
        return int(content["endpoint"].rpartition(":")[2]), (content["access_key"], content["secret_key"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
    finally:
        former.unlink(missing_ok=True)


def _free_ports(s3: int | None) -> dict[str, int]:
    """A free port for each service; the given one for S3 if it is free."""
    names = [*PORTS, *(f"{name}.grpc" for name in PORTS)]
    sockets = [_listen(s3 or 0), *(_listen(0) for _ in names[1:])]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return dict(zip(names, ports, strict=True))


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        if port == 0:
            raise
        return _listen(0)


def _start_weed(folder: Path, binary: str, ports: dict[str, int], keys: tuple[str, str]) -> "subprocess.Popen[bytes]":
    data = folder / "data"
    data.mkdir(exist_ok=True)
    # The master's state depends on its port, which changes, and is rebuilt from what the volumes report.
    for state in data.glob("m[0-9]*"):
        shutil.rmtree(state)
    options = [f"-{name.replace('.grpc', '')}.port{'.grpc' * name.endswith('.grpc')}={n}" for name, n in ports.items()]
    options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    options += ["-webdav=false", "-admin.ui=false", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += ["-volume.preStopSeconds=0", f"-dir={data}"]
    # With keys for its internal tokens, the HTTP ports of volume and filer refuse other users of this machine.
    internal = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
    # Inherit nothing else: no settings from the user's home, no keys, no proxy.
    variables = {f"WEED_JWT_{name}": secrets.token_hex(16) for name in internal} | {
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "HOME": str(folder),
        "PATH": os.defpath,
    }
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [binary, "-logtostderr=true", "mini", *options],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=dies_with_parent(),  # safe: the guard has one thread
        )


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _publish(folder: Path, ports: dict[str, int], access_key: str, secret_key: str) -> None:
    content = {
        "endpoint": f"http://127.0.0.1:{ports['s3']}", "access_key": access_key, "secret_key": secret_key,
        "guard": os.getpid(), "master": ports["master"],
    }  # fmt: skip
    handle, name = tempfile.mkstemp(dir=folder)  # mode 0600
    with os.fdopen(handle, "w") as file:
        json.dump(content, file)
    Path(name).rename(folder / "server.json")


if __name__ == "__main__":
    if os.fork() == 0:  # the parent exits, so the guard is not a child of the process that started it
        guard(Path(sys.argv[1]), sys.argv[2])  # argv[3]: the inherited descriptor that holds guard.lock

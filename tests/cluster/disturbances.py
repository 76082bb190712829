"""What clusters do to pods. Each submits a run of its own, disturbs it in the middle, and gives what came of it."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.kit import TINY, Place, call, kubectl, until

FOLD = "tiny-fold-0"

# Finds the stage's process among Argo's own, which stay to tell how it ended.
_STAGE = """
import os
def words(pid):
    try:
        return open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0")
    except OSError:  # it has just ended
        return []
for pid in filter(str.isdigit, os.listdir("/proc")):
    if words(pid)[1:3] == [b"-m", b"jobs"]:
"""
KILL = _STAGE + "        os.kill(int(pid), 9)"
FREEZE = _STAGE + "        os.kill(int(pid), 19)"
# Lets a frozen stage go on once SIGTERM waits for it.
THAW = (
    _STAGE
    + """        import signal, time
        signal.signal(15, signal.SIG_IGN)  # Argo sends it to all processes of the container
        while not int(open(f"/proc/{pid}/status").read().split("ShdPnd:")[1].split()[0], 16) >> 14 & 1:
            time.sleep(0.1)
        os.kill(int(pid), 18)
"""
)
# Fills the pod's memory from many processes, each smaller than the stage's, so that the kernel takes that one.
HOG = (
    _STAGE
    + """        open(f"/proc/{pid}/oom_score_adj", "w").write("1000")
import time
for _ in range(14):
    if os.fork() == 0:
        held = b"x" * (150 << 20)
        time.sleep(60)
"""
)
# As sitecustomize of a pod's Python: one fold ends with a bug whenever it begins.
LOSE_A_FOLD = """
import os, sys
if sys.orig_argv[-2:] == ["--fold", "1"]:
    os._exit(70)
"""


@dataclass(frozen=True)
class Outcome:
    """What came of a disturbed run."""

    phase: str
    attempts: list[dict[str, Any]]  # at the disturbed task
    outputs: dict[str, str]
    said: str = ""

    @property
    def ends(self) -> list[tuple[str, str]]:
        """How each attempt ended: phase and exit code."""
        return [(node["phase"], (node.get("outputs") or {}).get("exitCode", "")) for node in self.attempts]


Disturbance = Callable[[Place, str, str], str]


def pod_deleted(place: Place, run: str, workflow: str) -> str:
    """As a drained node, a preempting queue, or a person does."""
    return kubectl("delete", "pod", _held(place, run), "-n", place.namespace, "--wait=false")


def pod_evicted(place: Place, run: str, workflow: str) -> str:
    """As ``kubectl drain`` does: the eviction API refuses where a disruption budget protects the pod."""
    pod = _held(place, run)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": place.namespace}}
    path = f"/api/v1/namespaces/{place.namespace}/pods/{pod}/eviction"
    return call("kubectl", "create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def process_killed(place: Place, run: str, workflow: str) -> str:
    """SIGKILL: no time to write anything."""
    return _inside(place, _held(place, run), KILL)


def controller_restarted(place: Place, run: str, workflow: str) -> str:
    """Argo's controller forgets nothing that it did not write down."""
    place.pod_in_training(run)
    return kubectl("delete", "pod", "-n", "argo", "-l", "app=workflow-controller")


def stopped_and_resumed(place: Place, run: str, workflow: str) -> str:
    """``cv.py stop`` in the middle, ``cv.py resume`` afterwards, watched and followed, by a mere submitter."""
    person = place.as_submitter()
    _held(place, run)
    with ThreadPoolExecutor(2) as pool:
        watched = pool.submit(person.cv, "status", run, "-w", exit_code=75)
        followed = pool.submit(person.cv, "logs", run, "-k", "0", "-f")
        said = person.cv("stop", run).stdout
        said += watched.result().stdout + followed.result().stdout
    task = person.status(run)["tasks"][FOLD]
    assert (task["note"], task["attempt"]) == ("wrote a checkpoint", 1), task
    said += person.cv("explain", run).stdout
    return said + person.cv("resume", run, "--revision", place.revision).stdout


def argos_verbs(place: Place, run: str, workflow: str) -> str:
    """What people do with ``argo`` to a run, and what the commands say right after each."""
    place.pod_in_training(run)
    _argo(place, "suspend", workflow)
    said = _asked(place, run, "suspended")
    said += place.cv("resume", run).stderr
    _argo(place, "terminate", workflow)
    place.wait(workflow)
    said += _asked(place, run, "terminated")
    said += place.cv("stop", run, exit_code=78).stderr
    _argo(place, "retry", workflow)
    place.pod_in_training(run)
    said += _asked(place, run, "retried") + place.cv("stop", run).stdout
    for _ in range(2):
        _argo(place, "resubmit", workflow)
    until(lambda: "running at once" in place.status(run)["note"], seconds=60, about="two workflows of the run")
    said += _asked(place, run, "resubmitted") + place.cv("stop", run).stdout
    place.cv("resume", run, "--revision", place.revision)
    place.pod_in_training(run)
    kubectl("delete", "workflows", "-n", place.namespace, "-l", f"cxrfold/run={run}")
    return said + _asked(place, run, "deleted") + place.cv("stop", run, exit_code=78).stderr


def _argo(place: Place, verb: str, workflow: str) -> None:
    call("argo", verb, workflow, "-n", place.namespace)


def _asked(place: Place, run: str, heading: str) -> str:
    """What the commands that look say, under a heading."""
    told = [place.cv(verb, run) for verb in ("status", "explain", "logs")]
    return f"\n## {heading}\n" + "".join(done.stdout + done.stderr for done in told)


def out_of_memory_twice(place: Place, run: str, workflow: str) -> str:
    """The kernel's OOM killer comes twice, which fails the task; ``cv.py resume`` then gives it more memory."""
    first = _held(place, run)
    _inside(place, first, HOG)
    second = _held(place, run, but=first)
    _inside(place, second, HOG)
    assert place.wait(workflow) == "Failed"
    explained = place.cv("explain", run).stdout
    resumed = place.cv("resume", run, "--revision", place.revision)
    return explained + resumed.stderr + resumed.stdout


def disturbed(place: Place, disturbance: Disturbance) -> Outcome:
    """Submit, disturb, wait for the end of the run's last workflow."""
    run = disturbance.__name__.replace("_", "-")
    workflow = place.submit(run, *TINY)["workflow"]
    said = disturbance(place, run, workflow)
    last = place.last_workflow(run)
    phase = place.wait(last)
    attempts = place.attempts(workflow, FOLD) + (place.attempts(last, FOLD) if last != workflow else [])
    return Outcome(phase, attempts, place.outputs(run), said)


def _held(place: Place, run: str, *, but: str = "") -> str:
    """The pod of a fold, frozen in the middle of its training until it is asked to stop, or killed.

    However fast it trains, what follows meets it there.
    """
    pod = place.pod_in_training(run, but=but)
    _inside(place, pod, FREEZE)
    threading.Thread(target=_inside, args=(place, pod, THAW), daemon=True).start()
    return pod


def _inside(place: Place, pod: str, script: str) -> str:
    return kubectl("exec", "-n", place.namespace, pod, "-c", "main", "--", "python", "-c", script, check=False)


class Forwarder:
    """A way to the S3 server that can be closed, while the server goes on for everybody else."""

    def __init__(self, host: str, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._host = host
        self._listener = self._listen(0)
        self._port: int = self._listener.getsockname()[1]
        self._links: set[socket.socket] = set()
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """As pods reach it."""
        return f"http://{self._host}:{self._port}"

    def away(self, seconds: float) -> None:
        """Break every connection and refuse new ones for a while."""
        self._listener.close()
        for link in list(self._links):
            link.close()
        time.sleep(seconds)
        self._listener = self._listen(self._port)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """For good."""
        self._listener.close()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self._host, port))
        listener.listen(64)
        return listener

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                inside, _ = listener.accept()
                outside = socket.create_connection(self._target)
            except OSError:
                return
            self._links |= {inside, outside}
            for source, sink in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for link in (source, sink):
                self._links.discard(link)
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
                link.close()


@contextmanager
def forwarder() -> Iterator[Forwarder]:
    """A closable way to the S3 server that the environment names."""
    way = Forwarder(os.environ["CLUSTER_NODE_IP"], os.environ["AWS_ENDPOINT_URL_S3"])
    try:
        yield way
    finally:
        way.close()


def config_map(place: Place, name: str, files: dict[str, str], folder: Path) -> None:
    """Files for pods to mount."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(manifest))
    kubectl("apply", "-n", place.namespace, "-f", str(path))

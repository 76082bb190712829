"""The heartbeat of an attempt: its state and its log, sent to the store by a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from jobs.runtime.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

SECONDS: Final = 30.0


class HeartbeatThread:
    """Sends the heartbeat and the log every 30 seconds, and at once when woken.

    Args:
        store: where both are stored.
        run: the run's name.
        state: returns the latest state of the task.
        metrics: the time of each heartbeat is also a gauge.
        log_file: the attempt's log.
        after: called after each of them, in the thread.
    """

    def __init__(
        self, store: Store, run: str, state: Callable[[], Heartbeat], metrics: Metrics, log_file: Path,
        after: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        first = state()
        task = TaskId(first.stage, first.model, first.fold)
        attempt = layout.attempt(run, task, first.started, first.attempt)
        self._store, self._state, self._metrics = store, state, metrics
        self._keys = layout.heartbeat(run, task), layout.attempt_record(attempt)
        self._log_key, self._tracker_key = layout.log(attempt), layout.tracker(attempt)
        self._log_file, self._log_size, self._after = log_file, -1, after
        self._ended, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Send the first heartbeat, then one every 30 seconds."""
        self._thread.start()

    def wake(self) -> None:
        """Send a heartbeat now, without waiting for it."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread; waits for a heartbeat under way, at most 5 seconds."""
        self._ended.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def send(self, archive: Callable[[], Path | None] | None = None) -> None:
        """Send heartbeat and log now. A failure is logged only: a lost heartbeat must not end a training.

        Args:
            archive: at the end, returns what a tracker left, to store beside the log.
        """
        self._metrics.heartbeat.set(time.time())
        try:
            beat = self._state().model_dump_json().encode()
            for key in self._keys:
                self._store.put(key, beat)
            if archive and (tracked := archive()):
                self._store.upload(tracked, self._tracker_key)
            size = self._log_file.stat().st_size if self._log_file.exists() else 0
            if size and size != self._log_size:
                self._store.put(self._log_key, self._log_file.read_bytes())
                self._log_size = size
        except Exception as error:  # a thread has no caller to raise to
            log.warning("The heartbeat could not be stored: %s", error)

    def _loop(self) -> None:
        while True:
            self.send()
            self._after()
            self._woken.wait(SECONDS)
            self._woken.clear()
            if self._ended.is_set():
                return

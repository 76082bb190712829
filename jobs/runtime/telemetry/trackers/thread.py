"""Sends a learning curve to a tracker from a thread of its own: one that fails or hangs changes no training."""

import logging
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from jobs.contract.experiment.tracker import TrackerLibrary
from jobs.runtime.telemetry.trackers import tracker_class
from jobs.runtime.telemetry.trackers.tracker import TrackedTask, Tracker

log = logging.getLogger(__name__)

FINISH_SECONDS: Final = 20.0
Epoch = tuple[int, Mapping[str, float]]


class TrackerThread:
    """The learning curve of a task on its way to a tracker, which is only started by the first epoch.

    Args:
        library: the tracker.
        tracked: the task.
    """

    def __init__(self, library: TrackerLibrary, tracked: TrackedTask) -> None:
        self._library, self._tracked = library, tracked
        self._epochs: SimpleQueue[Epoch | None] = SimpleQueue()
        self._last = 0
        self._thread: threading.Thread | None = None

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Send an epoch's figures, unless this or a later epoch was sent; returns at once."""
        if epoch <= self._last:
            return
        self._last = epoch
        if self._thread is None:
            self._thread = self._start()
        self._epochs.put((epoch, figures))

    def finish(self) -> Path | None:
        """End the tracker's run within 20 seconds, and return its files as one archive; None where it has none."""
        if self._thread is None:
            return None
        self._epochs.put(None)
        self._thread.join(FINISH_SECONDS)
        if self._thread.is_alive():
            log.warning("The tracker %s did not end within %.0f seconds.", self._library, FINISH_SECONDS)
        return _archive(self._tracked.folder)

    def _start(self) -> threading.Thread:
        """Start the thread. The library is imported before: a process that is forked during an import may hang."""
        try:
            begin = tracker_class(self._library)
        except Exception as error:  # of whatever kind: installed it is
            log.warning("The tracker %s cannot be imported: %s", self._library, error)
            thread = threading.Thread(name="no tracker")
        else:
            thread = threading.Thread(target=self._send, args=(begin,), name="tracker", daemon=True)
        thread.start()
        return thread

    def _send(self, begin: type[Tracker]) -> None:
        tracker: Tracker | None = None
        waiting: list[Epoch] = []
        ended = False
        while not ended:
            epoch = self._epochs.get()
            ended = epoch is None
            waiting += [epoch] if epoch else []
            try:
                tracker = tracker or begin(self._tracked)
                while waiting:
                    tracker.log(*waiting[0])
                    waiting.pop(0)
                if ended:
                    tracker.finish()
            except Exception as error:  # a thread has no caller to raise to
                log.warning("The tracker %s failed: %s", self._library, error)


def _archive(folder: Path) -> Path | None:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if not files:
        return None
    archive = folder.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        for file in files:
            tar.add(file, arcname=file.name)
    return archive

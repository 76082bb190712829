"""Prometheus metrics of a stage: scraped while it runs; the run's outcome is pushed once at the end."""

import logging
import os
import time
from typing import Final
from urllib.error import URLError

from prometheus_client import CollectorRegistry, Counter, Gauge, pushadd_to_gateway, start_http_server

from jobs.contract import environment
from jobs.contract.task import TaskId
from jobs.runtime.store import Moved

log = logging.getLogger(__name__)

LABELS: Final = ("stage", "model", "fold")
JOB: Final = "cxrfold"


class Metrics:
    """Counters and gauges of one stage, served on ``/metrics`` where a port is given."""

    def __init__(self, task: TaskId) -> None:
        self.registry = CollectorRegistry()
        fold = "" if task.fold is None else str(task.fold)
        self._labels = {"stage": str(task.stage), "model": task.model or "", "fold": fold}
        self.step = self._gauge("cxrfold_step", "Steps done in the current phase.")
        self.epoch = self._gauge("cxrfold_epoch", "Epochs done.")
        self.loss = self._gauge("cxrfold_loss", "Latest training loss.")
        self.best = self._gauge("cxrfold_best_score", "Best score of the fold so far.")
        self.improved = self._gauge("cxrfold_best_improved_timestamp_seconds", "When the best score last rose.")
        self.speed = self._gauge("cxrfold_films_per_second", "Films a second in the current phase.")
        self.heartbeat = self._gauge("cxrfold_heartbeat_timestamp_seconds", "The stage's latest sign of life.")
        films = Counter("cxrfold_films", "Films worked on.", LABELS, registry=self.registry)
        self.films = films.labels(**self._labels)
        self._moved = Gauge(
            "cxrfold_store_bytes_total",
            "Bytes moved to and from the store.",
            (*LABELS, "direction"),
            registry=self.registry,
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, LABELS, registry=self.registry).labels(**self._labels)

    def serve(self, port: int, moved: Moved) -> None:
        """Serve ``/metrics``, in a pod on all addresses, elsewhere on loopback; read the byte counts at each scrape.

        A failure, such as a port in use, is logged only: missing metrics must not end a training.
        """
        self._moved.labels(**self._labels, direction="up").set_function(lambda: moved.up)
        self._moved.labels(**self._labels, direction="down").set_function(lambda: moved.down)
        address = "0.0.0.0" if environment.IN_POD in os.environ else "127.0.0.1"  # noqa: S104 (Prometheus scrapes pods)
        try:
            start_http_server(port, address, self.registry)
        except (OSError, OverflowError) as error:
            log.warning("Metrics are not served on %s:%d: %s. Set another metrics_port.", address, port, error)


def push_outcome(
    gateway: str, experiment: str, dataset: str, run: str, revision: str, *, failed: bool, seconds: float,
    gauges: dict[tuple[str, str, str], float] | None = None,
) -> None:  # fmt: skip
    """Push a run's outcome, grouped by experiment and dataset; per-run groups would pile up in the Pushgateway.

    A failed run does not push scores, so those of the last success stay.

    Args:
        gateway: address of the Pushgateway.
        experiment: the experiment's name.
        dataset: first characters of the dataset's hash.
        run: the run's name, in an info metric.
        revision: the code's revision, in an info metric.
        failed: whether the run failed.
        seconds: duration of the run.
        gauges: (metric name, label name, label value) → value.
    """
    registry = CollectorRegistry()
    Gauge("cxrfold_run_info", "The run behind these figures.", ("run", "revision"), registry=registry).labels(
        run, revision
    ).set(1)
    Gauge("cxrfold_run_failed", "1 where the latest run failed.", registry=registry).set(int(failed))
    Gauge("cxrfold_run_duration_seconds", "How long the latest run took.", registry=registry).set(seconds)
    now = time.time()
    Gauge("cxrfold_last_completion_timestamp_seconds", "When a run last ended.", registry=registry).set(now)
    if not failed:
        Gauge("cxrfold_last_success_timestamp_seconds", "When a run last succeeded.", registry=registry).set(now)
    families: dict[str, Gauge] = {}
    for (name, label, value), figure in (gauges or {}).items():
        if name not in families:
            families[name] = Gauge(name, f"{name.removeprefix('cxrfold_')} by {label}.", (label,), registry=registry)
        families[name].labels(value).set(figure)
    try:
        pushadd_to_gateway(
            gateway, job=JOB, registry=registry, grouping_key={"experiment": experiment, "dataset": dataset}
        )
    except (URLError, OSError) as error:
        # The scores are also in metrics.json; an unreachable gateway must not fail a finished run.
        log.warning("The outcome could not be pushed to the Pushgateway %s: %s", gateway, error)

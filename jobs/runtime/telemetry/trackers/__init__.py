"""Experiment trackers that learning curves are also sent to; offline their files are archived beside the log."""

from typing import assert_never

from jobs.contract.experiment.tracker import TrackerLibrary
from jobs.runtime.telemetry.trackers.tracker import Tracker


def tracker_class(library: TrackerLibrary) -> type[Tracker]:
    """Import a tracker's library and return its class."""
    match library:
        case "wandb":
            from jobs.runtime.telemetry.trackers.wandb_run import WandbRun

            return WandbRun
        case "mlflow":
            from jobs.runtime.telemetry.trackers.mlflow_run import MlflowRun

            return MlflowRun
        case "tensorboard":
            from jobs.runtime.telemetry.trackers.event_file import EventFile

            return EventFile
        case _:
            assert_never(library)

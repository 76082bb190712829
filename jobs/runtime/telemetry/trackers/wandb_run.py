"""Weights & Biases: offline unless ``WANDB_MODE`` says otherwise.

With ``WANDB_MODE=online`` and ``WANDB_API_KEY`` in the profile's ``env`` the figures are sent as they come.
"""

import os
from collections.abc import Mapping

import wandb

from jobs.contract.stored.digest import digest
from jobs.runtime.telemetry.trackers.tracker import TrackedTask, Tracker


class WandbRun(Tracker):
    """A task as a run of wandb's project ``cxrfold``; its group is the run."""

    def __init__(self, tracked: TrackedTask) -> None:
        online = os.environ.setdefault("WANDB_MODE", "offline") == "online"
        tracked.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            x_disable_stats=True, x_disable_machine_info=True, disable_git=True, console="off", silent=True,
            init_timeout=10,  # seconds; the next epoch tries again
        )  # fmt: skip
        try:
            self._run = wandb.init(
                project="cxrfold", group=tracked.run, name=tracked.task, id=digest([tracked.run, tracked.task])[:16],
                resume="allow" if online else None,  # what is synced later is whole and replaces
                config=dict(tracked.experiment), dir=str(tracked.folder), settings=settings,
            )  # fmt: skip
        except Exception:
            wandb.teardown()  # or the id counts as in use
            raise

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Record an epoch; its number is wandb's step."""
        if epoch >= self._run.starting_step:
            self._run.log({"epoch": epoch, **figures}, step=epoch)

    def finish(self) -> None:
        """End the run and wandb's own process, before which its files are not whole."""
        self._run.finish()
        wandb.teardown()

"""The experiment tracker Weights & Biases, offline unless the environment says otherwise.

Offline, each attempt leaves an archive beside its log, which ``wandb sync`` uploads from a machine with internet. With
``WANDB_MODE=online`` and ``WANDB_API_KEY`` in the profile's ``env`` the figures are sent as they come.
"""

import os
import tarfile
from pathlib import Path
from typing import Any

from jobs.contract.digest import digest
from jobs.contract.exits import BadInput


class Wandb:
    """One attempt at one task as a run of Weights & Biases; attempts at a task share its id."""

    def __init__(self, folder: Path, run: str, task: str, experiment: dict[str, Any]) -> None:
        """Start the run.

        Args:
            folder: where wandb may write.
            run: the run's name: wandb's group.
            task: stage, model and fold: wandb's name.
            experiment: the resolved experiment: wandb's config.

        Raises:
            BadInput: wandb is not installed.
        """
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            import wandb
        except ImportError as error:
            raise BadInput(
                "tracker: wandb needs the package wandb: install cxrfold[tracker], or build images with it."
            ) from error
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(x_disable_stats=True, x_disable_machine_info=True, disable_git=True, console="off")
        self._run = wandb.init(
            project="cxrfold", group=run, name=task, id=digest([run, task])[:16], resume="allow", config=experiment,
            dir=str(folder), settings=settings,
        )  # fmt: skip

    def log(self, epoch: int, figures: dict[str, float]) -> None:
        """Record an epoch's figures."""
        self._run.log({"epoch": epoch, **figures})

    def finish(self) -> Path:
        """End the run and return its files as one archive."""
        import wandb

        self._run.finish()
        wandb.teardown()  # only with the end of wandb's own process are its files whole
        archive = self.folder.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(self.folder / "wandb", arcname="wandb")
        return archive

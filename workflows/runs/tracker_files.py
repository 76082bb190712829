"""The files that trackers left of a run's tasks, unpacked so that the tracker's own tools show all tasks together."""

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from jobs.contract.exits import Damaged
from jobs.contract.experiment import Experiment

FOLDER: Final = "tracker"
# The command that opens the folder, by tracker.
COMMANDS: Final = {
    "wandb": "wandb sync {}/wandb/offline-run-*",
    "mlflow": "MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {}",
    "tensorboard": "tensorboard --logdir {}",
}


def unpack(archives: Sequence[Path], folder: Path) -> None:
    """Unpack archives into ``tracker/`` of a folder, in place of what is there.

    Raises:
        Damaged: a file is no archive, or would leave the folder.
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    for archive in archives:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(folder / FOLDER, filter=_without_links)  # noqa: S202 (the filter refuses others)
        except tarfile.TarError as error:
            raise Damaged(f"{archive} cannot be unpacked: {error}") from error


def how_to_open(experiment: Experiment, folder: Path) -> str | None:
    """Return the command that opens unpacked files; None where there are none."""
    files, command = folder / FOLDER, COMMANDS.get(experiment.tracker)
    return command.format(files) if command and files.is_dir() else None


def _without_links(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Leave out the links that wandb makes; some lead to folders of the machine that trained."""
    return None if member.issym() else tarfile.data_filter(member, folder)

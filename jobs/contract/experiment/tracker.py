"""Where learning curves are also sent."""

from typing import Literal

from jobs.contract.extras import check_installed

# Each is also the name of the package that is imported, and of the extra that installs it.
TrackerLibrary = Literal["wandb", "mlflow", "tensorboard"]
TrackerName = Literal["none", TrackerLibrary]


def check_tracker(tracker: TrackerName) -> None:
    """Check that a tracker's package is installed.

    Raises:
        BadInput: it is not.
    """
    if tracker != "none":
        check_installed(f"tracker: {tracker}", tracker, extra=tracker, otherwise="build the images again")

"""Where learning curves are also sent."""

from importlib.util import find_spec
from typing import Literal

from jobs.contract.exits import BadInput

# Each is also the name of the package that is imported, and of the extra that installs it.
TrackerLibrary = Literal["wandb", "mlflow", "tensorboard"]
TrackerName = Literal["none", TrackerLibrary]


def check_installed(tracker: TrackerName) -> None:
    """Check that a tracker's package can be found, without importing it.

    Raises:
        BadInput: it cannot.
    """
    if tracker != "none" and find_spec(tracker) is None:
        raise BadInput(
            f"tracker: {tracker} is not installed here: pip install cxrfold[{tracker}], or build the images again."
        )

"""What a user is told beside the rows of a run, by topic, as long as it holds."""

from collections import UserDict
from collections.abc import Callable
from typing import TypeVar

from jobs.contract.exits import StageError
from workflows.cluster.http import Forbidden

Found = TypeVar("Found")


class Notes(UserDict[str, str]):
    """Sentences by topic."""

    def __init__(self) -> None:
        super().__init__()
        self._refused: set[str] = set()  # topics that are not asked for again

    def optional(self, topic: str, look: Callable[[], Found]) -> Found | None:
        """Return what an optional look-up finds; None, and a note, if it is refused or fails.

        Args:
            topic: what is left out, e.g. ``Who uses the GPUs``.
            look: the look-up. It is not repeated once the user lacks the right.
        """
        if topic in self._refused:
            return None
        try:
            found = look()
        except Forbidden as error:
            self._refused.add(topic)
            self[topic] = f"{topic} is not shown: {error}"
        except StageError as error:
            self[topic] = f"{topic} is not shown. {error}"
        else:
            self.pop(topic, None)
            return found
        return None

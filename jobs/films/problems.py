"""Report all problems of an input at once, so that it can be corrected in a single pass."""

from collections.abc import Sequence
from typing import Final

from jobs.contract.exits import BadInput

SHOWN: Final = 20


def refuse(what: str, problems: Sequence[str], remedy: str) -> None:
    """Raise ``BadInput`` if there are problems.

    Raises:
        BadInput: lists the first problems, the number of further problems, and the remedy.
    """
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
        more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise BadInput(f"{what}: {len(problems)} problem{'s' * (len(problems) > 1)}.{shown}{more}\n{remedy}")

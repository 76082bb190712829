"""Many problems at once, so that bad input is mended in one go and not one run a film."""

from collections.abc import Sequence
from typing import Final

from jobs.contract.exits import BadInput

SHOWN: Final = 20


def refuse(what: str, problems: Sequence[str], remedy: str) -> None:
    """Raise where there are problems.

    Raises:
        BadInput: with the first problems, how many more there are, and the remedy.
    """
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
        more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise BadInput(f"{what}: {len(problems)} problem{'s' * (len(problems) > 1)}.{shown}{more}\n{remedy}")

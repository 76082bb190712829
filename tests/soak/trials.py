"""What the campaigns share: what a trial is, and which words nobody should read."""

import random
import re
from collections.abc import Callable
from typing import Final

from tests.soak.processes import Process
from tests.soak.table import Outcome

# One trial: its number picks what is tried, its stream of chance everything else.
Trial = Callable[[int, random.Random], list[Outcome]]

TRACEBACK: Final = re.compile(r"^Traceback \(most recent call last\)|^Fatal Python error|^\w*Error: ", re.MULTILINE)


def said_wrongly(process: Process) -> list[str]:
    """A traceback in what a process printed: its begin and its end."""
    text = process.text()
    if not (found := TRACEBACK.search(text)):
        return []
    text = text[found.start() :]
    return [f"a traceback: {text if len(text) < 700 else f'{text[:200]} … {text[-450:]}'}"]

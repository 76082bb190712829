"""The time of a server, read from the ``Date`` header of its answers: this machine's clock may be wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from jobs.contract.durations import duration

# The header has whole seconds, and an answer takes its time.
NOTABLE_SECONDS: Final = 20.0


@dataclass
class ServerClock:
    """How far a server's clock is ahead of this machine's; 0 until the server has answered."""

    ahead: float = 0.0  # seconds

    def read(self, date: str | None, sent: float, received: float) -> None:
        """Read the ``Date`` header of an answer; ``sent`` and ``received`` are this machine's times."""
        try:
            then = parsedate_to_datetime(date or "")
        except ValueError:
            return
        # The header was written between the two, and is rounded down.
        earliest, latest = then.timestamp() - received, then.timestamp() + 1 - sent
        self.ahead = min(max(0.0, earliest), latest) if latest > 0 else latest

    def now(self) -> datetime:
        """The server's time, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def remark(self, server: str) -> str:
        """A sentence for a person whose clock is wrong; empty if it is right."""
        if abs(self.ahead) < NOTABLE_SECONDS:
            return ""
        side = "behind" if self.ahead > 0 else "ahead of"
        return (
            f"The clock of this machine is {duration(abs(self.ahead))} {side} that of {server}: times are shown by "
            "the server's. Set it; S3 refuses requests that are more than 15 minutes off."
        )

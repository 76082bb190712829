"""Durations as text: one format for board, logs, study log and report."""


def duration(seconds: float | None) -> str:
    """Format seconds with at most two units: ``45s``, ``12m30s``, ``3h05m``; empty for None."""
    if seconds is None:
        return ""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minute}m{second:02}s" if minute else f"{second}s"

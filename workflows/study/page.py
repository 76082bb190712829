"""The study log as one self-contained HTML page: plots of scores and differences, and the tables."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from markupsafe import Markup

from jobs.contract.stored.records import without_text
from jobs.runtime.pages import page_template
from workflows.study import table, wording
from workflows.study.collect import LogEntry
from workflows.study.comparison import Comparison

MIDDLE: Final = 12  # vertical centre of a strip, in pixels
DIAMOND: Final = '<path d="M0-6L6 0L0 6L-6 0Z"/>'


@dataclass(frozen=True)
class Scale:
    """The range of values that a strip's width covers."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Position in per cent from the left, clipped to the strip."""
        return round(min(max((value - self.low) / (self.high - self.low), 0.0), 1.0) * 100, 2)

    @property
    def marks(self) -> list[float]:
        """About five round tick values."""
        step = nice_step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 6) for number in range(first, last + 1)]


@dataclass(frozen=True)
class StripRow:
    """One experiment in a plot: its name, its strip, its value."""

    name: str
    title: str
    strip: Markup
    value: str
    aside: str
    style: str = ""


@dataclass(frozen=True)
class StripPlot:
    """Rows over one axis."""

    figure: str
    rows: list[StripRow]
    axis: Markup


def page(entries: Sequence[LogEntry], comparisons: Mapping[str, Comparison]) -> str:
    """Render the page.

    Args:
        entries: the study's experiments in order.
        comparisons: run → its comparison with its parent.
    """
    figures = list(dict.fromkeys(entry.figure for entry in entries if entry.score is not None))
    return page_template("workflows.study", "page.html.j2").render(
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        entries=entries,
        scored=sum(entry.score is not None for entry in entries),
        datasets=sorted({entry.dataset[:12] for entry in entries if entry.dataset}),
        sources=sorted({entry.studied.experiment.data.source for entry in entries}),
        plots=[_scores(figure, [entry for entry in entries if entry.figure == figure]) for figure in figures],
        differences=_differences(entries, comparisons),
        author=any(fold.author is not None for entry in entries for fold in entry.folds),
        log_head=table.LOG_HEAD,
        log=[(fold, row) for entry in entries for fold, row in zip(entry.folds, table.log_rows(entry), strict=True)],
        pooled_head=table.POOLED_HEAD,
        pooled=[table.pooled_row(entry, entries, comparisons.get(entry.run)) for entry in entries],
        notes=table.notes(entries),
    )


def nice_step(span: float, about: int = 5) -> float:
    """A round step that divides a span into about this many parts."""
    magnitude = 10.0 ** math.floor(math.log10(span / about))
    return min((part * magnitude for part in (1, 2, 5, 10)), key=lambda step: abs(step - span / about))


def _scores(figure: str, entries: Sequence[LogEntry]) -> StripPlot:
    known = [value for entry in entries for value in _values(entry)]
    scale = Scale(max(0.0, math.floor(min(known) * 10) / 10), min(1.0, math.floor(max(known) * 10) / 10 + 0.1))
    rows = []
    for entry in entries:
        interval = "" if entry.low is None else f"{entry.low:.3f} – {entry.high:.3f}"
        aside = f"{interval}{without_text(entry.missing_folds)}".strip()
        rows.append(StripRow(entry.name, _title(entry), _score_strip(entry, scale), f"{entry.score:.3f}", aside))
    return StripPlot(figure, rows, _axis(scale, "{:g}".format))


def _values(entry: LogEntry) -> list[float]:
    numbers = [entry.score, entry.low, entry.high]
    numbers += [value for fold in entry.folds for value in (fold.score, fold.author)]
    return [value for value in numbers if value is not None]


def _score_strip(entry: LogEntry, scale: Scale) -> Markup:
    """Draw the interval, a tick per fold, a diamond per score of the author, and the pooled score."""
    parts = _whisker(scale, entry.low, entry.high)
    for fold in entry.folds:
        if fold.score is not None:
            at, style = scale.at(fold.score), " odd" if fold.outlying else ""
            parts.append(f'<line x1="{at}%" x2="{at}%" y1="5" y2="19" class="fold{style}"/>')
        if fold.author is not None:
            parts.append(f'<svg x="{scale.at(fold.author)}%" y="{MIDDLE}" class="author">{DIAMOND}</svg>')
    if entry.score is not None:
        parts.append(f'<circle cx="{scale.at(entry.score)}%" cy="{MIDDLE}" r="6" class="dot"/>')
    return _strip(f"{entry.name} {wording.score(entry.score)}", parts)


def _differences(entries: Sequence[LogEntry], comparisons: Mapping[str, Comparison]) -> StripPlot | None:
    known = {run: one for run, one in comparisons.items() if one.value is not None}
    if not known:
        return None
    names = {entry.run: entry.name for entry in entries}
    reach = max(
        abs(end) for one in known.values() for end in (one.low, one.high, one.value, one.seeds, 0.01) if end is not None
    )
    scale = Scale(-reach * 1.05, reach * 1.05)
    rows = []
    for entry in entries:
        if (one := known.get(entry.run)) is None or one.value is None:
            continue
        rows.append(
            StripRow(
                entry.name,
                f"against {names[one.parent]} · {one.figure}",
                _difference_strip(entry.name, one, scale),
                f"{one.value:+.3f}",
                ", ".join(filter(None, [f"p {one.p:.3f}", one.verdict, one.over])),
                _direction(one),
            )
        )
    return StripPlot("difference", rows, _axis(scale, "{:+g}".format))


def _difference_strip(name: str, one: Comparison, scale: Scale) -> Markup:
    assert one.value is not None
    zero, style = scale.at(0), _direction(one)
    parts = []
    if one.seeds:
        left, right = scale.at(-one.seeds), scale.at(one.seeds)
        parts.append(f'<rect x="{left}%" width="{right - left:.2f}%" y="0" height="24" class="seeds"/>')
    parts.append(f'<line x1="{zero}%" x2="{zero}%" y1="0" y2="24" class="zero"/>')
    parts += _whisker(scale, one.low, one.high, style)
    parts.append(f'<circle cx="{scale.at(one.value)}%" cy="{MIDDLE}" r="6" class="dot {style}"/>')
    return _strip(f"{name} {one.value:+.4f}, 95 % {one.low:+.3f} to {one.high:+.3f}", parts)


def _direction(one: Comparison) -> str:
    """CSS class of a difference."""
    if one.value is None or one.within_noise:
        return "within"
    return "better" if one.value > 0 else "worse"


def _whisker(scale: Scale, low: float | None, high: float | None, style: str = "") -> list[str]:
    if low is None or high is None:
        return []
    return [f'<line x1="{scale.at(low)}%" x2="{scale.at(high)}%" y1="{MIDDLE}" y2="{MIDDLE}" class="whisker {style}"/>']


def _axis(scale: Scale, format_tick: Callable[[float], str]) -> Markup:
    marks = [f'<text x="{scale.at(mark)}%" y="12">{format_tick(mark) if mark else 0}</text>' for mark in scale.marks]
    return Markup(f'<svg class="axis" aria-hidden="true">{"".join(marks)}</svg>')  # noqa: S704 numbers only


def _strip(label: str, parts: Sequence[str]) -> Markup:
    drawn = f'<svg class="strip" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    return Markup(drawn)  # noqa: S704 numbers and escaped text only


def _title(entry: LogEntry) -> str:
    experiment = entry.studied.experiment
    return experiment.title or wording.of_models(experiment, wording.net)

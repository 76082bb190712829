"""Line charts as inline SVG. Colours come from the page's CSS classes, so charts follow its dark mode."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]

LEFT, RIGHT, TOP, BOTTOM = 34, 8, 8, 30


@dataclass(frozen=True)
class Series:
    """A line of a chart. ``style``: CSS classes; ``filled``: shade the area below; ``dots``: radius of each point."""

    points: Sequence[Point]
    style: str
    filled: bool = False
    dots: Sequence[float] = ()


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high`` with a label and ticks at ``marks``."""

    label: str
    low: float = 0.0
    high: float = 1.0
    marks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)

    @classmethod
    def counting(cls, label: str, last: int) -> "Axis":
        """Return an axis from 1 to ``last`` with ticks at whole numbers."""
        return cls(label, 1, last, [mark for mark in ticks(1, last) if mark == int(mark)])


@dataclass(frozen=True)
class Canvas:
    """Maps values to positions on a chart, in SVG units."""

    x: Axis
    y: Axis
    width: int
    height: int

    def across(self, value: float) -> float:
        """Return the distance from the left."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return round(LEFT + share * (self.width - LEFT - RIGHT), 1)

    def down(self, value: float) -> float:
        """Return the distance from the top."""
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)


def chart(lines: Sequence[Series], x: Axis, y: Axis, title: str, width: int = 320, height: int = 220) -> Markup:
    """Return a line chart.

    Args:
        lines: drawn in this order.
        x: the horizontal axis.
        y: the vertical axis.
        title: the text for screen readers.
        width: SVG units; the page scales the chart.
        height: SVG units.
    """
    canvas = Canvas(x, y, width, height)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" class="chart">',
        *(_marks(canvas)),
        *(_line(canvas, line) for line in lines),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 numbers and escaped text only


def score_chart(lines: Sequence[Series], counted: str, last: int) -> Markup:
    """Return a chart of scores by a counter from 1 to ``last``, e.g. the epoch."""
    return chart(lines, Axis.counting(counted, last), Axis("score"), f"score by {counted}", width=400, height=230)


def _marks(canvas: Canvas) -> list[str]:
    bottom, right = canvas.height - BOTTOM, canvas.width - RIGHT
    parts = []
    for value in canvas.y.marks:
        at = canvas.down(value)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 3.5}" class="end">{value:g}</text>')
    for value in canvas.x.marks:
        parts.append(f'<text x="{canvas.across(value)}" y="{bottom + 13}" class="middle">{value:g}</text>')
    centre = (LEFT + right) / 2
    parts.append(f'<text x="{centre}" y="{canvas.height - 3}" class="middle name">{escape(canvas.x.label)}</text>')
    turned = f'transform="translate(9 {(TOP + bottom) / 2}) rotate(-90)"'
    parts.append(f'<text {turned} class="middle name">{escape(canvas.y.label)}</text>')
    return parts


def _line(canvas: Canvas, line: Series) -> str:
    if not line.points:
        return ""
    places = [(canvas.across(x), canvas.down(y)) for x, y in line.points]
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
    parts = []
    if line.filled:
        floor = canvas.down(canvas.y.low)
        parts.append(
            f'<path d="{path}L{places[-1][0]:g} {floor:g}L{places[0][0]:g} {floor:g}Z" class="area {line.style}"/>'
        )
    if len(places) > 1:
        parts.append(f'<path d="{path}" class="line {line.style}"/>')
    parts += [
        f'<circle cx="{x:g}" cy="{y:g}" r="{radius:.1f}" class="dot {line.style}"/>'
        for (x, y), radius in zip(places, line.dots, strict=False)
    ]
    return "".join(parts)


def envelope(recall: Sequence[float], precision: Sequence[float]) -> list[Point]:
    """Return the corners of the monotone precision envelope, a step line that starts at recall 0."""
    if not len(recall):
        return []
    highest = list(precision)
    for number in range(len(highest) - 2, -1, -1):
        highest[number] = max(highest[number], highest[number + 1])
    corners: list[Point] = [(0.0, highest[0])]
    for number, height in enumerate(highest):
        following = highest[number + 1] if number + 1 < len(highest) else 0.0
        if following != height:
            corners += [(recall[number], height), (recall[number], following)]
    return thinned(corners)


def thinned(points: list[Point], most: int = 240) -> list[Point]:
    """Return about ``most`` of the points, both ends included: more cannot be seen and make the page large."""
    if len(points) <= most:
        return points
    step = math.ceil(len(points) / most)
    return [*points[::step], points[-1]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round values between two numbers, for the ticks of an axis."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = min((s * magnitude for s in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]

"""Charts as small inline SVGs. Colours are the page's CSS classes, so a chart follows the page into the dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]

LEFT, RIGHT, TOP, BOTTOM = 34, 8, 8, 30


@dataclass(frozen=True)
class Line:
    """A line of a chart. ``style``: CSS classes; ``filled``: shade what lies below; ``dots``: radius of its points."""

    points: Sequence[Point]
    style: str
    filled: bool = False
    dots: Sequence[float] = ()


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high`` with a label and marked values."""

    label: str
    low: float = 0.0
    high: float = 1.0
    marks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)


@dataclass(frozen=True)
class Canvas:
    """Where values lie on a chart, in its own units."""

    x: Axis
    y: Axis
    width: int
    height: int

    def across(self, value: float) -> float:
        """Units from the left."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return round(LEFT + share * (self.width - LEFT - RIGHT), 1)

    def down(self, value: float) -> float:
        """Units from the top."""
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)


def chart(lines: Sequence[Line], x: Axis, y: Axis, title: str, width: int = 320, height: int = 220) -> Markup:
    """A line chart.

    Args:
        lines: drawn in this order.
        x: the horizontal axis.
        y: the vertical axis.
        title: what a screen reader says of it.
        width: units across; the page scales the chart to its place.
        height: units down.
    """
    canvas = Canvas(x, y, width, height)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" class="chart">',
        *(_marks(canvas)),
        *(_line(canvas, line) for line in lines),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 numbers and escaped text only


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


def _line(canvas: Canvas, line: Line) -> str:
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
    """The monotone precision envelope as corners of a step line from recall 0; only where it changes."""
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
    """At most about so many of the points, the ends among them: more cannot be seen and make the page heavy."""
    if len(points) <= most:
        return points
    step = math.ceil(len(points) / most)
    return [*points[::step], points[-1]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between two numbers, for an axis that does not run from 0 to 1."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = min((s * magnitude for s in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]

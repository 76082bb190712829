"""The picture of a film: its boxes, its heat map, and its classes as bars."""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from jobs.contract.names import STUDY_CLASSES
from jobs.nets.classifier.heat_map import Heat, on_film
from jobs.tools.predict_films.answers import FilmAnswer, Spread

FAINTEST: Final = 0.01  # lowest confidence of a box that is drawn; YOLO predicts hundreds below it
STRONGEST: Final = 6  # boxes drawn
OPAQUE: Final = 0.6  # of the heat map at its highest value
LEAST_HEAT: Final = 0.2  # value shown at full strength where a film's highest is below it
INK: Final = "#1b1f24"
BOX: Final = "#ffd166"
BAR: Final = "#4c78a8"


def draw(path: Path, answer: FilmAnswer, square: NDArray[np.uint8], heat: Heat | None) -> None:
    """Write the picture as PNG.

    Args:
        path: the file.
        answer: the film's answer.
        square: (S, S) the film, letterboxed.
        heat: (H, H) the heat map, letterboxed likewise; None leaves its panel out.
    """
    pixels = on_film(square, answer.width, answer.height)
    panels = 2 if heat is None else 3
    down = 4.4 * pixels.shape[0] / pixels.shape[1]
    figure = Figure(figsize=(4.5 * panels - 0.6, min(max(down, 3.2), 8.0) + 0.7), layout="constrained")
    figure.suptitle(f"{Path(answer.film).name}   {answer.width} x {answer.height}", fontsize=10, color=INK)
    columns = list(np.atleast_1d(figure.subplots(1, panels, width_ratios=[*[4.5] * (panels - 1), 3.9])))
    _show_boxes(columns[0], answer, pixels)
    if heat is not None:
        _show_heat(columns[1], pixels, on_film(heat, answer.width, answer.height))
    _show_bars(columns[-1], answer)
    figure.savefig(path, dpi=110)


def shown_boxes(answer: FilmAnswer) -> list[Any]:
    """Return the boxes that are drawn: the strongest, by falling confidence."""
    return [box for box in answer.boxes or () if box.confidence >= FAINTEST][:STRONGEST]


def _show_boxes(axes: Axes, answer: FilmAnswer, pixels: NDArray[Any]) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, answer.width, answer.height, 0))
    boxes = shown_boxes(answer)
    for box in boxes:
        width, height = box.xmax - box.xmin, box.ymax - box.ymin
        alpha = 0.35 + 0.65 * box.confidence
        axes.add_patch(Rectangle((box.xmin, box.ymin), width, height, fill=False, color=BOX, lw=1.6, alpha=alpha))
        axes.text(
            box.xmin, box.ymin, f" {box.confidence:.2f}", color=BOX, fontsize=8, va="bottom", alpha=max(alpha, 0.7)
        )
    if answer.boxes is None:
        title = "this run has no detector: no boxes"
    else:
        title = f"opacities: {len(boxes)} box{'es' * (len(boxes) != 1)} of confidence {FAINTEST} and more"
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_axis_off()


def _show_heat(axes: Axes, pixels: NDArray[Any], heat: NDArray[Any]) -> None:
    size = (pixels.shape[1], pixels.shape[0])
    whole = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    shown = whole / max(float(whole.max()), LEAST_HEAT)
    axes.imshow(shown, cmap="inferno", vmin=0, vmax=1, alpha=OPAQUE * shown)
    axes.set_title(f"heat map, highest value {whole.max():.2f}", fontsize=9, color=INK)
    axes.set_axis_off()


def _show_bars(axes: Axes, answer: FilmAnswer) -> None:
    """Bars of the classes; the line over each is the range over the folds' nets."""
    bars: dict[str, Spread] = {**(answer.classes or {}), "none": answer.none}
    names = [*reversed([name for name in (*STUDY_CLASSES, "none") if name in bars])]
    values = np.array([bars[name].probability for name in names])
    low, high = (np.array([getattr(bars[name], end) for name in names]) for end in ("low", "high"))
    axes.barh(names, values, color=BAR, height=0.62)
    axes.hlines(names, low, high, color=INK, lw=1.2)
    for number, (value, top) in enumerate(zip(values, high, strict=True)):
        axes.text(max(value, top) + 0.02, number, f"{value:.2f}", va="center", fontsize=8, color=INK)
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.5, 1])
    axes.tick_params(labelsize=8, length=0, colors=INK)
    axes.set_title("probability, and its range over folds", fontsize=9, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)

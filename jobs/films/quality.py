"""The quality page of a prepared dataset: films of each class with their boxes, findings, and histograms."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.names import STUDY_CLASSES
from jobs.films.letterbox import Letterbox
from jobs.runtime.pages import page_template

SHOWN: Final = 8  # films per class
CELL: Final = 224  # pixels per side of a film on the page
AMBER: Final = (0, 190, 255)  # BGR


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram."""

    name: str
    count: int
    share: float  # length relative to the longest bar


def sample(rows: pd.DataFrame) -> dict[str, list[int]]:
    """Select the row numbers of the first few films of each class, or of all films of a test set.

    Ids are random, so the first rows are a random sample.
    """
    if rows["study_class"].isna().all():
        return {"films": list(range(min(len(rows), 3 * SHOWN)))}
    return {name: list(np.flatnonzero(rows["study_class"] == name)[:SHOWN]) for name in STUDY_CLASSES}


def quality_sheet(
    name: str, rows: pd.DataFrame, squares: dict[int, NDArray[np.uint8]], findings: dict[str, Any]
) -> str:
    """Render the page as self-contained HTML.

    Args:
        name: name of the source.
        rows: the index.
        squares: letterboxed films of any size by row number, for all rows that ``sample`` selects.
        findings: the fields of ``prepare.indexing.Findings``.
    """
    shown = {
        title: [(rows["image"].iloc[n], len(rows["boxes"].iloc[n]), _picture(rows.iloc[n], squares[n])) for n in chosen]
        for title, chosen in sample(rows).items()
    }
    histograms = {
        "films a class": bars(rows["study_class"].fillna("no label")),
        "boxes a film": bars(rows["boxes"].map(len)),
        "transfer syntax": bars(rows["transfer_syntax"].str.split(r"[,(]", regex=True).str[0].str.strip()),
        "photometric interpretation": bars(rows["photometric"]),
        "bits stored": bars(rows["bits_stored"]),
        "longer side, pixels": bars(_steps(rows[["width", "height"]].max(axis=1))),
        "height over width": bars((rows["height"] / rows["width"]).round(1)),
        "window or lookup table": bars(rows["windowed"].map({True: "yes", False: "no"})),
        "studies a patient": bars(rows.groupby("patient")["study"].nunique()),
        "films a study": bars(rows.groupby("study")["image"].count()),
        "films a fold": bars(rows["fold"]),
    }
    page = page_template("jobs.films", "quality.html.j2")
    counts = {key: rows[key].nunique() for key in ("image", "study", "patient")}
    return page.render(name=name, counts=counts, shown=shown, histograms=histograms, findings=findings)


def bars(values: "pd.Series[Any]") -> Sequence[Bar]:
    """Count how often each value occurs, in the order of the values."""
    counts = values.value_counts().sort_index()
    return [Bar(str(name), int(count), float(count / counts.max())) for name, count in counts.items()]


def _steps(pixels: "pd.Series[int]") -> "pd.Series[Any]":
    """Round sizes down to about eight steps."""
    step = max(int(pixels.max()) // 8 // 50 * 50, 50)
    return pixels // step * step


def _picture(row: "pd.Series[Any]", square: NDArray[np.uint8]) -> str:
    """Draw a film with its boxes and return it as a data URL."""
    grey: Any = cv2.resize(square, (CELL, CELL), interpolation=cv2.INTER_AREA)
    film = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for box in Letterbox(int(row["width"]), int(row["height"]), CELL).to_pack(np.array(row["boxes"])):
        left, top, right, bottom = (round(float(side)) for side in box)
        cv2.rectangle(film, (left, top), (right, bottom), AMBER, 1)
    _, data = cv2.imencode(".webp", film, [cv2.IMWRITE_WEBP_QUALITY, 85])
    return f"data:image/webp;base64,{base64.b64encode(data.tobytes()).decode()}"

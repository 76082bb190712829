"""Films of the report's gallery."""

from collections.abc import Sequence
from typing import Any

from jobs.evaluate.gallery import GalleryFilm


def film_on_page(film: GalleryFilm, pixels: str) -> dict[str, Any]:
    """Return a film with its class probabilities and boxes, true and predicted, in pixels of the picture."""
    top = next(iter(film.probabilities.items()), None)
    return {
        "image": film.image,
        "pixels": pixels,
        "width": film.width,
        "height": film.height,
        "study_class": film.study_class,
        "agreement": f"{film.agreement:.2f}",
        "none": f"{film.none:.2f}",
        "probabilities": [(name, round(100 * share, 1)) for name, share in film.probabilities.items()],
        "top": f"{top[0]} {top[1]:.2f}" if top else "",
        "truth": [_corners(box) for box in film.truth],
        "boxes": [
            {
                **_corners(predicted.box),
                "style": "correct" if predicted.correct else "false",
                "confidence": f"{predicted.confidence:.2f}",
                "opacity": round(0.4 + 0.6 * predicted.confidence, 2),
                # The confidence of a correct box is at its top, of a false one at its bottom: they often overlap.
                "left": round(100 * predicted.box[0] / film.width, 1),
                "top": round(100 * predicted.box[1 if predicted.correct else 3] / film.height, 1),
            }
            for predicted in sorted(film.boxes, key=lambda predicted: (predicted.correct, predicted.confidence))
        ],
    }


def _corners(box: Sequence[float]) -> dict[str, float]:
    return {
        "x": round(box[0], 1),
        "y": round(box[1], 1),
        "w": round(box[2] - box[0], 1),
        "h": round(box[3] - box[1], 1),
    }

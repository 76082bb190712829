"""Weighted boxes fusion against ensemble-boxes on the same boxes, one thread, in one run.

No model has two boxes in a cluster, so both must agree; the greatest difference is printed beside the ratio.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np
from ensemble_boxes import weighted_boxes_fusion

from jobs.scoring.fusion import FilmBoxes, fuse

FILMS, MODELS, IOU, FLOOR = 60, 10, 0.6, 1e-4


def detectors(each: int, seed: int = 1) -> list[FilmBoxes]:
    """Every model sees most of ``each`` places of a grid in every film, a little displaced."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(each)))
    row, column = np.divmod(np.arange(each), side)
    corner = np.stack([column, row], axis=1) / side + 0.1 / side
    places = np.hstack([corner, corner + 0.8 / side])
    models = []
    for _ in range(MODELS):
        film, place = np.nonzero(rng.random((FILMS, each)) < 0.8)
        box = places[place] + rng.normal(0, 0.02 / side, (len(film), 4))
        models.append(FilmBoxes(film, box, rng.uniform(0.001, 1, len(film))))
    return models


def theirs(models: list[FilmBoxes]) -> FilmBoxes:
    fused = []
    for film in range(FILMS):
        of_film = [one.film == film for one in models]
        box, confidence, _ = weighted_boxes_fusion(
            [one.box[mask].tolist() for one, mask in zip(models, of_film, strict=True)],
            [one.confidence[mask].tolist() for one, mask in zip(models, of_film, strict=True)],
            [[0] * int(mask.sum()) for mask in of_film],
            iou_thr=IOU,
            skip_box_thr=FLOOR,
        )
        fused.append((np.full(len(box), film), box, confidence))
    return FilmBoxes(*(np.concatenate(part) for part in zip(*fused, strict=True)))


def main() -> None:
    print(f"{FILMS} films, {MODELS} models, one thread, processor time a film")
    for each in (20, 100, 300):
        models = detectors(each)
        fuse(models, [1.0] * MODELS, IOU, FLOOR)  # compiled before it is timed
        times = []
        for _ in range(9):
            start = time.process_time()
            ours = fuse(models, [1.0] * MODELS, IOU, FLOOR)
            times.append(time.process_time() - start)
        start = time.process_time()
        reference = theirs(models)
        mine, peer = (seconds / FILMS * 1e3 for seconds in (np.median(times), time.process_time() - start))
        apart = float(np.abs(np.sort(ours.confidence) - np.sort(reference.confidence)).max())
        print(
            f"  {each:3} boxes a model: ours {mine:7.3f} ms, ensemble-boxes {peer:8.2f} ms, ratio {peer / mine:4.0f}x, "
            f"confidences differ by at most {apart:.0e}"
        )


if __name__ == "__main__":
    main()

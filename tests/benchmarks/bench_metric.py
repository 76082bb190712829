"""The metric against faster-coco-eval on the same flat arrays, one thread, in one run.

The peer is restricted to the one overlap that counts and lifted from its 100 boxes a film. Converting the arrays to
what each side wants is part of the time. Figures differ a little by definition: the peer interpolates at 101 recall
points and lets a detection take the best ground truth that is still free.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import io
import time
from collections.abc import Callable

import numpy as np

from jobs.contract.names import ALL_CLASSES
from jobs.scoring import metric
from jobs.scoring.statistics.intervals import bootstrap

FILMS, BOXES = 6000, 8


def films_and_boxes(films: int, each: int, seed: int = 1) -> tuple[metric.Truth, metric.Detections]:
    """Ground truth of two boxes a film on average, and ``each`` detections a film scattered around them."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 800, (films * 2, 2))
    box = np.hstack([corner, corner + rng.uniform(50, 200, corner.shape)])
    truth = metric.Truth(films, rng.integers(0, films, len(box)), rng.integers(0, 6, len(box)), box)
    source = rng.integers(0, len(box), films * each)
    moved = box[source] + rng.normal(0, 15, (len(source), 4))
    order = np.argsort(truth.unit[source], kind="stable")
    confidence = np.round(rng.random(len(source)), 4)  # some ties, as real files have
    return truth, metric.Detections(
        truth.unit[source][order],
        truth.label[source][order],
        confidence,
        np.sort(moved[order].reshape(-1, 2, 2), 1).reshape(-1, 4),
    )


def ours(truth: metric.Truth, detections: metric.Detections) -> float:
    return metric.mean_ap(metric.average_precisions(metric.match(truth, detections)))


def peer(truth: metric.Truth, detections: metric.Detections) -> float:
    from faster_coco_eval import COCO, COCOeval_faster

    def rows(unit: np.ndarray, label: np.ndarray, box: np.ndarray) -> list[dict[str, object]]:
        size = box[:, 2:] - box[:, :2]
        joined = np.hstack([box[:, :2], size]).tolist()
        return [
            {"image_id": u, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": 0, "id": i + 1}
            for i, (u, c, b) in enumerate(zip(unit.tolist(), label.tolist(), joined, strict=True))
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(
            {
                "images": [{"id": i, "width": 1100, "height": 1100} for i in range(truth.units)],
                "categories": [{"id": i, "name": name} for i, name in enumerate(ALL_CLASSES)],
                "annotations": rows(truth.unit, truth.label, truth.box),
            }
        )
        found = rows(detections.unit, detections.label, detections.box)
        for row, confidence in zip(found, detections.confidence.tolist(), strict=True):
            row["score"] = confidence
        evaluation = COCOeval_faster(known, known.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [1000]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(np.mean(evaluation.eval["precision"][0, :, :, 0, 0].mean(axis=0)))


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median processor time of ``work``."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def main() -> None:
    truth, detections = films_and_boxes(FILMS, BOXES)
    mine, theirs = ours(truth, detections), peer(truth, detections)
    fast = seconds(lambda: ours(truth, detections), 15)
    slow = seconds(lambda: peer(truth, detections), 3)
    print(f"{FILMS} films x {BOXES} boxes, six classes, one thread, processor time")
    print(f"  jobs.scoring.metric   {fast * 1e3:8.1f} ms   mAP {mine:.4f}")
    print(f"  faster-coco-eval      {slow * 1e3:8.1f} ms   mAP {theirs:.4f}   ratio {slow / fast:.0f}x")
    table = metric.match(truth, detections)
    patient = np.random.default_rng(2).integers(0, FILMS // 2, FILMS)
    thousand = seconds(lambda: bootstrap(table, patient, resamples=1000, seed=1), 1)
    print(f"  1,000 resamples of {FILMS // 2} patients: {thousand:.2f} s, {thousand:.2f} ms a score")


if __name__ == "__main__":
    main()

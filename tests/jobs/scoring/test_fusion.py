"""Weighted boxes fusion: like ensemble-boxes where that is right, and right where it is not."""

from typing import Any

import numpy as np
import pytest
from ensemble_boxes import weighted_boxes_fusion
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.scoring.fusion import FilmBoxes, fuse

IOU, FLOOR = 0.6, 1e-4
# Six places that do not overlap, so that no model has two boxes in a cluster.
PLACES = np.array([[x, y, x + 0.2, y + 0.25] for x in (0.05, 0.35, 0.65) for y in (0.1, 0.6)])


def film_boxes(film, box, confidence):
    return FilmBoxes(
        np.asarray(film, dtype=np.int64),
        np.asarray(box, dtype=np.float64).reshape(-1, 4),
        np.asarray(confidence, dtype=np.float64),
    )


def scattered(seed, models, films):
    """Each model sees some of six places in each film, a little displaced."""
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(models):
        film, place = np.nonzero(rng.random((films, len(PLACES))) < 0.7)
        box = PLACES[place] + rng.normal(0, 0.004, (len(film), 4))
        seen.append(film_boxes(film, box, rng.uniform(0.01, 1, len(film))))
    return seen


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 2, 0.5]])
def test_fuses_as_the_reference_does_where_no_model_has_two_boxes_in_a_cluster(weights):
    models = scattered(3, 3, 5)
    fused = fuse(models, weights, IOU, FLOOR)
    for film in range(5):
        of_film = [one.film == film for one in models]
        box, confidence, _ = weighted_boxes_fusion(
            [one.box[mask].tolist() for one, mask in zip(models, of_film, strict=True)],
            [one.confidence[mask].tolist() for one, mask in zip(models, of_film, strict=True)],
            [[0] * int(mask.sum()) for mask in of_film],
            weights=weights,
            iou_thr=IOU,
            skip_box_thr=FLOOR,
        )
        ours = fused.film == film
        np.testing.assert_allclose(fused.confidence[ours], confidence, atol=1e-6)
        np.testing.assert_allclose(fused.box[ours], box, atol=1e-6)


def test_a_box_sent_twice_by_one_model_is_no_second_model():
    once = [film_boxes([0], PLACES[:1], [0.8]), film_boxes([], [], [])]
    twice = [film_boxes([0, 0], PLACES[[0, 0]], [0.8, 0.8]), film_boxes([], [], [])]
    assert fuse(twice, [1, 1], IOU, FLOOR).confidence.tolist() == [0.4]
    assert fuse(once, [1, 1], IOU, FLOOR).confidence.tolist() == [0.4]
    reference = weighted_boxes_fusion([PLACES[[0, 0]].tolist(), []], [[0.8, 0.8], []], [[0, 0], []], iou_thr=IOU)
    assert reference[1].tolist() == pytest.approx([0.8]), "the flaw this module exists for"


corner = st.floats(0, 500, allow_nan=False)
side = st.floats(1, 500, allow_nan=False)
rows = st.lists(
    st.tuples(st.integers(0, 2), st.tuples(corner, corner, side, side), st.floats(0, 1, allow_nan=False)), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.data())
def test_confidences_stay_within_one_boxes_within_their_films_hull_and_copies_change_nothing(seen, data):
    models = [
        film_boxes([r[0] for r in one], [(x, y, x + w, y + h) for _, (x, y, w, h), _ in one], [r[2] for r in one])
        for one in seen
    ]
    weights = data.draw(st.lists(st.floats(0.1, 3), min_size=len(models), max_size=len(models)))
    fused = fuse(models, weights, IOU, FLOOR)
    assert ((fused.confidence > 0) & (fused.confidence <= 1)).all()
    everything = film_boxes(*(np.concatenate([getattr(m, f) for m in models]) for f in ("film", "box", "confidence")))
    for film in np.unique(fused.film):
        hull, inside = everything.box[everything.film == film], fused.box[fused.film == film]
        assert (inside >= hull.min(axis=0) - 1e-6).all()
        assert (inside <= hull.max(axis=0) + 1e-6).all()
    doubled = [film_boxes(np.tile(m.film, 2), np.tile(m.box, (2, 1)), np.tile(m.confidence, 2)) for m in models]
    again = fuse(doubled, weights, IOU, FLOOR)
    np.testing.assert_array_equal(again.confidence, fused.confidence)
    np.testing.assert_array_equal(again.box, fused.box)


def test_one_detectors_distinct_boxes_pass_unchanged_by_falling_confidence():
    fused = fuse([film_boxes([1, 0, 1], PLACES[:3], [0.2, 0.3, 0.9])], [2.0], IOU, FLOOR)
    assert fused.film.tolist() == [0, 1, 1]
    np.testing.assert_allclose(fused.confidence, [0.3, 0.9, 0.2])
    np.testing.assert_allclose(fused.box, PLACES[[1, 2, 0]])


def test_boxes_below_the_floor_are_left_out():
    fused = fuse([film_boxes([0, 0], PLACES[:2], [0.5, 0.00009])], [1.0], IOU, FLOOR)
    assert fused.confidence.tolist() == [0.5]


def test_nothing_fuses_to_nothing():
    assert len(fuse([film_boxes([], [], [])], [1.0], IOU, FLOOR).film) == 0


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.6, 0.95])
def test_the_quick_search_finds_what_comparing_with_every_cluster_finds(iou):
    rng = np.random.default_rng(7)
    models = []
    for _ in range(4):
        corner, side = rng.uniform(0, 300, (150, 2)), rng.uniform(1, 200, (150, 2))
        box = np.round(np.hstack([corner, corner + side]))  # whole pixels, so that overlaps and corners are often equal
        models.append(film_boxes(rng.integers(0, 3, 150), box, np.round(rng.uniform(0, 1, 150), 2)))
    fused = fuse(models, [1, 2, 0.5, 1], iou, 0.1)
    for film in range(3):
        plain = fused_plainly(models, [1, 2, 0.5, 1], iou, 0.1, film)
        ours = np.column_stack([fused.confidence, fused.box])[fused.film == film]
        assert sorted(ours.tolist()) == sorted(plain)


def fused_plainly(models, weights, iou, floor, film):
    """What ``fuse`` does, a box at a time; returns [confidence, corners] of each cluster of a film."""
    every = [
        (c * w, number, box)
        for number, (one, w) in enumerate(zip(models, weights, strict=True))
        for f, box, c in zip(one.film, one.box, one.confidence, strict=True)
        if f == film and c >= floor
    ]
    clusters: list[dict[str, Any]] = []
    for weighted, number, box in sorted(every, key=lambda one: -one[0]):
        overlaps = [overlap(box, cluster["box"]) for cluster in clusters]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] <= iou:
            clusters.append({"models": set(), "sum": 0.0, "moment": np.zeros(4)})
            best = len(clusters) - 1
        cluster = clusters[best]
        if number in cluster["models"]:
            continue
        cluster["models"].add(number)
        cluster["sum"] += weighted
        cluster["moment"] = cluster["moment"] + weighted * box
        cluster["box"] = cluster["moment"] / cluster["sum"]
    return [[min(one["sum"] / sum(weights), 1.0), *one["box"]] for one in clusters]


def overlap(one, other):
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (areas[0] + areas[1] - width * height)

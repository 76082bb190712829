import numpy as np
import pytest
import torch
import torchvision  # noqa: F401 - ultralytics uses it only if it is already imported
from ultralytics.utils.nms import non_max_suppression

from jobs.scoring.suppression import suppress


def random_candidates(count: int, seed: int) -> np.ndarray:
    """Boxes around a few places, many of them overlapping, with tied confidences and some below any limit."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(20, 100, (8, 2))[rng.integers(0, 8, count)]
    centres, sides = places + rng.normal(0, 6, (count, 2)), rng.uniform(4, 50, (count, 2))
    confidence = np.round(rng.beta(0.3, 2, count), 2)
    return np.hstack([centres, sides, confidence[:, None]]).T.astype(np.float32)


@pytest.mark.parametrize(("iou", "most"), [(0.6, 300), (0.3, 300), (0.7, 20), (0.0, 300), (1.0, 5000)])
def test_boxes_are_those_of_ultralytics_bit_for_bit(iou: float, most: int):
    for seed in range(20):
        candidates = random_candidates(count=1500, seed=seed)
        given = torch.from_numpy(candidates)[None]
        expected = non_max_suppression(given, 1e-4, iou, max_det=most, max_time_img=3600.0)[0]
        kept = suppress(candidates, 1e-4, iou, most)
        assert len(kept) > 0
        assert np.array_equal(kept, expected[:, :5].numpy())


def test_nothing_is_kept_of_nothing():
    assert suppress(random_candidates(count=0, seed=0), 1e-4, 0.6, 300).shape == (0, 5)
    assert suppress(random_candidates(count=9, seed=0), 1.0, 0.6, 300).shape == (0, 5)

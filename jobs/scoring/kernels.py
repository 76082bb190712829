"""The metric's compiled inner loops: match detections with ground truths, and rank the detections of each class."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

INDEX = 28  # bits of a position; the rest of 64 bits is for the confidence
POSITION = np.uint64((1 << INDEX) - 1)
DIGIT = 12  # bits per pass of the radix sort
BUCKETS = 1 << DIGIT


@njit(cache=True, nogil=True)
def claims(truth_key: Ints, truth_box: Floats, key: Ints, box: Floats, keys: int) -> Ints:
    """Find the ground truth that each detection claims: of those with its key, the highest IoU; ties go to the first.

    Args:
        truth_key: (t,) unit and class of each ground truth, encoded as a number in [0, keys).
        truth_box: (t, 4) corners.
        key: (n,) the same of each detection.
        box: (n, 4) corners.
        keys: number of keys.

    Returns:
        (n,) positions among the ground truths; -1 where the IoU is not above 0.5.
    """
    start = np.zeros(keys + 1, np.int64)
    for t in range(len(truth_key)):
        start[truth_key[t] + 1] += 1
    for k in range(keys):
        start[k + 1] += start[k]
    grouped = np.empty(len(truth_key), np.int64)
    filled = start[:keys].copy()
    for t in range(len(truth_key)):
        grouped[filled[truth_key[t]]] = t
        filled[truth_key[t]] += 1
    claim = np.full(len(key), -1, np.int64)
    for i in range(len(key)):
        best = 0.0
        area = max(box[i, 2] - box[i, 0], 0.0) * max(box[i, 3] - box[i, 1], 0.0)
        for place in range(start[key[i]], start[key[i] + 1]):
            t = grouped[place]
            width = min(box[i, 2], truth_box[t, 2]) - max(box[i, 0], truth_box[t, 0])
            height = min(box[i, 3], truth_box[t, 3]) - max(box[i, 1], truth_box[t, 1])
            if width <= 0.0 or height <= 0.0:
                continue
            overlap = width * height
            other = max(truth_box[t, 2] - truth_box[t, 0], 0.0) * max(truth_box[t, 3] - truth_box[t, 1], 0.0)
            union = area + other - overlap
            if union <= 0.0:
                continue
            iou = overlap / union
            if iou > best:
                best = iou
                # Compare twice the overlap with the union: exact where a division would round to 0.5.
                claim[i] = t if 2 * overlap > union else -1
    return claim


@njit(cache=True, nogil=True)
def rank(label: Ints, confidence: Floats, classes: int) -> tuple[Ints, Ints]:
    """Sort detections by class, then by descending confidence; ties keep their input order.

    A radix sort on the confidences, then on the classes: stable, and linear in the number of detections.

    Returns:
        Their positions (n,) in this order, and the start of each class in it (classes + 1,).

    Raises:
        ValueError: there are 2 ** 28 detections or more.
    """
    n = len(label)
    if n >= 1 << INDEX:
        raise ValueError("too many detections to rank")
    starts = np.zeros(classes + 1, np.int64)
    for i in range(n):
        starts[label[i] + 1] += 1
    for c in range(classes):
        starts[c + 1] += starts[c]
    filled, order = starts[:classes].copy(), np.empty(n, np.int64)
    for packed in _by_confidence(confidence):
        found = np.int64(packed & POSITION)
        order[filled[label[found]]] = found
        filled[label[found]] += 1
    return order, starts


@njit(cache=True, nogil=True)
def _by_confidence(confidence: Floats) -> NDArray[np.uint64]:
    """Sort confidences (n,) in descending order; ties keep their input order. Returns as :func:`_by_leading_bits`."""
    packed = _by_leading_bits(confidence)
    n, start = len(packed), 0
    for end in range(1, n + 1):
        if end < n and (packed[end] ^ packed[start]) & ~POSITION == 0:
            continue
        if end - start > 1:
            own = confidence[(packed[start:end] & POSITION).astype(np.int64)]
            if np.any(own[:-1] < own[1:]):  # they differ in later bits
                packed[start:end] = packed[start:end][np.argsort(-own, kind="mergesort")]
        start = end
    return packed


@njit(cache=True, nogil=True)
def _by_leading_bits(confidence: Floats) -> NDArray[np.uint64]:
    """Sort confidences (n,) in descending order by their leading 36 bits: sign, exponent and 24 bits of the fraction.

    Returns:
        (n,) these bits, inverted so that they ascend, and behind them the position in the input.
    """
    n = len(confidence)
    bits, packed, other = confidence.view(np.uint64), np.empty(n, np.uint64), np.empty(n, np.uint64)
    top = np.uint64(1) << np.uint64(63)
    for i in range(n):
        negative = bits[i] & top and confidence[i] != 0  # -0 ranks as 0 does
        packed[i] = ((bits[i] if negative else ~(bits[i] | top)) & ~POSITION) | np.uint64(i)
    counts, mask = np.empty(BUCKETS, np.int64), np.uint64(BUCKETS - 1)
    for done in range(INDEX, 64, DIGIT):
        shift = np.uint64(done)
        counts[:] = 0
        for i in range(n):
            counts[(packed[i] >> shift) & mask] += 1
        if n and counts[(packed[0] >> shift) & mask] == n:
            continue
        total = 0
        for bucket in range(BUCKETS):
            count = counts[bucket]
            counts[bucket] = total
            total += count
        for i in range(n):
            bucket = (packed[i] >> shift) & mask
            other[counts[bucket]] = packed[i]
            counts[bucket] += 1
        packed, other = other, packed
    return packed


@njit(cache=True, nogil=True)
def hits(claim: Ints, order: Ints, truths: int) -> NDArray[np.bool_]:
    """Return (n,) whether each detection of a ranking is a true positive: the first to claim its ground truth."""
    taken = np.zeros(truths, np.bool_)
    right = np.zeros(len(order), np.bool_)
    for place in range(len(order)):
        wanted = claim[order[place]]
        if wanted >= 0 and not taken[wanted]:
            taken[wanted] = True
            right[place] = True
    return right

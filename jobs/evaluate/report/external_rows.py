"""The report's part about a labelled test set beside out-of-fold predictions, as text."""

from typing import Any

from jobs.evaluate.external import Compared, External
from jobs.evaluate.formatting import DASH, number
from jobs.evaluate.results import Results
from jobs.scoring.statistics.intervals import Interval


def external_rows(external: External, results: Results) -> dict[str, Any]:
    """Return the comparison as text for the page."""
    first = next(iter(external.figures.values()), None)
    overlap = external.overlap
    return {
        "run": external.run,
        "figures": [_row(name, one, DASH, DASH) for name, one in external.figures.items()],
        "classes": [
            _row(name, one, *(f"{share:.0%}" for share in external.shares[name]))
            for name, one in external.classes.items()
        ],
        "verdict": _verdict(next(iter(external.figures)), first) if first else "",
        "calibration": [
            (name, f"{results.reliability[name].error:.3f}", f"{curve.error:.3f}")
            for name, curve in external.reliability.items()
            if name in results.reliability
        ],
        "patients": (int(results.evaluation_set.patient.max()) + 1, external.patients),
        "unlabelled": external.unlabelled,
        "overlap": overlap.sentence() if overlap.left_out else "",
        "left_out": sorted({name for one in external.figures.values() for name in one.left_out}),
    }


def _verdict(name: str, compared: Compared) -> str:
    gain = compared.difference
    if gain is None:
        return f"{name} is {number(compared.external)} here and {number(compared.out_of_fold)} out of fold."
    worse = "lower" if gain.value < 0 else "higher"
    around = f"95 % interval {gain.interval.low:+.3f} to {gain.interval.high:+.3f}"
    verdict = "beyond noise" if gain.beyond_noise else "within noise"
    return (
        f"{name} is {number(compared.external)} here and {number(compared.out_of_fold)} out of fold: "
        f"{abs(gain.value):.3f} {worse} ({around}), {verdict}."
    )


def _row(name: str, compared: Compared, share: str, share_out_of_fold: str) -> dict[str, Any]:
    gain = compared.difference
    return {
        "name": name,
        "external": _score(compared.external, compared.external_interval),
        "out_of_fold": _score(compared.out_of_fold, compared.out_of_fold_interval),
        "difference": f"{gain.value:+.3f}" if gain else DASH,
        "around": f"{gain.interval.low:+.3f} to {gain.interval.high:+.3f}" if gain else "",
        "beyond_noise": bool(gain and gain.beyond_noise),
        "share": share,
        "share_out_of_fold": share_out_of_fold,
    }


def _score(score: float, around: Interval | None) -> tuple[str, str]:
    return number(score), f"{number(around.low)} – {number(around.high)}" if around else ""

"""What an ensemble's search found, in words: for its log and for the report."""

from collections.abc import Mapping, Sequence
from typing import Any


def weights_of(found: Mapping[str, Any], models: Sequence[str]) -> dict[str, float]:
    """Return each model's weight in the settings that all patients chose; 1 where the search left it alone."""
    chosen = found["settings"].get("all", found["settings"])["weights"]
    return {name: chosen.get(name, 1.0) for name in models}


def gain_text(found: Mapping[str, Any]) -> str:
    """Return nested minus plain with its interval, empty if it was not computed."""
    gain = found["gain"]
    interval = f"(95 % interval {gain['low']:+.4f} to {gain['high']:+.4f})" if gain else ""
    return f"{gain['difference']:+.4f} {interval}" if gain else ""


def cost_text(found: Mapping[str, Any], models: Sequence[str]) -> str:
    """Return the seconds of inference per film of the nets that a submission needs, and of all of them.

    Empty if they were not measured when the films were predicted.
    """
    seconds = found.get("seconds_a_film")
    if not seconds:
        return ""
    kept = sum(seconds[name] for name, weight in weights_of(found, models).items() if weight)
    return f"{kept:.3g} s of inference per film with the nets kept, {sum(seconds.values()):.3g} s with all"


def search_text(found: Mapping[str, Any], models: Sequence[str]) -> str:
    """Return a search in one line for the log."""
    scores = ", ".join(f"{name} {found[name]:.4f}" for name in ("plain", "naive", "nested"))
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in weights_of(found, models).items())
    parts = [f"{found['figure']} {scores}", f"gain {gain_text(found)}", f"weights {weights}", cost_text(found, models)]
    return "; ".join(part for part in parts if part.strip() and part != "gain ")

"""Hashes of settings: the names of work, of runs and of uploads."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel


def digest(value: Any) -> str:
    """SHA-256 in hex of a JSON value, independent of the order of keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def settings(model: BaseModel, *, only: Collection[str] | None = None, without: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a model that differ from their defaults, as JSON: what a hash is made from.

    A field that is added later, at its default, therefore changes no hash and retrains nothing. A default must not
    change once released, or old and new results would share a name: add a field, or raise the stage's version.

    Args:
        model: any model of the contract; nested models lose their defaults likewise.
        only: the fields to include; all where not given.
        without: fields to leave out.
    """
    include = None if only is None else set(only)
    return model.model_dump(mode="json", include=include, exclude=set(without), exclude_defaults=True)

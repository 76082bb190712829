"""The table of what films' tags say of patients and machines, and the groups of films that it gives."""

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from jobs.contract.names import Stage
from jobs.runtime.context import Context
from jobs.runtime.work import fetch

DESCRIPTIONS: Final = "descriptions.parquet"
AGES: Final = (0, 18, 40, 60, 80)  # years at which a band begins
OTHER: Final = "other"
MOST_GROUPS: Final = 8  # of an attribute; rarer values are one group


def read_descriptions(context: Context) -> pd.DataFrame | None:
    """Return the table of the run's films; None where an older version prepared them."""
    digest = context.prepared.works.get("descriptions")
    if digest is None:
        return None
    _, done = context.open_work(Stage.PREPARE, digest)
    return pd.read_parquet(fetch(context.store, done.outputs[DESCRIPTIONS], context.cache))


def groups(descriptions: pd.DataFrame) -> pd.DataFrame:
    """Return each film's group by attribute, null where it is not known; index: image.

    Ages become bands. Of an attribute with many values the rarer ones become one group.
    """
    table = descriptions.set_index("image")
    ages = table["age"].astype(float)
    band = np.digitize(ages, AGES) - 1
    names = [f"{low}–{high - 1}" for low, high in pairwise(AGES)] + [f"{AGES[-1]}+"]
    return pd.DataFrame(
        {
            "sex": table["sex"].map({"F": "female", "M": "male", "O": OTHER}),
            "age": pd.Series([names[n] for n in band], table.index, dtype=object).where(ages.notna(), None),
            "view": _frequent(table["view"]),
            "modality": _frequent(table["modality"]),
            "manufacturer": _frequent(table["manufacturer"]),
        }
    )


def _frequent(values: "pd.Series[str]") -> "pd.Series[str]":
    kept = set(values.value_counts().index[:MOST_GROUPS])
    return values.where(values.isna() | values.isin(kept), OTHER)

"""Proof that ``overlap`` of a model decides about a start that has seen validation films."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Model
from jobs.contract.names import Stage
from jobs.contract.stored.records import TrainedFold
from jobs.films.lineage.overlap import Overlap, Validation
from jobs.films.lineage.seen import Seen
from jobs.nets.starts import Start


def overlap(base: Model) -> Any:
    """A check that one value ends the run and the other does not."""

    def check(folder: Path) -> None:
        found = [Overlap(Seen("index", 0, frozenset(), "run:wide/net fold 0"), {"film": "film is the same film as it"})]
        context = SimpleNamespace(context=SimpleNamespace(store=None))
        validation = SimpleNamespace(overlaps=lambda seen: found, fold=0, crossings=context)
        trained = TrainedFold(stage=Stage.TRAIN_CLASSIFIER, weights="", index="")
        with patch("jobs.nets.starts.seen_by"):
            for value in ("drop", "refuse"):
                start = Start(base.model_copy(update={"overlap": value}), "it", cast(Validation, validation))
                if value == "drop":
                    assert start.overlaps(trained) == found
                else:
                    with pytest.raises(BadInput, match="has trained on 1 films that fold 0 validates on"):
                        start.overlaps(trained)

    return check

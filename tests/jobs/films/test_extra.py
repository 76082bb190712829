"""Films beside the folds, joined to a dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.contract.names import STUDY_CLASSES
from jobs.films.dataset import Dataset
from jobs.films.extra import Beside, JoinedFilms
from jobs.films.loader import Films
from tests.jobs.nets.classifier.films import write_films


@pytest.fixture
def own(tmp_path: Path) -> Dataset:
    (tmp_path / "own").mkdir()
    return write_films(tmp_path / "own", studies=12)


@pytest.fixture
def others(tmp_path: Path) -> Dataset:
    (tmp_path / "others").mkdir()
    return write_films(tmp_path / "others", studies=8)


def labels(others: Dataset, folder: Path) -> Path:
    """Of a teacher that is sure of the first film, keeps not the second, and knows the boxes of all but the third."""
    count = len(others.index)
    table = pd.DataFrame({"image": others.index["image"], "kept": True, "certain": True})
    table[list(STUDY_CLASSES)] = np.tile([0.1, 0.2, 0.6, 0.1], (count, 1))
    table.loc[0, list(STUDY_CLASSES)] = [1.0, 0.0, 0.0, 0.0]
    table.loc[1, "kept"] = False
    table.loc[2, "certain"] = False
    boxes = [[] for _ in range(count)]
    boxes[3] = [[10.0, 10.0, 30.0, 30.0]]
    table["boxes"] = pd.Series(boxes, dtype=object)
    table.to_parquet(folder / "labels.parquet")
    return folder / "labels.parquet"


def test_every_fold_trains_on_them_and_none_on_what_it_validates_or_leaves_out(own: Dataset, others: Dataset):
    left_out = tuple(others.index["image"][:2])
    joined = JoinedFilms(own, [Beside(others, None, left_out)])
    for fold in range(3):
        chosen = joined.index[joined.training(fold, ())]
        mine, theirs = chosen[~chosen["beside"]], chosen[chosen["beside"]]
        assert set(mine["fold"]) == {0, 1, 2} - {fold}
        assert set(theirs["image"]) == set(others.index["image"]) - set(left_out)


def test_the_pack_holds_ones_own_films_first_and_the_others_where_the_rows_say(own: Dataset, others: Dataset):
    joined = JoinedFilms(own, [Beside(others, None, ())])
    pack = joined.pack(64)
    np.testing.assert_array_equal(pack[3], own.pack(64)[3])
    np.testing.assert_array_equal(pack[len(own.index) + 5], others.pack(64)[5])
    films = Films.of(joined.index, joined.training(0, ()), 64)
    assert len(pack) == len(joined.index)
    assert int(films.rows.max()) == len(pack) - 1
    assert films.soft is None


def test_a_teachers_labels_replace_those_of_the_films(own: Dataset, others: Dataset, tmp_path: Path):
    joined = JoinedFilms(own, [Beside(others, labels(others, tmp_path), ())])
    films = Films.of(joined.index, joined.training(0, ()), 64)
    first = len(own.index)
    where = {int(row) - first: number for number, row in enumerate(films.rows) if row >= first}
    assert 1 not in where, "a study that is not kept"
    assert films.soft is not None
    assert films.soft[where[0]].tolist() == [1, 0, 0, 0]
    assert films.soft[where[3]] == pytest.approx([0.1, 0.2, 0.6, 0.1])
    assert STUDY_CLASSES[films.study[where[3]]] == "indeterminate"
    assert [bool(films.counted[where[number]]) for number in (0, 2, 3)] == [True, False, True]
    assert len(films.boxes[where[3]]) == 1
    one = int(np.flatnonzero(films.rows < first)[0])
    assert films.soft[one].max() == 1
    assert films.example(where[3], joined.pack(64), None, None, 0)[1].dtype == np.float32

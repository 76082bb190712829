"""A prepare whose patients keep the folds of a split: exported from a run, imported under a name."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from jobs import prepare
from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.experiment import Folds
from jobs.films.phantom.files import write_phantom
from jobs.films.prepared import fetch_dataset
from jobs.runtime.context import Context
from jobs.runtime.store import Store
from jobs.tools.split import export_split, import_split
from tests.jobs.attempts import RUN
from tests.jobs.prepare.conftest import Make, works
from tests.jobs.prepare.test_growth import add_films

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")


def frozen(given: Context, name: str = "hospital", **folds: int) -> Context:
    """The same prepare with the folds of a split."""
    experiment = given.experiment.model_copy(update={"folds": Folds(frozen=name, **{"count": 3, **folds})})
    return replace(given, experiment=experiment)


def folds_of(given: Context) -> dict[str, int]:
    index = fetch_dataset(given, ()).index
    return dict(zip(index["image"], index["fold"], strict=True))


@pytest.mark.slow
def test_an_exported_split_gives_the_same_dataset_so_that_nothing_is_trained_again(
    context: Make, phantom: Path, tmp_path: Path, s3_store: Store, capsys: pytest.CaptureFixture[str]
):
    prepare.run(given := context(phantom))
    before, dataset = works(s3_store), fetch_dataset(given, ()).hash
    export_split(RUN, tmp_path / "split.csv")
    table = pd.read_csv(tmp_path / "split.csv", dtype=str)
    assert list(table) == ["patient", "study", "fold"]
    assert table["patient"].nunique() == 8
    import_split(tmp_path / "split.csv", "hospital")
    assert "hospital keeps 8 patients in 3 folds: --set folds.frozen=hospital" in capsys.readouterr().out
    prepare.run(given := frozen(context(phantom), seed=7))
    assert works(s3_store)["index"] != before["index"]
    # Trainings are named by the dataset's hash: tests/jobs/train_classifier, "what a training depends on".
    assert fetch_dataset(given, ()).hash == dataset
    assert works(s3_store)["pack-32"] == before["pack-32"]


@pytest.mark.slow
def test_new_patients_are_dealt_and_old_ones_stay(
    context: Make, films: Path, tmp_path: Path, s3_store: Store, caplog: pytest.LogCaptureFixture
):
    prepare.run(given := context(films))
    old = folds_of(given)
    export_split(RUN, tmp_path / "split.csv")
    import_split(tmp_path / "split.csv", "hospital")
    add_films(films, write_phantom(tmp_path / "other", patients=8, seed=9, size=96), 4)
    with caplog.at_level("INFO"):
        prepare.run(given := frozen(context(films)))
    now = folds_of(given)
    assert len(now) == len(old) + 4
    assert {image: now[image] for image in old} == old
    assert "8 patients keep their folds" in caplog.text
    export_split(RUN, tmp_path / "grown.csv")
    import_split(tmp_path / "grown.csv", "hospital")
    index = works(s3_store)["index"]
    prepare.run(given := frozen(context(films)))
    assert folds_of(given) == now
    assert works(s3_store)["index"] != index, "the index depends on the content of the split, not on its name alone"


@pytest.mark.slow
def test_a_test_set_needs_no_split_and_has_none_to_export(
    context: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    test = write_phantom(tmp_path / "test", patients=3, seed=9, size=96, test=True)
    monkeypatch.setenv(environment.FROM_RUN, "other-run")
    prepare.run(frozen(context(test), "not-there"))  # a test set has no folds to keep
    with pytest.raises(BadInput, match="predicts a test set, which has no folds"):
        export_split(RUN, tmp_path / "split.csv")


def test_prepare_refuses_a_split_before_it_reads_a_film(context: Make, tmp_path: Path, s3_store: Store):
    with pytest.raises(BadInput, match="has no split hospital"):
        prepare.run(frozen(context("/nowhere/at/all")))
    assert not list(s3_store.list("work/"))

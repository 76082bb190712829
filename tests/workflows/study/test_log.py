"""The study log of synthetic runs: collected values and written tables."""

import csv
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from jobs.contract.exits import Exit
from jobs.contract.experiment import Detector, Evolve
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.contract.task import TaskId
from tests.workflows.study.stored import DATASET, ENGINE, store_run, studied
from workflows.study import wording
from workflows.study.collect import collect
from workflows.study.comparison import Comparison, compare_with_parents
from workflows.study.log import write_log
from workflows.study.page import page
from workflows.study.table import as_csv, as_markdown, records

STAGES = [{"lr": 1e-3, "epochs": 12}, {"lr": 1e-4, "epochs": 12}]


@pytest.fixture
def entries(s3_store):
    """A parent, a child that is better, one that failed in a fold, one that never ran."""
    parent = store_run(s3_store, studied("study-05", folds=2), [0.60, 0.5, 0.95])
    child = studied("child", parent.run, remark="a | b", classifiers={"b3": {"stages": STAGES, "dropout": 0.5}})
    store_run(s3_store, child, [0.70, 0.7, 0.72])
    failed = store_run(s3_store, studied("failed", parent.run, seed=5))
    said = Heartbeat(
        stage=Stage.TRAIN_CLASSIFIER, model="b3", fold=1, phase="failed", attempt=0, at=datetime.now(UTC),
        started=datetime.now(UTC), message="The loss became nan", exit_code=78,
    )  # fmt: skip
    s3_store.put(layout.heartbeat(failed.run, TaskId(Stage.TRAIN_CLASSIFIER, "b3", 1)), said.model_dump_json().encode())
    never = studied("never", parent.run, seed=6)
    return [collect(s3_store, one) for one in (parent, child, failed, never)]


@pytest.fixture
def comparisons(entries):
    parent, child = entries[:2]
    return {child.run: Comparison(parent.run, "map4", 0.1, 0.02, 0.18, 0.012, True, 0.03, 48, (0, 1))}


def test_a_run_is_collected_with_its_folds_costs_and_overfitting(entries):
    parent = entries[0]
    assert (parent.figure, parent.score, parent.low, parent.high) == ("map4", 0.60, 0.5, pytest.approx(0.7))
    first, second = parent.folds
    assert (first.score, first.outlying, second.outlying) == (0.5, False, True)
    assert first.overfitting == (pytest.approx(0.2),), "at the best epoch, as the recipe selects it"
    assert (first.seconds, first.device, parent.device_seconds) == (1800, "NVIDIA H100", 3600)
    assert (parent.dataset, parent.engine) == (DATASET, ENGINE)


def test_the_epoch_that_counts_is_the_one_that_overfitting_is_measured_at(s3_store):
    last = studied("last", classifiers={"b3": {"inference": {"select": "last"}}})
    assert collect(s3_store, store_run(s3_store, last, [0.5, 0.5, 0.5])).folds[0].overfitting == (pytest.approx(0.35),)


def test_the_authors_score_stands_beside_ours_only_in_the_same_figure(s3_store, entries):
    assert [fold.author for fold in entries[0].folds] == [pytest.approx(0.5445), pytest.approx(0.525)]
    assert entries[1].folds[0].author is None
    films = store_run(s3_store, studied("study-11", seed=3), [0.8, 0.8, 0.8], figure="film2")
    assert collect(s3_store, films).folds[0].author == pytest.approx(0.85545)
    other = store_run(s3_store, studied("study-11", seed=4), [0.8, 0.8, 0.8], figure="map4")
    assert collect(s3_store, other).folds[0].author is None


def test_runs_without_a_score_say_why(s3_store, entries):
    failed, never = entries[2:]
    assert failed.score is None
    assert failed.folds[1].why == "b3-fold-1 failed: The loss became nan"
    assert failed.folds[0].why == failed.folds[1].why, "the run ended with it"
    assert [fold.why for fold in never.folds] == ["has not run", "has not run"]
    killed = collect(s3_store, never.studied, "failed, exit code 137: killed")
    assert killed.folds[0].why == "failed, exit code 137: killed"
    begun = collect(s3_store, store_run(s3_store, studied("begun")))
    assert begun.folds[0].why == "unfinished: b3-fold-0 is waiting"


def test_a_lost_fold_has_a_row_and_stands_beside_the_score(s3_store):
    entry = collect(s3_store, store_run(s3_store, studied("degraded"), [0.5, 0.5]))
    assert [fold.score for fold in entry.folds] == [0.5, None]
    assert entry.folds[1].why.startswith("lost")
    assert "| degraded | map4 | 0.5000 without fold 1 |" in as_markdown([entry], {})
    assert "without fold 1" in page([entry], {})


def test_csv_has_a_row_an_experiment_and_fold_with_numbers_as_they_are(entries, comparisons):
    rows = list(csv.DictReader(io.StringIO(as_csv(records(entries, comparisons)))))
    assert [(row["experiment"], row["fold"], row["state"]) for row in rows] == [
        (name, fold, state)
        for name, state in (("study-05", "scored"), ("child", "scored"), ("failed", "failed"), ("never", "failed"))
        for fold in "01"
    ]
    child = rows[2]
    assert child["learning_rate"] == "1e-3 + 1e-4"
    assert child["net"] == "tf_efficientnet_b3 + aux loss + 0.5 dropout"
    assert (child["score"], child["unit"], child["pooled_score"]) == ("0.7", "map4", "0.7")
    assert (child["difference"], child["p"], child["seed_range"]) == ("0.1", "0.012", "0.03")
    assert (child["tta_adds"], child["size_adds"]) == ("0.003000", "")
    assert child["verdict"] == "more than noise"
    assert (child["device"], child["device_hours"], child["code"]) == ("NVIDIA H100", "0.5", "0123456789abcdef-dirty")
    assert "The loss became nan" in rows[5]["remark"]
    assert rows[5]["score"] == ""


def test_a_learning_rate_is_said_to_be_evolved_where_a_search_only_starts_from_it():
    assert wording.learning_rate(Detector(epochs=5)) == "1e-2"
    assert wording.learning_rate(Detector(epochs=5, evolve=Evolve(epochs=10))) == "1e-2 evolved"


def test_markdown_tables_are_well_formed(entries, comparisons):
    text = as_markdown(entries, comparisons)
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.M)
    assert len(tables) == 2
    for one, rows in zip(tables, (8, 4), strict=True):
        lines = one.strip().split("\n")
        assert len(lines) == rows + 2
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert set(lines[1]) <= set("|- ")
    assert r"a \| b" in text
    assert "| study-05 (v12) |" in text
    assert "stands out from the other folds" in text
    assert "| TTA +0.003 |" in text
    assert (
        "| child | map4 | 0.7000 | 0.600 – 0.800 | study-05 | +0.1000 | +0.020 to +0.180 | 48 patients of folds 0, 1 | "
        in text
    )


class Balanced(HTMLParser):
    """Notes tags that are closed out of order."""

    VOID = ("meta", "link", "br", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_well_formed_and_needs_nothing_but_itself(s3_store, entries, comparisons):
    named = studied("evil", title="<script>alert(1)</script>", seed=9)
    text = page([*entries, collect(s3_store, store_run(s3_store, named, [0.8518, 0.4, 0.6]))], comparisons)
    assert re.findall(r"(?:src|href)=|url\(|@import|<script|https?://", text) == []
    parser = Balanced()
    parser.feed(text)
    assert (parser.open, parser.wrong) == ([], [])
    assert "<b>0.852</b> <span>0.752 – 0.952</span>" in text
    assert text.count('class="dot better"') == 1
    assert text.count('class="author"') == 2
    assert text.count('class="seeds"') == 1
    assert text.count("fold odd") == 1
    assert "failed has no score:</b> b3-fold-1 failed: The loss became nan" in text


def test_a_page_without_any_score_still_says_why(entries):
    text = page(entries[2:], {})
    assert "has not run" in text
    assert "What each change did" not in text


@pytest.mark.slow
def test_parents_without_score_and_runs_that_cannot_be_compared_say_so(entries, monkeypatch):
    parent, child, failed, _ = entries
    assert compare_with_parents([failed, parent]) == {}, "neither has both a score and a parent"
    orphan = compare_with_parents([child])
    assert orphan[child.run].why == f"{parent.run} has no score"
    refused = compare_with_parents([parent, child])[child.run]
    assert refused.value is None
    assert f"Run {parent.run} has no submission" in refused.why
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert compare_with_parents([parent, child])[child.run].why == "not compared: pip install cxrfold[jobs]"


def test_the_log_is_written_beside_whatever_became_of_the_runs(s3_store, entries, tmp_path):
    said: list[str] = []
    write_log([entries[3].studied], s3_store, {entries[3].run: Exit.BUG}, tmp_path / "log", said.append)
    assert [line.rsplit("/", 1)[-1] for line in said] == ["study.md", "study.csv", "study.html"]
    assert "failed, exit code 70: a bug" in (tmp_path / "log" / "study.md").read_text()

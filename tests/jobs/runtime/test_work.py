from pathlib import Path

from jobs.contract import layout
from jobs.contract.names import Stage
from jobs.contract.records import Cost
from jobs.runtime.store import Store
from jobs.runtime.work import Work, fetch

COST = Cost(seconds=1.0, peak_memory=1)


def written(folder: Path, text: str) -> Path:
    path = folder / f"{text}.txt"
    path.write_text(text)
    return path


def test_work_is_named_by_what_goes_in(s3_store: Store):
    one = Work(s3_store, Stage.ENSEMBLE, "submission", {"a": 1, "b": 2})
    same = Work(s3_store, Stage.ENSEMBLE, "submission", {"b": 2, "a": 1})
    other = Work(s3_store, Stage.ENSEMBLE, "submission", {"a": 1, "b": 3})
    assert one.prefix == same.prefix != other.prefix


def test_finished_work_is_found_and_fetched(s3_store: Store, tmp_path: Path):
    work = Work(s3_store, Stage.ENSEMBLE, "submission", {})
    assert work.done() is None
    work.finish({"a.txt": written(tmp_path, "hello")}, {"map6": 0.5}, COST)
    done = Work(s3_store, Stage.ENSEMBLE, "submission", {}).done()
    assert done is not None
    assert done.scores == {"map6": 0.5}
    path = fetch(s3_store, done.outputs["a.txt"], tmp_path / "cache")
    assert path.read_text() == "hello"
    again, same = Work.finished(s3_store, Stage.ENSEMBLE, work.digest)
    assert (again.prefix, same) == (work.prefix, done)


def test_the_first_of_two_writers_counts_and_the_other_leaves_nothing(s3_store: Store, tmp_path: Path):
    work = Work(s3_store, Stage.ENSEMBLE, "submission", {})
    first = work.finish({"a.txt": written(tmp_path, "first")}, {}, COST)
    second = work.finish({"a.txt": written(tmp_path, "second")}, {}, COST)
    assert second == first
    assert {entry.key for entry in s3_store.list()} == {layout.done(work.prefix), first.outputs["a.txt"].key}


def test_work_whose_output_is_gone_is_not_done(s3_store: Store, tmp_path: Path):
    work = Work(s3_store, Stage.ENSEMBLE, "submission", {})
    done = work.finish({"a.txt": written(tmp_path, "x")}, {}, COST)
    s3_store.delete([done.outputs["a.txt"].key])
    assert work.done() is None
    assert s3_store.size(layout.done(work.prefix)) is None

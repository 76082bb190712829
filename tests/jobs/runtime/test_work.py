import os
from pathlib import Path

import pytest

from jobs.contract.exits import BadInput, Damaged, OtherVersion
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.records import Cost, Done
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


def submission(store: Store, folder: Path, text: str, fold: int = 0) -> tuple[Work, Done]:
    work = Work(store, Stage.ENSEMBLE, "submission", {"fold": fold})
    return work, work.finish({"a.txt": written(folder, text)}, {}, COST)


@pytest.mark.parametrize("damage", [b"", b'{"stage": "ens', b"[]", b"{}", b"[" * 100_000])
def test_a_damaged_record_is_removed_and_the_work_is_done_again(damage: bytes, s3_store: Store, tmp_path: Path):
    work, done = submission(s3_store, tmp_path, "x")
    for read in (work.done, lambda: Work.finished(s3_store, work.stage, work.digest)):
        s3_store.put(layout.done(work.prefix), damage)
        if read == work.done:
            assert work.done() is None
        else:
            with pytest.raises(Damaged, match=r"DONE.json is damaged.* It was removed, so that ensemble does the work"):
                read()
        assert s3_store.size(layout.done(work.prefix)) is None
    assert submission(s3_store, tmp_path, "x")[1].outputs == done.outputs


def test_a_record_of_another_format_is_refused_and_left(s3_store: Store, tmp_path: Path):
    work, done = submission(s3_store, tmp_path, "x")
    newer = done.model_dump_json().replace('"format":1', '"format":2').replace('"kind"', '"sort"').encode()
    s3_store.put(layout.done(work.prefix), newer)
    for read in (work.done, lambda: Work.finished(s3_store, work.stage, work.digest)):
        with pytest.raises(OtherVersion, match=r"DONE.json was written in format 2 by revision .* reads format 1"):
            read()
    with pytest.raises(OtherVersion):
        submission(s3_store, tmp_path, "y")
    assert s3_store.get(layout.done(work.prefix)) == newer


def test_a_record_in_the_place_of_other_work_is_not_believed(s3_store: Store, tmp_path: Path):
    first, _ = submission(s3_store, tmp_path, "x", fold=0)
    second, _ = submission(s3_store, tmp_path, "y", fold=1)
    s3_store.put(layout.done(first.prefix), s3_store.get(layout.done(second.prefix)))
    assert first.done() is None
    s3_store.put(layout.done(first.prefix), s3_store.get(layout.done(second.prefix)))
    with pytest.raises(Damaged, match="is the record of other work"):
        Work.finished(s3_store, first.stage, first.digest)


def test_the_record_of_a_writer_that_was_first_and_whose_outputs_are_gone_is_replaced(s3_store: Store, tmp_path: Path):
    _, first = submission(s3_store, tmp_path, "first")
    s3_store.delete([first.outputs["a.txt"].key])
    work, second = submission(s3_store, tmp_path, "second")
    assert work.done() == second != first


@pytest.mark.parametrize("damage", ["other bytes", "gone"])
def test_a_damaged_output_is_removed_with_its_record_and_made_again(damage: str, s3_store: Store, tmp_path: Path):
    work, done = submission(s3_store, tmp_path, "hello")
    output = done.outputs["a.txt"]
    if damage == "gone":
        s3_store.delete([output.key])
    else:
        s3_store.put(output.key, b"HELLO")
    kind, says = {
        "other bytes": (Damaged, r"a.txt is damaged.* It was removed with its work's DONE.json"),
        "gone": (BadInput, r"a.txt is missing. Its work's DONE.json was removed"),  # nothing is left to try again with
    }[damage]
    with pytest.raises(kind, match=rf"{says}; ensemble makes it again"):
        fetch(s3_store, output, tmp_path / "cache")
    assert list(s3_store.list()) == []
    assert work.done() is None
    again = submission(s3_store, tmp_path, "hello")[1]
    assert fetch(s3_store, again.outputs["a.txt"], tmp_path / "cache").read_text() == "hello"


def test_a_changed_file_in_the_cache_is_fetched_again_and_an_unchanged_one_is_not_hashed(
    s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = submission(s3_store, tmp_path, "hello")[1].outputs["a.txt"]
    path = fetch(s3_store, output, tmp_path / "cache")
    before = path.stat()
    path.write_text("HELLO")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the same size, and as old as before
    assert fetch(s3_store, output, tmp_path / "cache").read_text() == "hello"
    (path.parent / f".{path.name}.verified").unlink()
    assert fetch(s3_store, output, tmp_path / "cache").read_text() == "hello"
    monkeypatch.setattr("jobs.runtime.work.sha256_of", lambda path: pytest.fail("hashed again"))
    assert fetch(s3_store, output, tmp_path / "cache").read_text() == "hello"

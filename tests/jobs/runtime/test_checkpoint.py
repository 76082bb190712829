import threading
import time
from pathlib import Path

import pytest
import torch

from jobs.contract.exits import BadInput, OtherVersion, ServiceAway
from jobs.contract.stored.records import Output
from jobs.runtime.checkpoint import Checkpoints
from jobs.runtime.store import Store

PREFIX = "work/train-classifier/abc"


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3,), value), "n": torch.tensor(7)}


def store(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(tensors(step), {"step": step})
    checkpoints.flush()


def stored_step(s3_store: Store) -> int | None:
    loaded = Checkpoints(s3_store, PREFIX, {}).load()
    return loaded[1]["step"] if loaded else None


def test_a_checkpoint_comes_back_bit_for_bit(s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {"a": 1})
    checkpoints.save(tensors(0.1), {"step": 3, "rng": [1, 2]})
    checkpoints.flush()
    loaded = Checkpoints(s3_store, PREFIX, {"a": 1}).load()
    assert loaded is not None
    assert torch.equal(loaded[0]["w"], tensors(0.1)["w"])
    assert loaded[1] == {"step": 3, "rng": [1, 2]}


def test_the_last_two_are_kept(s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    for step in range(6):
        store(checkpoints, step)
    assert len([entry for entry in s3_store.list(PREFIX) if entry.key.endswith(".safetensors")]) == 2
    assert stored_step(s3_store) == 5


def test_another_configuration_is_refused(s3_store: Store):
    store(Checkpoints(s3_store, PREFIX, {"lr": 1}), 1)
    with pytest.raises(BadInput, match="another configuration"):
        Checkpoints(s3_store, PREFIX, {"lr": 2}).load()


@pytest.mark.parametrize("damage", ["cut", "gone", "other bytes"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage: str, s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    store(checkpoints, 1)
    store(checkpoints, 2)
    key = checkpoints.kept["latest"].key
    data = s3_store.get(key)
    if damage == "gone":
        s3_store.delete([key])
    else:
        s3_store.put(key, data[:-4] if damage == "cut" else data[:-4] + b"\1\2\3\4")
    loaded = Checkpoints(s3_store, PREFIX, {}).load()
    assert loaded is not None
    assert loaded[1]["step"] == 1


@pytest.mark.parametrize(
    "header", [b"", (2**62).to_bytes(8, "little"), b"\x02" + bytes(7) + b"{}", b"\x04" + bytes(7) + b"{{{{"]
)
def test_a_checkpoint_with_a_malformed_header_is_passed_over(header: bytes, s3_store: Store, tmp_path: Path):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    store(checkpoints, 1)
    store(checkpoints, 2)
    (tmp_path / "x").write_bytes(header)
    output = s3_store.upload(tmp_path / "x", checkpoints.kept["latest"].key)
    pointer = s3_store.get_json(f"{PREFIX}/checkpoints/latest.json")
    s3_store.put_json(f"{PREFIX}/checkpoints/latest.json", {**pointer, "latest": output.model_dump()})
    assert stored_step(s3_store) == 1


def test_two_writers_of_one_training_leave_each_other_a_readable_checkpoint(s3_store: Store):
    one, two = Checkpoints(s3_store, PREFIX, {}), Checkpoints(s3_store, PREFIX, {})
    for step in range(4):
        store(one, step)
        store(two, step)
        assert stored_step(s3_store) == step
    store(one, 9)
    assert stored_step(s3_store) == 9


def test_a_resumed_training_takes_over_and_clear_removes_all(s3_store: Store):
    store(Checkpoints(s3_store, PREFIX, {}), 1)
    second = Checkpoints(s3_store, PREFIX, {})
    second.load()
    store(second, 2)
    assert stored_step(s3_store) == 2
    second.clear()
    assert list(s3_store.list(PREFIX)) == []
    assert second.load() is None


class Gate:
    """Holds all uploads until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.reached, upload = threading.Event(), threading.Event(), Store.upload

        def held(store: Store, path: Path, key: str) -> Output:
            self.reached.set()
            assert self.open.wait(20)
            return upload(store, path, key)

        monkeypatch.setattr(Store, "upload", held)


def test_training_goes_on_while_a_checkpoint_is_written_and_changes_nothing_of_it(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
):
    gate, checkpoints, weights = Gate(monkeypatch), Checkpoints(s3_store, PREFIX, {}), tensors(1)
    checkpoints.save(weights, {"step": 1})
    assert gate.reached.wait(20)
    weights["w"].fill_(9)
    assert not checkpoints.due
    checkpoints.save(weights, {"step": 2})
    assert stored_step(s3_store) is None
    gate.open.set()
    checkpoints._settle()
    loaded = Checkpoints(s3_store, PREFIX, {}).load()
    assert loaded is not None
    assert (loaded[1]["step"], loaded[0]["w"][0]) == (1, 1)
    checkpoints.flush()
    assert stored_step(s3_store) == 2


def test_between_two_writes_there_is_at_least_the_interval_but_a_flush_waits_for_none(s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {}, interval=3600)
    for step in range(3):
        checkpoints.save(tensors(step), {"step": step})
    assert stored_step(s3_store) is None
    checkpoints.flush()
    assert stored_step(s3_store) == 2
    assert len([entry for entry in s3_store.list(PREFIX) if entry.key.endswith(".safetensors")]) == 1


def test_a_process_that_dies_while_it_writes_leaves_the_checkpoint_before(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    store(checkpoints, 1)

    def killed(*arguments: object) -> None:
        raise SystemExit("killed")

    monkeypatch.setattr(Store, "put_json", killed)
    checkpoints.save(tensors(2), {"step": 2})
    with pytest.raises(SystemExit):
        checkpoints.flush()
    monkeypatch.undo()
    assert stored_step(s3_store) == 1


def test_a_store_that_is_away_in_the_background_is_told_at_the_next_save(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
):
    def away(store: Store, path: Path, key: str) -> Output:
        raise ServiceAway("did not answer")

    monkeypatch.setattr(Store, "upload", away)
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    checkpoints.save(tensors(1), {"step": 1})
    while not checkpoints.due:
        time.sleep(0.01)
    with pytest.raises(ServiceAway):
        checkpoints.save(tensors(2), {"step": 2})


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"identity": 1'])
def test_a_damaged_pointer_means_that_the_training_starts_again(damage: bytes, s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    store(checkpoints, 1)
    s3_store.put(f"{checkpoints.prefix}/latest.json", damage)
    again = Checkpoints(s3_store, PREFIX, {})
    assert again.load() is None
    again.clear()
    assert list(s3_store.list(f"{PREFIX}/checkpoints")) == []


def test_a_pointer_of_another_format_is_refused_and_left(s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    store(checkpoints, 1)
    key = f"{checkpoints.prefix}/latest.json"
    s3_store.put_json(key, {**s3_store.get_json(key), "format": 2})
    before = {entry.key: entry.etag for entry in s3_store.list()}
    with pytest.raises(OtherVersion, match="format 2; this code"):
        Checkpoints(s3_store, PREFIX, {}).load()
    assert {entry.key: entry.etag for entry in s3_store.list()} == before


def test_a_writer_that_is_done_leaves_the_checkpoints_of_another_that_trains(s3_store: Store):
    one, two = Checkpoints(s3_store, PREFIX, {}), Checkpoints(s3_store, PREFIX, {})
    assert one.load() is two.load() is None
    store(one, 3)
    store(two, 2)
    one.clear()
    assert stored_step(s3_store) == 2
    two.clear()
    assert list(s3_store.list(PREFIX)) == []

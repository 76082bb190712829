import pytest
import torch

from jobs.contract.exits import BadInput
from jobs.runtime.checkpoint import Checkpoints
from jobs.runtime.store import Store

PREFIX = "work/train-classifier/abc"


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3,), value), "n": torch.tensor(7)}


def test_a_checkpoint_comes_back_bit_for_bit(s3_store: Store):
    Checkpoints(s3_store, PREFIX, {"a": 1}).save(tensors(0.1), {"step": 3, "rng": [1, 2]})
    loaded = Checkpoints(s3_store, PREFIX, {"a": 1}).load()
    assert loaded is not None
    assert torch.equal(loaded[0]["w"], tensors(0.1)["w"])
    assert loaded[1] == {"step": 3, "rng": [1, 2]}


def test_the_last_two_and_the_best_are_kept(s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    for step in range(6):
        checkpoints.save(tensors(step), {"step": step}, best=step == 1)
    assert len([entry for entry in s3_store.list(PREFIX) if entry.key.endswith(".safetensors")]) == 3
    best, latest = checkpoints.load_best(), Checkpoints(s3_store, PREFIX, {}).load()
    assert best is not None
    assert latest is not None
    assert (best[1]["step"], latest[1]["step"]) == (1, 5)


def test_another_configuration_is_refused(s3_store: Store):
    Checkpoints(s3_store, PREFIX, {"lr": 1}).save(tensors(1), {})
    with pytest.raises(BadInput, match="another configuration"):
        Checkpoints(s3_store, PREFIX, {"lr": 2}).load()


@pytest.mark.parametrize("damage", ["cut", "gone", "other bytes"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage: str, s3_store: Store):
    checkpoints = Checkpoints(s3_store, PREFIX, {})
    checkpoints.save(tensors(1), {"step": 1})
    checkpoints.save(tensors(2), {"step": 2})
    key = checkpoints.kept["latest"].key
    data = s3_store.get(key)
    if damage == "gone":
        s3_store.delete([key])
    else:
        s3_store.put(key, data[:-4] if damage == "cut" else data[:-4] + b"\1\2\3\4")
    loaded = Checkpoints(s3_store, PREFIX, {}).load()
    assert loaded is not None
    assert loaded[1]["step"] == 1


def test_two_writers_of_one_training_leave_each_other_a_readable_checkpoint(s3_store: Store):
    one, two = Checkpoints(s3_store, PREFIX, {}), Checkpoints(s3_store, PREFIX, {})
    for step in range(4):
        one.save(tensors(step), {"step": step})
        two.save(tensors(step), {"step": step})
        assert Checkpoints(s3_store, PREFIX, {}).load() is not None
    one.save(tensors(9), {"step": 9})
    loaded = Checkpoints(s3_store, PREFIX, {}).load()
    assert loaded is not None
    assert loaded[1]["step"] == 9


def test_a_resumed_training_takes_over_and_clear_removes_all(s3_store: Store):
    Checkpoints(s3_store, PREFIX, {}).save(tensors(1), {"step": 1}, best=True)
    second = Checkpoints(s3_store, PREFIX, {})
    second.load()
    second.save(tensors(2), {"step": 2})
    best = second.load_best()
    assert best is not None
    assert best[1]["step"] == 1
    second.clear()
    assert list(s3_store.list(PREFIX)) == []
    assert second.load() is None

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.needs.pretrained import PromotedRecord
from jobs.contract.stored import layout
from jobs.contract.stored.digest import digest
from jobs.contract.stored.records import Cost, Done, Heartbeat, Output, Reference, TrainedFold
from jobs.contract.task import TaskId
from jobs.runtime.store import Store
from workflows.runs.purge import plan_purge, purge
from workflows.runs.run import Run

NOW = datetime(2025, 11, 23, tzinfo=UTC)


def work(store: Store, stage: Stage, inputs: dict[str, Any], outputs: dict[str, Output] | None = None) -> str:
    """A finished piece of work; its digest."""
    named = digest({"stage": stage, "inputs": inputs})
    prefix = layout.work(stage, named)
    own = Output(key=layout.output(prefix, "0" * 64, "out"), sha256="0" * 64, size=3)
    store.put(own.key, b"out")
    done = Done(
        stage=stage, kind="weights", digest=named, inputs=inputs, outputs=outputs or {"out": own}, scores={},
        cost=Cost(seconds=1, peak_memory=1), revision="v1", versions={}, created=NOW,
    )  # fmt: skip
    store.put_json(layout.done(prefix), done.model_dump(mode="json"))
    return named


def _task(stage: Stage, fold: int | None = None) -> TaskId:
    return TaskId(stage, "b", fold or 0) if stage.per_fold else TaskId(stage)


def refer(store: Store, run: str, stage: Stage, *digests: str, fold: int | None = None) -> None:
    """A run's reference to works."""
    works = {f"kind-{number}": one for number, one in enumerate(digests)}
    reference = Reference(run=run, stage=stage, fold=fold, works=works, scores={}, attempt=0, created=NOW)
    store.put_json(layout.reference(run, _task(stage, fold)), reference.model_dump(mode="json"))
    store.put_json(layout.run_experiment(run), {"name": run})


def beat(store: Store, run: str, stage: Stage, *works: str, at: datetime = NOW, phase: str = "training") -> None:
    """A task's sign of life, with the work that it makes or reads, and the same as the record of its attempt."""
    said = Heartbeat(stage=stage, phase=phase, attempt=0, at=at, started=NOW, works=works).model_dump(mode="json")
    store.put_json(layout.heartbeat(run, _task(stage)), said)
    store.put_json(layout.attempt_record(layout.attempt(run, _task(stage), NOW, 0)), said)
    store.put_json(layout.run_experiment(run), {"name": run})


def a_run(name: str, store: Store) -> Run:
    run = Run(name, None, None, [])
    run.__dict__["store"], run.__dict__["spec"] = store, None
    return run


def keys(store: Store) -> set[str]:
    return {entry.key for entry in store.list()}


def test_work_that_another_run_refers_to_stays(s3_store: Store) -> None:
    shared = work(s3_store, Stage.PREPARE, {"films": 1})
    mine = work(s3_store, Stage.TRAIN_CLASSIFIER, {"seed": 1})
    theirs = work(s3_store, Stage.TRAIN_CLASSIFIER, {"seed": 2})
    refer(s3_store, "mine", Stage.PREPARE, shared)
    refer(s3_store, "mine", Stage.TRAIN_CLASSIFIER, mine, fold=0)
    refer(s3_store, "theirs", Stage.PREPARE, shared)
    refer(s3_store, "theirs", Stage.TRAIN_CLASSIFIER, theirs, fold=0)
    before = keys(s3_store)
    plan = plan_purge(a_run("mine", s3_store))
    assert keys(s3_store) == before, "looking removes nothing"
    assert (plan.work, plan.shared) == ((layout.work(Stage.TRAIN_CLASSIFIER, mine),), 1)
    purge(a_run("mine", s3_store), plan)
    gone = before - keys(s3_store)
    assert all(
        key.startswith((layout.run("mine") + "/", layout.work(Stage.TRAIN_CLASSIFIER, mine) + "/")) for key in gone
    )
    assert not [key for key in keys(s3_store) if key.startswith(layout.run("mine") + "/")]


def test_a_run_whose_name_begins_like_another_is_left_alone(s3_store: Store) -> None:
    refer(s3_store, "demo", Stage.PREPARE, work(s3_store, Stage.PREPARE, {"films": 1}))
    refer(s3_store, "demo-2", Stage.PREPARE, other := work(s3_store, Stage.PREPARE, {"films": 2}))
    run = a_run("demo", s3_store)
    purge(run, plan_purge(run))
    assert s3_store.size(layout.reference("demo-2", _task(Stage.PREPARE))) is not None
    assert s3_store.size(layout.done(layout.work(Stage.PREPARE, other))) is not None


def test_weights_that_another_runs_predictions_were_made_from_stay(s3_store: Store) -> None:
    weights = work(s3_store, Stage.TRAIN_CLASSIFIER, {"seed": 1})
    predicted = work(s3_store, Stage.PREDICT, {"models": [{"weights": weights}]})
    refer(s3_store, "mine", Stage.TRAIN_CLASSIFIER, weights, fold=0)
    refer(s3_store, "on-test", Stage.PREDICT, predicted, fold=0)
    assert plan_purge(a_run("mine", s3_store)).work == ()


def test_work_whose_objects_stand_for_another_runs_work_stays(s3_store: Store) -> None:
    weights = work(s3_store, Stage.TRAIN_DETECTOR, {"seed": 1})
    done = Done.model_validate(s3_store.get_json(layout.done(layout.work(Stage.TRAIN_DETECTOR, weights))))
    other = work(s3_store, Stage.TRAIN_DETECTOR, {"seed": 1, "patience": 3}, outputs=done.outputs)
    refer(s3_store, "mine", Stage.TRAIN_DETECTOR, weights, fold=0)
    refer(s3_store, "theirs", Stage.TRAIN_DETECTOR, other, fold=0)
    assert plan_purge(a_run("mine", s3_store)).work == ()


def test_a_shard_goes_with_the_last_pack_that_holds_it(s3_store: Store) -> None:
    shared, former, grown = (work(s3_store, Stage.PREPARE, {"films": name}) for name in ("ab", "cd", "cde"))

    def pack(*shards: str) -> str:
        pixels = {
            f"shard-{number:03d}.npy": Done.model_validate(
                s3_store.get_json(layout.done(layout.work(Stage.PREPARE, shard)))
            ).outputs["out"]
            for number, shard in enumerate(shards)
        }
        return work(s3_store, Stage.PREPARE, {"pack": shards}, outputs=pixels)

    for run, shards in (("before", (shared, former)), ("after", (shared, grown))):
        refer(s3_store, run, Stage.PREPARE, pack(*shards), *shards)
    plan = plan_purge(a_run("before", s3_store))
    assert layout.work(Stage.PREPARE, former) in plan.work
    purge(a_run("before", s3_store), plan)
    left = {key.split("/")[2] for key in keys(s3_store) if key.startswith("work/")}
    assert {shared[:32], grown[:32]} < left
    assert former[:32] not in left
    purge(a_run("after", s3_store), plan_purge(a_run("after", s3_store)))
    assert keys(s3_store) == set()


def test_a_training_that_was_never_finished_goes_with_its_checkpoints(s3_store: Store) -> None:
    begun = layout.work(Stage.TRAIN_CLASSIFIER, digest({"seed": 1}))
    s3_store.put(f"{layout.checkpoints(begun)}/latest.json", b"{}")
    beat(s3_store, "mine", Stage.TRAIN_CLASSIFIER, begun)
    run = a_run("mine", s3_store)
    assert plan_purge(run).work == (begun,)
    purge(run, plan_purge(run))
    assert keys(s3_store) == set()


def test_what_another_runs_task_makes_or_reads_stays(s3_store: Store) -> None:
    begun = layout.work(Stage.TRAIN_CLASSIFIER, digest({"seed": 1}))
    read = work(s3_store, Stage.PREPARE, {"films": 1})
    refer(s3_store, "mine", Stage.PREPARE, read)
    beat(s3_store, "mine", Stage.TRAIN_CLASSIFIER, begun)
    beat(s3_store, "theirs", Stage.TRAIN_CLASSIFIER, begun, layout.work(Stage.PREPARE, read))
    plan = plan_purge(a_run("mine", s3_store))
    assert (plan.work, plan.shared) == ((), 2)


def test_candidates_of_a_search_go_with_the_last_run_that_searched(s3_store: Store) -> None:
    tried = [work(s3_store, Stage.TRAIN_DETECTOR, {"lr": lr}) for lr in (1, 2, 3)]
    records = [
        Done.model_validate(s3_store.get_json(layout.done(layout.work(Stage.TRAIN_DETECTOR, one)))) for one in tried
    ]
    curves = {f"curve-{number}": record.outputs["out"] for number, record in enumerate(records)}
    search = work(s3_store, Stage.TRAIN_DETECTOR, {"start": tried[0]}, outputs=curves)
    refer(s3_store, "mine", Stage.TRAIN_DETECTOR, search, tried[1], fold=0)
    refer(s3_store, "plain", Stage.TRAIN_DETECTOR, tried[0], fold=0)
    refer(s3_store, "theirs", Stage.TRAIN_DETECTOR, search, tried[1], fold=0)
    assert plan_purge(a_run("theirs", s3_store)).work == ()
    purge(a_run("theirs", s3_store), plan_purge(a_run("theirs", s3_store)))
    plan = plan_purge(a_run("mine", s3_store))
    assert set(plan.work) == {layout.work(Stage.TRAIN_DETECTOR, one) for one in (search, tried[1], tried[2])}
    s3_store.delete([layout.done(plan.work[0])])  # as far as a purge came that was cut short
    assert set(plan_purge(a_run("mine", s3_store)).work) >= set(plan.work[1:])
    purge(a_run("mine", s3_store), plan_purge(a_run("mine", s3_store)))
    assert {key.split("/")[2] for key in keys(s3_store) if key.startswith("work/")} == {tried[0][:32]}


def test_a_purge_cut_short_can_be_given_again(s3_store: Store) -> None:
    mine = work(s3_store, Stage.PREPARE, {"films": 1})
    refer(s3_store, "mine", Stage.PREPARE, mine)
    s3_store.delete([layout.done(layout.work(Stage.PREPARE, mine))])  # as far as the first one came
    run = a_run("mine", s3_store)
    purge(run, plan_purge(run))
    assert keys(s3_store) == set()


def test_a_run_that_runs_or_is_not_there_is_refused(s3_store: Store) -> None:
    with pytest.raises(BadInput, match="Run mine does not exist"):
        plan_purge(a_run("mine", s3_store))
    run = a_run("mine", s3_store)
    run.workflows = [{"metadata": {"name": "mine-1"}, "status": {"phase": "Running"}}]
    with pytest.raises(BadInput, match=r"is running: cv.py stop mine first"):
        plan_purge(run)


def test_a_run_that_sends_heartbeats_is_not_purged(s3_store: Store) -> None:
    begun = layout.work(Stage.TRAIN_CLASSIFIER, digest({"seed": 1}))
    beat(s3_store, "mine", Stage.TRAIN_CLASSIFIER, begun, at=datetime.now(UTC))
    with pytest.raises(BadInput, match="Run mine is running: train-classifier sent a heartbeat less than 100 s ago"):
        plan_purge(a_run("mine", s3_store))
    beat(s3_store, "mine", Stage.TRAIN_CLASSIFIER, begun, at=datetime.now(UTC), phase="stopped")
    assert plan_purge(a_run("mine", s3_store)).work == (begun,)


def test_nothing_is_purged_while_another_run_does_not_tell_yet_what_it_uses(s3_store: Store) -> None:
    refer(s3_store, "mine", Stage.PREPARE, work(s3_store, Stage.PREPARE, {"films": 1}))
    beat(s3_store, "theirs", Stage.PREPARE, at=datetime.now(UTC), phase="starting")
    with pytest.raises(BadInput, match="Run theirs is starting"):
        plan_purge(a_run("mine", s3_store))


def test_work_that_another_run_begins_while_somebody_confirms_stays(s3_store: Store) -> None:
    begun = layout.work(Stage.TRAIN_CLASSIFIER, digest({"seed": 1}))
    s3_store.put(f"{layout.checkpoints(begun)}/latest.json", b"{}")
    beat(s3_store, "mine", Stage.TRAIN_CLASSIFIER, begun)
    plan = plan_purge(a_run("mine", s3_store))
    beat(s3_store, "theirs", Stage.TRAIN_CLASSIFIER, begun, at=datetime.now(UTC))
    purge(a_run("mine", s3_store), plan)
    assert f"{layout.checkpoints(begun)}/latest.json" in keys(s3_store)


def test_uploaded_films_go_where_asked_for_and_no_other_run_uses_them(s3_store: Store) -> None:
    films, beside = (layout.source_upload(digest(name)) for name in ("films", "beside"))
    for folder in (films, beside):
        s3_store.put(f"{folder}/train/s/e/i.dcm", b"film")
    data = {"source": f"{s3_store.url}/{films}", "extra": [{"source": f"{s3_store.url}/{beside}"}]}
    for run in ("mine", "theirs"):
        s3_store.put_json(layout.run_experiment(run), {"name": "e", "data": data, "classifiers": {"net": {}}})
    assert plan_purge(a_run("mine", s3_store)).films == ()
    purge(a_run("theirs", s3_store), plan_purge(a_run("theirs", s3_store)))
    plan = plan_purge(a_run("mine", s3_store))
    assert plan.films == (films, beside)
    assert "--films removes them" in plan.lines()[-1]
    purge(a_run("mine", s3_store), plan, films=True)
    assert keys(s3_store) == set()


@pytest.mark.parametrize("damage", [b"", b"noise", b"[]", b"{}"])
def test_nothing_is_purged_while_a_reference_of_another_run_cannot_be_read(damage: bytes, s3_store: Store) -> None:
    shared = work(s3_store, Stage.PREPARE, {"films": 1})
    for run in ("mine", "theirs"):
        refer(s3_store, run, Stage.PREPARE, shared)
        beat(s3_store, run, Stage.PREPARE, layout.work(Stage.PREPARE, shared))
    for run in ("mine", "theirs"):  # a live task soon replaces it
        s3_store.put(layout.heartbeat(run, _task(Stage.PREPARE)), damage)
    assert plan_purge(a_run("mine", s3_store)).shared == 1
    s3_store.put(layout.reference("theirs", _task(Stage.PREPARE)), damage)
    with pytest.raises(BadInput, match=r"prepare.json is damaged.* not known which work run theirs uses"):
        plan_purge(a_run("mine", s3_store))
    plan = plan_purge(a_run("theirs", s3_store))
    purge(a_run("theirs", s3_store), plan)
    assert layout.done(layout.work(Stage.PREPARE, shared)) in keys(s3_store)
    assert not [key for key in keys(s3_store) if key.startswith(layout.run("theirs") + "/")]


def test_work_behind_promoted_weights_stays_until_the_name_is_removed(s3_store: Store) -> None:
    films = work(s3_store, Stage.PREPARE, {"films": 1})
    mine = work(s3_store, Stage.TRAIN_CLASSIFIER, {"seed": 1})
    refer(s3_store, "mine", Stage.PREPARE, films)
    refer(s3_store, "mine", Stage.TRAIN_CLASSIFIER, mine, fold=0)
    trained = TrainedFold(stage=Stage.TRAIN_CLASSIFIER, weights=mine, index=films)
    record = PromotedRecord(architecture="b3", run="mine", model="b", folds={0: trained})
    s3_store.put_json(layout.weights("lungs"), record.model_dump(mode="json"))
    assert plan_purge(a_run("mine", s3_store)).work == ()
    s3_store.delete([layout.weights("lungs")])
    assert len(plan_purge(a_run("mine", s3_store)).work) == 2

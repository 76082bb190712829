"""The stage on a store in which the trainings are done."""

import numpy as np
import pytest

from jobs import ensemble
from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from jobs.contract.plan import fold_tasks
from jobs.contract.stored import layout
from jobs.contract.stored.records import Reference
from jobs.contract.task import TaskId
from jobs.ensemble.members import choose_folds
from jobs.runtime.fitted import fitted_temperature
from jobs.scoring.evaluation_set import EvaluationSet
from jobs.scoring.statistics.calibration import scaled
from jobs.scoring.submission import parse
from jobs.scoring.temperature import study_probabilities
from tests.jobs.ensemble.world import FOLDS, World, boxes_table, experiment, index

YOLO_1 = TaskId(Stage.TRAIN_DETECTOR, "yolo", 1)


def submission(world):
    return parse(world.result("submission.csv").decode(), "submission.csv")


def done_of(world):
    context = world.context(Stage.ENSEMBLE, experiment())
    reference = Reference.model_validate(world.store.get_json(layout.reference(world.run, TaskId(Stage.ENSEMBLE))))
    return context.open_work(Stage.ENSEMBLE, reference.works["submission"])[1]


def test_pools_the_folds_once_and_a_changed_setting_pools_them_again(trained):
    world, films = trained.another_run(), trained.films
    ensemble.run(world.context(Stage.ENSEMBLE, experiment()))
    first = done_of(world)
    assert len(submission(world).ids) == films["study"].nunique() + len(films)
    assert set(first.outputs) == {"submission.csv", "untrained-submission.csv"}
    assert not first.inputs["degraded"]
    ensemble.run(world.context(Stage.ENSEMBLE, experiment()))
    assert done_of(world) == first
    text = world.result("submission.csv")
    ensemble.run(world.context(Stage.ENSEMBLE, experiment(ensemble={"labels": "top"})))
    assert done_of(world).digest != first.digest
    assert len(world.result("submission.csv")) < len(text)


def test_a_missing_fold_is_refused_with_the_command_that_makes_it(trained):
    world = trained.another_run(without=[YOLO_1])
    with pytest.raises(BadInput, match=r"(?s)1 of 4 folds are missing.*detector --model yolo --fold 1\n.*min_folds"):
        ensemble.run(world.context(Stage.ENSEMBLE, experiment()))
    assert world.store.size(layout.report(world.run, "submission.csv")) is None


def test_min_folds_goes_on_with_the_folds_that_every_model_has_and_says_so(trained, caplog):
    caplog.set_level("INFO")
    world, films = trained.another_run(without=[YOLO_1]), trained.films
    ensemble.run(world.context(Stage.ENSEMBLE, experiment(ensemble={"min_folds": 1})))
    done = done_of(world)
    assert done.inputs["degraded"]
    assert "train-detector yolo fold 1 is not done: the ensemble goes on without fold 1" in caplog.messages
    assert done.inputs["folds"] == [0]
    judged = films[films["fold"] == 0]
    assert len(submission(world).ids) == judged["study"].nunique() + len(judged)


def test_too_few_folds_for_min_folds_are_refused():
    of = experiment(ensemble={"min_folds": 2})
    wanted = fold_tasks(of)
    with pytest.raises(BadInput, match=r"min_folds is 2, only 1 complete"):
        choose_folds(of, wanted, wanted[:1])


def test_predictions_of_another_dataset_are_refused(trained):
    world = trained.another_run()
    world.prepare(index(patients=20))
    with pytest.raises(BadInput, match=r"train-classifier b3 fold 0 was made from dataset"):
        ensemble.run(world.context(Stage.ENSEMBLE, experiment()))


def test_on_a_test_set_every_folds_net_is_a_voice(trained, monkeypatch):
    monkeypatch.setenv(environment.FROM_RUN, "earlier")
    world, films, of = trained.another_run(), trained.films, experiment()
    dataset = world.prepare(films.assign(fold=-1, study_class=None, boxes=[[]] * len(films)))
    for model in ("b3", "yolo"):
        for fold in range(FOLDS):
            world.predict(of, dataset, model, fold)
    said = ensemble.run(world.context(Stage.ENSEMBLE, of))
    assert said == {"competition_hours": 4 * 2.0 * 1263 / 3600}, "four nets, two seconds a film each"
    found = submission(world)
    assert len(found.ids) == films["study"].nunique() + len(films)
    strongest = found.detections.confidence[found.detections.label == 5].max()
    each = [boxes_table(films, 0.9, fold)["confidence"].max() for fold in range(FOLDS)]
    assert strongest < max(each), "voices are averaged"


@pytest.mark.slow
def test_a_fitted_temperature_scales_out_of_fold_and_then_a_test_set(trained, monkeypatch, tmp_path):
    of, plain = experiment(ensemble={"temperature": "fit"}, detectors={}), experiment(detectors={})
    worlds = [trained.another_run(), trained.another_run()]
    for world, settings in zip(worlds, (plain, of), strict=True):
        world.store.put(layout.run_experiment(world.run), settings.model_dump_json().encode())
        ensemble.run(world.context(Stage.ENSEMBLE, settings))
    before, after = map(submission, worlds)
    assert before.ids == after.ids
    assert (before.detections.label == after.detections.label).all(), "the order within a study stays"
    temperature = fitted_temperature(trained.store, worlds[1].run)
    assert fitted_temperature(trained.store, worlds[0].run) is None
    assert temperature < 0.9, "these nets are too uncertain"
    known = EvaluationSet.from_index(trained.films)
    losses = []
    for predicted in (before, after):
        told = study_probabilities(predicted, known)
        losses.append(-np.log(told[np.arange(len(told)), known.truth.label[: len(told)]]).mean())
    assert losses[1] < losses[0]
    monkeypatch.setenv(environment.FROM_RUN, worlds[1].run)
    films = trained.films.assign(fold=-1, study_class=None, boxes=[[]] * len(trained.films))
    tested = World(trained.store, trained.folder, f"{worlds[1].run}-on", trained.films)
    dataset = tested.prepare(films)
    for fold in range(FOLDS):
        tested.predict(of, dataset, "b3", fold)
    ensemble.run(tested.context(Stage.ENSEMBLE, plain))
    unscaled = study_probabilities(submission(tested), known)
    ensemble.run(tested.context(Stage.ENSEMBLE, of))
    assert study_probabilities(submission(tested), known) == pytest.approx(scaled(unscaled, temperature), abs=1e-6)
    monkeypatch.setenv(environment.FROM_RUN, worlds[0].run)
    with pytest.raises(BadInput, match="has fitted no temperature"):
        ensemble.run(tested.context(Stage.ENSEMBLE, of))


def test_a_temperature_needs_study_classes():
    with pytest.raises(ValueError, match="scales study classes"):
        experiment(classifiers={}, ensemble={"temperature": 2})
    with pytest.raises(ValueError, match="excludes labels: top"):
        experiment(ensemble={"temperature": "fit", "labels": "top"})

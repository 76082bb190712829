import pytest
from pydantic import ValidationError

from jobs.contract.experiment import Classifier, Data, Detector, Ensemble, Evolve, Experiment, Folds, training_settings


def experiment(**fields: object) -> Experiment:
    return Experiment(**{"name": "tiny", "classifiers": {"b3": Classifier()}, "detectors": {"m": Detector()}, **fields})


def test_titles_and_remarks_do_not_change_the_hash_and_settings_do():
    assert experiment().hash == experiment(title="x", remark="y", inferred={"seed": "z"}).hash
    assert experiment().hash != experiment(seed=2).hash
    assert experiment().default_run.startswith("tiny-")


def test_a_document_comes_back_as_the_same_experiment():
    one = experiment(folds=Folds(run=(2, 0)))
    assert Experiment.model_validate_json(one.model_dump_json()) == one
    assert one.folds.selected == (0, 2)


def test_inference_is_no_part_of_what_training_reads():
    model = Classifier()
    other = model.model_copy(update={"inference": model.inference.model_copy(update={"size": 640})})
    assert training_settings(model) == training_settings(other)
    assert training_settings(model) != training_settings(model.model_copy(update={"dropout": 0.5}))
    assert experiment(classifiers={"b3": other}).sizes == (512, 640)


def test_a_search_is_no_part_of_what_training_reads():
    plain, searching = Detector(epochs=10), Detector(epochs=10, evolve=Evolve(epochs=45))
    assert (plain.candidates, searching.candidates) == (0, 4)
    assert training_settings(plain) == training_settings(searching)
    assert experiment(detectors={"m": plain}).hash != experiment(detectors={"m": searching}).hash


def test_a_search_without_a_mutation_is_refused():
    with pytest.raises(ValidationError, match="too few for two candidates of 10 epochs each: give 20 or more"):
        Detector(epochs=10, evolve=Evolve(epochs=19))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"classifiers": {}, "detectors": {}}, "at least one model"),
        ({"detectors": {"b3": Detector()}}, "names a classifier and a detector"),
        ({"ensemble": Ensemble(weights={"x": 1.0})}, "ensemble.weights names x"),
        ({"ensemble": Ensemble(min_folds=4), "folds": Folds(run=(0,))}, "only 1 folds run"),
        ({"data": Data(halve_from=2048)}, "too few pixels to halve for size 512: give 2560 or more"),
        ({"name": "Not_A_Name"}, "name"),
        ({"sead": 1}, "sead"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, object], says: str):
    with pytest.raises(ValidationError, match=says):
        experiment(**fields)


@pytest.mark.parametrize("run", [(), (5,), (1, 1)])
def test_folds_that_cannot_run_are_refused(run: tuple[int, ...]):
    with pytest.raises(ValidationError):
        Folds(count=5, run=run)


def test_a_film_loss_needs_a_joint_head():
    with pytest.raises(ValidationError, match="joint6"):
        Classifier(loss_on="film")


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.csv", "tables/../../secret.csv", ".."])
@pytest.mark.parametrize("field", ["patients", "split"])
def test_a_table_of_the_data_lies_within_the_source(field, path):
    assert getattr(Data.model_validate({field: "tables/train_meta.csv"}), field) == "tables/train_meta.csv"
    with pytest.raises(ValidationError, match="must be a path within the source"):
        Data.model_validate({field: path})


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("http://example.org/films", "write s3://bucket/prefix"),
        ("s3://", "is not an S3 URL: write s3://bucket or s3://bucket/prefix"),
        ("phantom:patient=3", "no key 'patient'; a phantom has"),
    ],
)
def test_a_source_that_no_stage_could_open_is_refused(source, says):
    with pytest.raises(ValidationError, match=says):
        Data(source=source)


def test_a_list_of_transforms_comes_back_as_it_was_and_a_name_alone_has_no_values():
    inner = [{"Blur": {"blur_limit": 3}}, "CLAHE"]
    model = Classifier.model_validate({"augment": ["HorizontalFlip", {"OneOf": {"p": 0.3, "transforms": inner}}]})
    whole = [{"HorizontalFlip": {}}, {"OneOf": {"p": 0.3, "transforms": [{"Blur": {"blur_limit": 3}}, {"CLAHE": {}}]}}]
    assert training_settings(model) == {"augment": whole}
    assert Classifier.model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"augment": "hrad"}, "'none', 'basic', 'hard' or 'strong'"),
        ({"augment": []}, "at least 1 item"),
        ({"augment": [{"Blur": {}, "CLAHE": {}}]}, "write a transform as"),
        ({"augment": [{"Blur": 3}]}, "write a transform as"),
        ({"augment": [{"Blur": {"p": float("inf")}}]}, "finite number"),
        ({"augment": [{"OneOf": {"p": 1}}]}, "OneOf needs a list of transforms"),
        ({"augment": [{"Blur": {"transforms": []}}]}, "Blur holds no transforms"),
        ({"class_weights": "even"}, "'balanced'"),
        ({"class_weights": {"typical": -1}}, "greater than or equal to 0"),
        ({"class_weights": {"opacity": 2}}, "class_weights names opacity; head study4 has negative"),
        ({"head": "film2", "class_weights": {"none": 0, "opacity": 0}}, "class_weights are all 0"),
        ({"mixup": -0.1}, "greater than or equal to 0"),
        ({"mix_chance": 1.1}, "less than or equal to 1"),
    ],
)
def test_a_classifiers_value_that_has_no_meaning_is_refused(settings: dict[str, object], sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        Classifier.model_validate(settings)


def test_a_detector_accumulates_in_one_way():
    with pytest.raises(ValidationError, match="accumulate and nominal_batch both"):
        Detector(nominal_batch=64, accumulate=4)


@pytest.mark.parametrize("compile", ["cudagraphs", "reduce-overhead", "max-autotune"])
def test_cuda_graphs_exclude_steps_of_several_batches(compile: str):
    for kind, settings in (
        (Classifier, {"accumulate": 2}),
        (Detector, {"nominal_batch": 64}),
        (Detector, {"accumulate": 2}),
    ):
        with pytest.raises(ValidationError, match="cannot add up the gradients of several batches"):
            kind.model_validate({"compile": compile, **settings})
        kind.model_validate({"compile": "default", **settings})
    assert Detector.model_validate({"compile": compile, "nominal_batch": 16}).compile == compile

"""From predictions to the submission."""

import numpy as np
import pandas as pd
import pytest

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Ensemble
from jobs.contract.names import STUDY_CLASSES
from jobs.scoring.combine import Voter, combine
from jobs.scoring.submission import check, parse, render

INDEX = pd.DataFrame(
    {
        "image": ["f3", "f1", "f2"],
        "study": ["s2", "s1", "s1"],
        "width": [100, 100, 200],
        "height": [80, 80, 80],
    }
)
NO_BOXES = pd.DataFrame({name: [] for name in ("image", "xmin", "ymin", "xmax", "ymax", "confidence")})


def classifier(name="b3", weight=1.0, **columns):
    return Voter(name, weight, pd.DataFrame({"image": ["f1", "f2", "f3"], "study": ["s1", "s1", "s2"], **columns}))


def study_head(*rows, **rest):
    return classifier(**dict(zip(STUDY_CLASSES, np.array(rows).T, strict=True)), **rest)


def detector(*rows, name="yolo", weight=1.0):
    return Voter(name, weight, pd.DataFrame(rows, columns=["image", "xmin", "ymin", "xmax", "ymax", "confidence"]))


def lines(combined):
    text = render(combined.submission)
    check(parse(text, "it"), ["s1", "s2"], ["f1", "f2", "f3"], "it")
    return dict(line.split(",", 1) for line in text.splitlines()[1:])


B3 = study_head([0.5, 0.2, 0.2, 0.1], [0.7, 0.2, 0.0, 0.1], [0.1, 0.2, 0.6, 0.1])


def test_a_study_gets_the_mean_over_its_films_likeliest_class_first():
    rows = lines(combine(INDEX, [B3], [], Ensemble()))
    assert rows["s1_study"] == "negative 0.6 0 0 1 1 typical 0.2 0 0 1 1 indeterminate 0.1 0 0 1 1 atypical 0.1 0 0 1 1"
    assert rows["s2_study"].startswith("indeterminate 0.6 0 0 1 1 typical 0.2")


def test_models_count_by_their_weight():
    other = study_head([0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], name="v2", weight=3.0)
    rows = lines(combine(INDEX, [B3, other], [], Ensemble()))
    assert rows["s1_study"].startswith("typical 0.8 0 0 1 1 negative 0.15 ")


def test_labels_top_writes_the_likeliest_class_alone():
    rows = lines(combine(INDEX, [B3], [], Ensemble(labels="top")))
    assert rows["s1_study"] == "negative 0.6 0 0 1 1"


def test_none_is_the_weighted_mean_of_its_sources():
    film2 = classifier(name="two", none=[0.2, 0.4, 1.0], opacity=[0.8, 0.6, 0.0])
    yolo = detector(("f1", 10, 10, 50, 50, 0.9))
    rule = {"boxes": 0.5, "negative": 0.3, "film2": 0.2}
    rows = lines(combine(INDEX, [B3, film2], [yolo], Ensemble(none=rule)))
    none = float(rows["f1_image"].split()[1])
    assert none == pytest.approx(0.5 * 0.1 + 0.3 * 0.6 + 0.2 * 0.2)
    assert float(rows["f3_image"].split()[1]) == pytest.approx(0.5 + 0.3 * 0.1 + 0.2)


def test_a_joint_heads_none_is_its_share_of_the_two_film_classes():
    joint = classifier(none=[0.1, 0.1, 0.1], opacity=[0.3, 0.3, 0.0])
    combined = combine(INDEX, [joint], [], Ensemble())
    assert float(lines(combined)["f1_image"].split()[1]) == pytest.approx(0.25)
    assert combined.films["none"].tolist() == [0.1, 0.1, 0.1]


def test_boxes_follow_none_by_falling_confidence_within_their_film():
    yolo = detector(("f3", 0, 0, 10, 10, 0.2), ("f3", -5, 20, 130, 95, 0.7))
    rows = lines(combine(INDEX, [], [yolo], Ensemble()))
    assert rows["f3_image"] == "none 0.3 0 0 1 1 opacity 0.7 0.00 20.00 100.00 80.00 opacity 0.2 0.00 0.00 10.00 10.00"
    assert rows["f1_image"] == "none 1 0 0 1 1"


def test_detectors_that_agree_are_surer_than_one_alone():
    first, second = detector(("f1", 0, 0, 10, 10, 0.8)), detector(("f1", 0, 0, 10, 10, 0.6), name="x")
    blind = Voter("x", 1.0, NO_BOXES)
    assert "opacity 0.7 " in lines(combine(INDEX, [], [first, second], Ensemble()))["f1_image"]
    assert "opacity 0.4 " in lines(combine(INDEX, [], [first, blind], Ensemble()))["f1_image"]


def test_repeat_writes_each_box_so_many_times():
    yolo = detector(("f1", 0, 0, 10, 10, 0.8), ("f1", 50, 0, 60, 10, 0.6))
    row = lines(combine(INDEX, [], [yolo], Ensemble(fusion={"repeat": 2})))["f1_image"]
    assert row.split()[1::6] == ["0.2", "0.8", "0.8", "0.6", "0.6"]


def test_without_a_study_model_the_study_rows_say_nothing():
    rows = lines(combine(INDEX, [], [detector(("f1", 0, 0, 10, 10, 0.8))], Ensemble()))
    assert rows["s1_study"].count("0.25") == 4


def test_a_model_without_weight_is_not_heard():
    silent = study_head([0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], name="v2", weight=0.0)
    assert lines(combine(INDEX, [B3, silent], [], Ensemble())) == lines(combine(INDEX, [B3], [], Ensemble()))


def test_predictions_of_other_films_are_refused():
    with pytest.raises(BadInput, match=r"b3 has no predictions for 1 of 2 studies, e\.g\. s2"):
        combine(INDEX, [Voter("b3", 1.0, B3.table.iloc[:2])], [], Ensemble())
    with pytest.raises(BadInput, match=r"yolo has boxes on films outside this dataset, e\.g\. f9"):
        combine(INDEX, [], [detector(("f9", 0, 0, 10, 10, 0.8))], Ensemble())


def test_the_order_of_films_and_of_predictions_does_not_matter():
    yolo = detector(("f3", 0, 0, 10, 10, 0.2), ("f1", 5, 20, 30, 45, 0.7))
    shuffled = Voter("yolo", 1.0, yolo.table.iloc[::-1])
    first = render(combine(INDEX, [B3], [yolo], Ensemble()).submission)
    again = render(
        combine(INDEX.iloc[::-1], [Voter("b3", 1.0, B3.table.iloc[[2, 0, 1]])], [shuffled], Ensemble()).submission
    )
    assert first == again

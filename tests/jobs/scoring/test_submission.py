"""Submission files: written files are read back unchanged, and every mistake is reported."""

import numpy as np
import pandas as pd
import pytest

from jobs.contract.exits import BadInput
from jobs.scoring.evaluation_set import EvaluationSet, film2_table
from jobs.scoring.metric import average_precisions, mean_ap
from jobs.scoring.submission import check, parse, read, render

GOOD = """id,PredictionString
s1_study,negative 0.9 0 0 1 1 typical 0.1 0 0 1 1
s2_study,atypical 1 0 0 1 1
f1_image,none 0.8 0 0 1 1
f2_image,none 0.123456789 0 0 1 1 opacity 0.5 1.00 2.25 30.50 40.00
"""


def checked(text, sizes=None):
    check(parse(text, "it.csv"), ["s1", "s2"], ["f1", "f2"], "it.csv", sizes)


def index():
    return pd.DataFrame(
        {
            "image": ["f1", "f2"],
            "study": ["s1", "s2"],
            "study_class": ["negative", "atypical"],
            "boxes": [[], [[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 9.0, 9.0]]],
            "patient": ["p", "q"],
            "fold": [0, 1],
        }
    )


def test_a_good_file_survives_reading_and_writing_byte_for_byte(tmp_path):
    (tmp_path / "it.csv").write_text(GOOD)
    assert render(read(tmp_path / "it.csv")) == GOOD
    checked(GOOD, {"f1": (31, 41), "f2": (31, 41)})


def test_single_precision_confidences_that_differ_stay_apart():
    near = [float(np.float32(0.99999994)), 1.0]
    text = GOOD.replace("negative 0.9", f"negative {near[0]:.9g}").replace("atypical 1 ", f"atypical {near[1]:.9g} ")
    found = parse(text, "it.csv").detections.confidence
    assert found[0] < found[2]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("id,PredictionString", "Id,PredictionString", "columns Id, PredictionString"),
        ("opacity 0.5", "shadow 0.5", "'shadow' is no label"),
        ("30.50 40.00", "30.50", "line 5 .f2_image.: 11 words"),
        ("negative 0.9", "negative high", "could not convert string to float: 'high'"),
        ("s1_study", "s3_study", "1 ids are missing .s1_study.; 1 ids are unknown to the labels .s3_study."),
        ("s2_study", "s1_study", "several rows .s1_study."),
        ("f1_image,none", "f1_image,typical", "rows of films a study's class .f1_image."),
        ("negative 0.9", "negative nan", "not finite .s1_study."),
        ("negative 0.9", "negative 1.5", "outside 0 to 1 .s1_study."),
        ("1.00 2.25 30.50 40.00", "30.50 2.25 1.00 40.00", "not above and left .*f2_image."),
        ("1.00 2.25 30.50", "1.00 2.25 31.50", "outside its film .f2_image."),
        ("1.00 2.25", "-0.50 2.25", "outside its film .f2_image."),
    ],
)
def test_a_mistake_is_named_with_its_row(old, new, says):
    assert old in GOOD
    with pytest.raises(BadInput, match=says):
        checked(GOOD.replace(old, new), {"f1": (31, 41), "f2": (31, 41)})


def test_an_id_with_a_comma_or_a_quote_is_written_so_that_it_can_be_read():
    text = 'id,PredictionString\n"a,""b"" c_image",none 0.5 0 0 1 1\ns_study,negative 0.5 0 0 1 1\n'
    submission = parse(text, "it.csv")
    assert submission.ids == ('a,"b" c_image', "s_study")
    assert render(submission) == text


def test_an_empty_file_is_refused():
    with pytest.raises(BadInput, match="its first line must name the columns"):
        parse("", "it.csv")


def test_the_truth_submitted_scores_one():
    text = """id,PredictionString
f2_image,opacity 1 1 2 30 40 opacity 1 5 5 9 9
f1_image,none 1 0 0 1 1
s2_study,atypical 1 0 0 1 1
s1_study,negative 1 0 0 1 1
"""
    aps = average_precisions(EvaluationSet.from_index(index()).match(parse(text, "it.csv"), "it.csv"))
    assert mean_ap(aps) == 1
    assert [name for name, ap in aps.items() if np.isnan(ap)] == ["typical", "indeterminate"]


def test_units_know_their_patient_and_fold():
    sheet = EvaluationSet.from_index(index())
    assert sheet.ids == ("s1_study", "s2_study", "f1_image", "f2_image")
    assert sheet.patient.tolist() == [0, 1, 0, 1]
    assert sheet.fold.tolist() == [0, 1, 0, 1]


def test_films_without_labels_cannot_be_scored_against():
    unlabelled = index().assign(study_class=[None, "atypical"])
    with pytest.raises(BadInput, match="1 studies have no label"):
        EvaluationSet.from_index(unlabelled)


def test_film2_ranks_films_by_both_classes():
    table = film2_table(np.array([True, False]), np.array([0.4, 0.3]), np.array([0.6, 0.7]))
    assert average_precisions(table) == {"none": 0.5, "opacity": 0.5}

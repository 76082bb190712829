"""``jobs score`` on label files."""

import json

import pytest

from jobs.contract.exits import BadInput
from jobs.tools.score import score_files

STUDIES = """id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance
s1_study,1,0,0,0
s2_study,0,1,0,0
s3_study,0,0,1,0
s4_study,0,0,0,1
"""
FILMS = """id,boxes,label,StudyInstanceUID
f1_image,,none 1 0 0 1 1,s1
f2_image,,opacity 1 -3.5 20 300 400 opacity 1 500 20 900 400,s2
f3_image,,opacity 1 10 20 300 400,s3
f4_image,,none 1 0 0 1 1,s4
f5_image,,none 1 0 0 1 1,s4
"""
PATIENTS = "patientid,studyid\np1,s1\np1,s2\np2,s3\np3,s4\n"
TRUTH = """id,PredictionString
s1_study,negative 1 0 0 1 1
s2_study,typical 1 0 0 1 1
s3_study,indeterminate 1 0 0 1 1
s4_study,atypical 1 0 0 1 1
f1_image,none 1 0 0 1 1
f2_image,opacity 1 -3.5 20 300 400 opacity 1 500 20 900 400
f3_image,opacity 1 10 20 300 400
f4_image,none 1 0 0 1 1
f5_image,none 1 0 0 1 1
"""


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "train_study_level.csv").write_text(STUDIES)
    (tmp_path / "train_image_level.csv").write_text(FILMS)
    return tmp_path


def scored(text, labels, capsys):
    file = labels / "submission.csv"
    file.write_text(text)
    score_files(file, labels, as_json=True)
    return json.loads(capsys.readouterr().out)


def test_a_submission_made_from_the_labels_scores_exactly_one(labels, capsys):
    result = scored(TRUTH, labels, capsys)
    assert {name: row["score"] for name, row in result["figures"].items()} == {"map6": 1, "map4": 1, "opacity": 1}
    assert result["left_out"] == []
    assert result["interval"]["over"] == "studies"


def test_intervals_are_drawn_over_patients_where_a_table_names_them(labels, capsys):
    (labels / "train_meta.csv").write_text(PATIENTS)
    assert scored(TRUTH, labels, capsys)["interval"]["over"] == "patients"


def test_rows_that_end_with_a_comma_more_than_the_header_keep_their_columns(labels, capsys):
    (labels / "train_meta.csv").write_text("patientid,studyid\np1,s1,\np1,s2,\np2,s3,\np3,s4,\n")
    with_commas = scored(TRUTH, labels, capsys)
    (labels / "train_meta.csv").write_text(PATIENTS)
    assert with_commas == scored(TRUTH, labels, capsys)
    (labels / "train_image_level.csv").write_text(FILMS.replace("\n", ",\n").replace("UID,", "UID"))
    assert with_commas == scored(TRUTH, labels, capsys)


def test_studies_without_a_patient_do_not_share_one(labels, capsys):
    (labels / "train_meta.csv").write_text("patientid,studyid\np1,s1\n ,s2\n,s3\n,s4\n")
    without = scored(TRUTH, labels, capsys)
    (labels / "train_meta.csv").write_text("patientid,studyid\np1,s1\ns2,s2\ns3,s3\ns4,s4\n")
    assert without == scored(TRUTH, labels, capsys)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_submission_in_another_encoding_is_refused(labels, encoding):
    (labels / "submission.csv").write_bytes(TRUTH.encode(encoding))
    with pytest.raises(BadInput, match=r"submission.csv:1: is not UTF-8"):
        score_files(labels / "submission.csv", labels, as_json=True)


def test_the_competitions_sample_scores_what_it_finds_by_chance(labels, capsys):
    ids = [line.split(",")[0] for line in TRUTH.splitlines()[1:]]
    rows = [f"{one},{'negative' if one.endswith('_study') else 'none'} 1 0 0 1 1" for one in ids]
    result = scored("\n".join(["id,PredictionString", *rows]) + "\n", labels, capsys)
    assert result["classes"]["negative"]["score"] == 1  # the only negative study is named first
    assert result["classes"]["typical"]["score"] == 0
    assert result["classes"]["none"]["score"] == pytest.approx((1 + 2 * 3 / 5) / 3)


def test_the_table_says_what_is_left_out(labels, capsys):
    (labels / "train_study_level.csv").write_text(STUDIES.replace("s4_study,0,0,0,1", "s4_study,1,0,0,0"))
    (labels / "submission.csv").write_text(TRUTH)
    score_files(labels / "submission.csv", labels, as_json=False)
    out = capsys.readouterr().out
    assert "left out of every mean: atypical" in out
    assert "PASCAL VOC 2010" in out


def test_a_missing_submission_is_named(labels):
    with pytest.raises(BadInput, match="does not exist: name a submission"):
        score_files(labels / "nowhere.csv", labels, as_json=True)


def test_a_submission_of_a_part_of_the_studies_is_scored_where_asked(labels, capsys):
    file = labels / "submission.csv"
    file.write_text("".join(line + "\n" for line in TRUTH.splitlines() if line[:2] not in ("s1", "f1", "s3", "f3")))
    with pytest.raises(BadInput, match="4 ids are missing"):
        score_files(file, labels, as_json=True)
    score_files(file, labels, part=True, as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert (result["studies"], result["films"], result["labelled"]) == (2, 3, {"studies": 4, "films": 5})
    assert result["left_out"] == ["negative", "indeterminate"]
    file.write_text(TRUTH.replace("f2_image", "f9_image"))
    with pytest.raises(BadInput, match="ids are missing"):  # a study without one of its films
        score_files(file, labels, part=True, as_json=True)
    file.write_text("id,PredictionString\nx_study,negative 1 0 0 1 1\n")
    with pytest.raises(BadInput, match="has no study of"):
        score_files(file, labels, part=True, as_json=True)

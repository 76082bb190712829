from pathlib import Path

import pandas as pd
import pytest

from jobs.contract.exits import BadInput
from jobs.contract.names import STUDY_COLUMNS
from jobs.films.labels import IMAGE_FILE, STUDY_FILE, FilmLabel, check_ids, clip, join_labels, parse_label, read_labels

BOX = "opacity 1 10 20 50 60"
FILMS = pd.DataFrame({"image": ["i1", "i2"], "study": ["s1", "s2"], "width": [100, 100], "height": [200, 200]})


def write(
    folder: Path,
    studies: str = "s1_study,0,1,0,0\ns2_study,1,0,0,0\n",
    films: str = f"i1_image,{BOX},s1\ni2_image,none 1 0 0 1 1,s2\n",
    study_columns: str = ",".join(("id", *STUDY_COLUMNS)),
    film_columns: str = "id,label,StudyInstanceUID",
) -> Path:
    (folder / STUDY_FILE).write_text(f"{study_columns}\n{studies}")
    (folder / IMAGE_FILE).write_text(f"{film_columns}\n{films}")
    return folder


def test_classes_and_boxes_are_read_without_the_suffixes(tmp_path: Path):
    labels = read_labels(write(tmp_path))
    assert labels.classes == {"s1": "typical", "s2": "negative"}
    assert labels.films == {"i1": FilmLabel("s1", [[10, 20, 50, 60]]), "i2": FilmLabel("s2", [])}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"film_columns": "id,labels,StudyInstanceUID"}, "lacks the column label; it has id, labels"),
        ({"study_columns": "id,a,b,c,d"}, "lacks the column Negative for Pneumonia"),
        ({"studies": "s1_study,0,1,1,0\ns2_study,1,0,0,0\n"}, "s1_study has typical and indeterminate"),
        ({"studies": "s1_study,0,0,0,0\ns2_study,1,0,0,0\n"}, "s1_study has no class"),
        ({"studies": "s1_study,0,yes,0,0\ns2_study,1,0,0,0\n"}, "each must be 0 or 1"),
        ({"studies": "s1_study,0,1,0,0\ns2_study,1,0,0,0\ns2_study,1,0,0,0\n"}, "s2_study is there twice"),
        ({"films": f"i1_image,{BOX},s1\ni1_image,{BOX},s1\n"}, "i1_image is there twice"),
        ({"films": f"i1,{BOX},s1\n"}, "id 'i1' must end with _image"),
        ({"films": f"i1_image,{BOX},s7\n"}, "film i1 is of study s7, which train_study_level.csv does not list"),
        ({"films": "i1_image,opacity 1 50 20 50 60,s1\n"}, "i1_image: box 50 20 50 60 has no area"),
        ({"films": "i1_image,opacity 1 10 20 nan 60,s1\n"}, "is not finite"),
        ({"films": "i1_image,opacity 1 10 20 x 60,s1\n"}, "could not convert string to float: 'x'"),
        ({"films": "i1_image,opacity 1 10 20,s1\n"}, "is no list of"),
        ({"films": "i1_image,,s1\n"}, "is no list of"),
        ({"films": "i1_image,cavity 1 10 20 50 60,s1\n"}, "label names cavity"),
        ({"films": f"i1_image,none 1 0 0 1 1 {BOX},s1\n"}, "label names none and opacity"),
        ({"films": ""}, "has no rows"),
    ],
)
def test_labels_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, str], says: str):
    with pytest.raises(BadInput) as refused:
        read_labels(write(tmp_path, **changes))
    assert says in str(refused.value)


def test_all_problems_are_listed_at_once(tmp_path: Path):
    films = "".join(f"i{n}_image,opacity 1 5 5 5 5,s1\n" for n in range(30))
    with pytest.raises(BadInput) as refused:
        read_labels(write(tmp_path, films=films))
    message = str(refused.value)
    assert "30 problems" in message
    assert "i0_image" in message
    assert "and 10 more" in message


def test_one_label_file_alone_is_refused_by_name(tmp_path: Path):
    write(tmp_path)
    (tmp_path / STUDY_FILE).unlink()
    with pytest.raises(BadInput, match=rf"{STUDY_FILE} is missing"):
        read_labels(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    write(tmp_path)
    (tmp_path / STUDY_FILE).write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(BadInput, match="is not UTF-8"):
        read_labels(tmp_path)


def test_films_and_labels_are_joined_and_boxes_cut_to_the_film(tmp_path: Path):
    labels = read_labels(write(tmp_path, films="i1_image,opacity 1 -3.5 20 50 260 " + BOX + ",s1\n"
                                               "i2_image,none 1 0 0 1 1,s2\n"))  # fmt: skip
    joined = join_labels(FILMS, labels)
    assert list(joined.rows["study_class"]) == ["typical", "negative"]
    assert list(joined.rows["boxes"]) == [[[0, 20, 50, 200], [10, 20, 50, 60]], []]
    assert joined.clipped == 1


def test_films_and_labels_that_are_not_of_each_other_are_refused_and_all_listed(tmp_path: Path):
    labels = read_labels(
        write(
            tmp_path,
            studies="s1_study,0,1,0,0\ns2_study,1,0,0,0\ns3_study,1,0,0,0\n",
            films=f"i1_image,{BOX},s2\ni9_image,none 1 0 0 1 1,s1\n",
        )
    )
    with pytest.raises(BadInput) as refused:
        check_ids({"i1": "s1", "i2": "s2"}, labels)
    message = str(refused.value)
    for says in (
        "4 problems",
        "film i9 has no file i9.dcm",
        "study s3 has no film",
        "film i2 has no row",
        "film i1 lies in study s1, its label says s2",
    ):
        assert says in message


def test_boxes_outside_their_film_are_refused(tmp_path: Path):
    labels = read_labels(write(tmp_path, films="i1_image,opacity 1 150 20 190 60,s1\ni2_image,none 1 0 0 1 1,s2\n"))
    with pytest.raises(BadInput, match="film i1 of 100 x 200 pixels: box 150 20 190 60"):
        join_labels(FILMS, labels)


def test_the_part_of_a_box_inside_is_kept():
    assert clip([-5, -5, 10, 10], 100, 50) == [0, 0, 10, 10]
    assert clip([90, 40, 110, 60], 100, 50) == [90, 40, 100, 50]
    assert clip([100, 0, 110, 10], 100, 50) is None


def test_several_boxes_are_parsed_in_order():
    assert parse_label("opacity 1 1 2 3 4 opacity 1 5 6 7 8") == [[1, 2, 3, 4], [5, 6, 7, 8]]

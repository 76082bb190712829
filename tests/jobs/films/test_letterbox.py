import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.films.letterbox import Letterbox

sides = st.integers(1, 5000)


@given(sides, sides, st.sampled_from([32, 96, 128, 512, 640]), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_boxes_come_back_from_the_square_as_they_went(width: int, height: int, size: int, box: list[float]):
    letterbox = Letterbox(width, height, size)
    boxes = np.array([box]) * [width, height, width, height]
    there = letterbox.to_pack(boxes)
    assert (there >= 0).all()
    assert (there <= size + 1e-9).all()
    np.testing.assert_allclose(letterbox.to_film(there), boxes, atol=1e-6 * max(width, height))


@given(sides, sides, st.sampled_from([32, 128, 512]))
def test_the_film_fills_the_square_one_way_and_lies_in_its_middle(width: int, height: int, size: int):
    letterbox = Letterbox(width, height, size)
    (wide, high), (left, top) = letterbox.scaled, letterbox.offset
    assert max(wide, high) == size
    assert abs((size - wide) - 2 * left) <= 1
    assert abs((size - high) - 2 * top) <= 1


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (64, 64), (20, 30)])
def test_outside_the_film_the_square_is_black_and_inside_it_is_the_film(width: int, height: int):
    letterbox = Letterbox(width, height, 64)
    square = letterbox.apply(np.full((height, width), 50000, np.uint16))
    left, top, right, bottom = letterbox.to_pack(np.array([[0, 0, width, height]]))[0].round().astype(int)
    assert (square[top:bottom, left:right] == 50000).all()
    assert square.sum() == 50000 * (bottom - top) * (right - left)


def test_an_object_lies_in_the_square_where_its_box_says():
    film = np.zeros((400, 300), np.uint8)
    film[100:140, 60:120] = 255
    square = Letterbox(300, 400, 128).apply(film)
    box = Letterbox(300, 400, 128).to_pack(np.array([[60, 100, 120, 140]]))[0]
    rows, columns = np.nonzero(square > 127)
    np.testing.assert_allclose([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], box, atol=1)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="cannot hold"):
        Letterbox(30, 20, 64).apply(np.zeros((30, 20), np.uint8))

"""Nets as ONNX files, here of a few nodes each: how films reach them and what becomes of their answers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jobs.contract.experiment import Classifier, Detector
from jobs.films.loose import PackedFilms, find_films, pack_films
from jobs.films.phantom.files import write_phantom
from jobs.nets.onnx.convert import _store_in_half
from jobs.nets.onnx.sessions import INPUT, OnnxNet, predict_films

CLASSIFIER = Classifier(backbone="none", head="film2", size=32, inference={"batch": 4})
DETECTOR = Detector(size=32, inference={"batch": 4})


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> PackedFilms:
    folder = tmp_path_factory.mktemp("films")
    found, _ = find_films([write_phantom(folder / "source", patients=4, seed=3, size=96, test=True)])
    assert len(found) % 4
    return pack_films(found, [32], folder, 1, lambda: None)


def write(path, nodes, weights, output):
    """Write a graph from films to one output."""
    graph = helper.make_graph(
        [helper.make_node("Cast", [INPUT], ["grey"], to=TensorProto.FLOAT), *nodes],
        "graph",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", 1, 32, 32])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", *output])],
        [numpy_helper.from_array(np.asarray(values, kind), name) for name, (values, kind) in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def classifier(path):
    """Write a net that answers the mean grey, times a third and times two."""
    nodes = [
        helper.make_node("ReduceMean", ["grey", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["answer"]),
    ]
    weights = {"axes": ([2, 3], np.int64), "weight": ([[1 / 3, 2]], np.float32)}
    return write(path, nodes, weights, [2])


def test_a_classifiers_answers_become_its_table_in_batches(films: PackedFilms, tmp_path):
    batches: list[int] = []
    table = predict_films(OnnxNet(classifier(tmp_path / "net.onnx"), 1), CLASSIFIER, films, batches.append)
    means = [float(film.mean()) for film in (films.pack(32)[row] for row in range(len(films.index)))]
    assert list(table.columns) == ["image", "study", "none", "opacity"]
    assert list(table["image"]) == list(films.index["image"])
    assert table["opacity"].to_numpy() == pytest.approx(np.array(means) * 2, rel=1e-5)
    assert sum(batches) == len(films.index)
    assert max(batches) == 4


def test_a_detectors_candidates_become_boxes_in_the_films_pixels(films: PackedFilms, tmp_path):
    """Every film gets two candidates that overlap, in the middle of the square, and keeps the more confident."""
    candidates = np.array([[16, 16], [16, 16], [8, 9], [8, 8], [0.5, 0.75]], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["grey", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "shape"], ["of films"]),
        helper.make_node("Add", ["of films", "candidates"], ["answer"]),
    ]
    weights = {
        "axes": ([1, 2, 3], np.int64),
        "zero": (0, np.float32),
        "shape": ([-1, 1, 1], np.int64),
        "candidates": (candidates, np.float32),
    }
    net = OnnxNet(write(tmp_path / "net.onnx", nodes, weights, [5, 2]), 1)
    table = predict_films(net, DETECTOR, films, lambda _: None)
    assert list(table["image"]) == list(films.index["image"])
    assert table["confidence"].to_numpy() == pytest.approx(0.75)
    middle = (table["xmin"] + table["xmax"]).to_numpy() / 2
    assert middle == pytest.approx(films.index["width"].to_numpy() / 2, rel=0.05)


def test_weights_in_half_precision_are_widened_when_loaded(films: PackedFilms, tmp_path):
    path = classifier(tmp_path / "net.onnx")
    model = onnx.load(path)
    _store_in_half(model.graph)
    path.write_bytes(model.SerializeToString())
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16, TensorProto.INT64}
    given = OnnxNet(path, 1)(np.full((3, 1, 32, 32), 100, np.uint8))
    assert given[:, 0] == pytest.approx(100 * float(np.float16(1 / 3)), rel=1e-6)

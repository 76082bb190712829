"""Nets of each kind, as ONNX: their tables are those of torch."""

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, Detector
from jobs.films.loose import PackedFilms, find_films, pack_films
from jobs.films.phantom.files import write_phantom
from jobs.nets import trained
from jobs.nets.classifier.net import Answer, ClassifierNet
from jobs.nets.onnx.convert import OnnxWriter, WholeNet
from jobs.nets.onnx.sessions import OnnxNet, predict_films
from jobs.nets.tables import squares
from jobs.nets.yolo.model import build

SIZE = 64
AUX = {"stride": 16, "layers": 2, "channels": 8}
FLIPS = {"tta": "flip", "batch": 4}
MODELS = {
    "four classes": Classifier(backbone="test_efficientnet", size=SIZE, aux=AUX, inference={"batch": 4}),
    "flipped": Classifier(backbone="test_resnet", size=SIZE, aux=None, head="joint6", inference=FLIPS),
    "sigmoid": Classifier(backbone="test_vit", size=SIZE, aux=None, head="film2", loss="sigmoid", inference=FLIPS),
    "yolov8": Detector(model="yolov8n", width=0.125, size=SIZE, inference={"tta": True, "batch": 4}),
    "yolo11": Detector(model="yolo11n", width=0.125, size=SIZE, inference={"batch": 4}),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> PackedFilms:
    folder = tmp_path_factory.mktemp("films")
    found, _ = find_films([write_phantom(folder / "source", patients=4, seed=3, size=96, test=True)])
    return pack_films(found, [SIZE], folder, 1, lambda: None)


def weights_of(model, seed, path):
    """Write random weights, statistics of batch norms among them."""
    torch.manual_seed(seed)
    net = build(model) if isinstance(model, Detector) else ClassifierNet(model)
    tensors = net.state_dict()
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    save_file(tensors, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_each_folds_net_answers_as_torch_does(kind: str, films: PackedFilms, tmp_path):
    model, writer, file = MODELS[kind], None, tmp_path / "net.onnx"
    weights = {fold: weights_of(model, fold, tmp_path / f"{fold}.safetensors") for fold in (0, 1)}
    shown = squares(films.pack(SIZE), np.arange(5))
    answers = []
    for _, net in trained.load_nets(model, weights, "cpu"):
        whole = WholeNet(net, model)
        writer = writer or OnnxWriter(whole, kind)
        writer.write(file, half=False)
        with torch.no_grad():
            answers.append(whole(torch.from_numpy(shown)).numpy())
        given = OnnxNet(file, 1)(shown)
        assert given.dtype == answers[-1].dtype
        if isinstance(model, Detector):
            difference = np.abs(given - answers[-1]).max((0, 2))
            assert difference[:4].max() < 1e-3  # pixels; boxes of a random net are near ties, so tables may differ
            assert difference[4] < 1e-6
        else:
            expected = trained.predict_films(net, model, "cpu", films, lambda _: None)
            table = predict_films(OnnxNet(file, 1), model, films, lambda _: None)
            pd.testing.assert_frame_equal(table, expected, rtol=0, atol=1e-6)
    assert np.abs(answers[0] - answers[1]).max() > 1e-4
    assert b"/jobs/nets/" not in file.read_bytes()


@pytest.mark.slow
def test_half_precision_halves_the_file_and_rounds_the_weights(films: PackedFilms, tmp_path):
    model = MODELS["flipped"]
    (_, net), *_ = trained.load_nets(model, {0: weights_of(model, 0, tmp_path / "0.safetensors")}, "cpu")
    net.half().float()
    writer = OnnxWriter(WholeNet(net, model), "flipped")
    files = {half: tmp_path / f"{half}.onnx" for half in (False, True)}
    for half, file in files.items():
        writer.write(file, half=half)
    whole, half_size = (file.stat().st_size for file in files.values())
    assert half_size < 0.6 * whole
    assert onnx.load(files[True]).graph.initializer
    first, second = (predict_films(OnnxNet(file, 1), model, films, lambda _: None) for file in files.values())
    pd.testing.assert_frame_equal(first, second, rtol=1e-6)


class Branching(ClassifierNet):
    """A net that no graph expresses: which layers it has depends on the films."""

    def forward(self, films: torch.Tensor) -> Answer:
        return super().forward(films if films.sum() > 9 else 255 - films)


@pytest.mark.slow
def test_an_architecture_that_cannot_be_converted_is_named():
    model = MODELS["flipped"]
    with pytest.raises(BadInput, match="The model wild cannot be exported as ONNX: PyTorch cannot convert test_resnet"):
        OnnxWriter(WholeNet(Branching(model).eval(), model), "wild")

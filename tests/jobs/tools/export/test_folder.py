"""An export's folder is complete or not there."""

import pytest
import torch
from safetensors.torch import save_file

from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.experiment import Classifier, Experiment
from jobs.contract.stored.records import Output
from jobs.nets.classifier.net import ClassifierNet
from jobs.runtime.store import Store
from jobs.tools.export import conversion, folder, with_onnx
from jobs.tools.export.deviation import Deviation
from jobs.tools.export.folder import Choices, export
from jobs.tools.run_weights import RunWeights

MODEL = Classifier(backbone="test_resnet", size=64, aux=None, head="joint6")
OUTPUT = Output(key="work/weights", sha256="", size=0)
EXPERIMENT = Experiment(name="small", classifiers={"tiny": MODEL}, folds={"run": (0,)})


@pytest.fixture
def run(tmp_path_factory, monkeypatch):
    """A run of one net, without a store."""
    weights = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_file(ClassifierNet(MODEL).state_dict(), weights)
    monkeypatch.setattr(Store, "from_environment", lambda: None)
    monkeypatch.setattr(folder, "find_weights", lambda *_: RunWeights(EXPERIMENT, (0,), {"tiny": {0: OUTPUT}}))
    monkeypatch.setattr(folder, "fetch", lambda *_: weights)


def answers_otherwise(*_):
    return Deviation("tiny-fold-0", 0.3, None)


def without_network(*_):
    raise ServiceAway("The wheels could not be downloaded (no route): try again, or leave out --wheels.")


@pytest.mark.slow
def test_a_net_that_answers_otherwise_as_onnx_is_named_and_nothing_is_left(run, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "_deviation", answers_otherwise)
    with pytest.raises(BadInput, match=r"The model tiny cannot be exported as ONNX: test_resnet then answers differ"):
        export("r", tmp_path / "deep" / "export", None, Choices(onnx=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_without_wheels_nothing_is_left(run, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "download_wheels", without_network)
    with pytest.raises(ServiceAway, match="no route"):
        export("r", tmp_path / "export", None, Choices(wheels=True))
    assert not list(tmp_path.iterdir())


def test_a_folder_with_torch_has_weights_licence_and_lines_for_a_notebook(run, tmp_path):
    to = tmp_path / "export"
    to.mkdir()
    export("r", to, None, Choices(half=True))
    assert [file.name for file in (to / "weights").iterdir()] == ["tiny-fold-0.safetensors"]
    assert "jobs.tools.export.with_torch import main" in (to / "predict.py").read_text()
    readme = (to / "README.md").read_text()
    assert "half precision" in readme
    assert "ONNX" not in readme
    assert "The code is Apache-2.0." in readme
    assert "--no-index --no-deps" in readme
    assert {"torch", "timm"} <= {line.partition("==")[0] for line in (to / "requirements.txt").read_text().splitlines()}
    assert not list(tmp_path.glob(".export-*"))


@pytest.mark.slow
def test_a_folder_with_onnx_states_the_greatest_difference_of_each_net(run, tmp_path, capsys):
    to = tmp_path / "export"
    export("r", to, None, Choices(onnx=True))
    assert [file.name for file in (to / "weights").iterdir()] == [f"tiny-fold-0{with_onnx.SUFFIX}"]
    assert "jobs.tools.export.with_onnx import main" in (to / "predict.py").read_text()
    told = capsys.readouterr().out
    assert "tiny: converting\ntiny-fold-0: probabilities differ by at most " in told
    assert "| tiny-fold-0 | " in (to / "README.md").read_text()
    needed = {line.partition("==")[0] for line in (to / "requirements.txt").read_text().splitlines()}
    assert "onnxruntime" in needed
    assert not {"torch", "timm", "ultralytics"} & needed


def test_differences_are_accepted_within_the_tolerance_only():
    assert Deviation("net", 1e-5, 0.01).accepted
    assert not Deviation("net", 1e-5, 0.1).accepted
    assert not Deviation("net", 1e-3, None).accepted
    assert not Deviation("net", float("nan"), None).accepted

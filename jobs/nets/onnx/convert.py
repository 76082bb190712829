"""Converts a trained net to ONNX: from films, as they are stored, to its answer, TTA included."""

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Detector, Model
from jobs.nets.classifier import inference
from jobs.nets.classifier.net import ClassifierNet
from jobs.nets.onnx.sessions import INPUT

EXAMPLES = 2  # films that the conversion is traced with; the file takes any number


class WholeNet(torch.nn.Module):
    """A net with all that the code of prediction does around it, up to its probabilities or candidates.

    It computes in single precision, whatever ``precision`` the model has.

    Args:
        net: the net, in eval mode.
        model: its settings.
    """

    def __init__(self, net: torch.nn.Module, model: Model) -> None:
        super().__init__()
        self.net, self.model = net, model
        if isinstance(model, Detector):
            net.model[-1].dynamic = True  # type: ignore[index,union-attr]  # else it keeps a grid that was only traced

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        """Answer films (B, 1, S, S) uint8."""
        if isinstance(self.model, Detector):
            from jobs.nets.yolo import predict

            return predict.predict_batch(self.net, films, tta=self.model.inference.tta)[0]
        assert isinstance(self.net, ClassifierNet)
        return inference.predict_batch(self.net, self.model, films)


class OnnxWriter:
    """Writes the nets of one model, which differ in their weights. The first one is converted, which takes a while.

    Args:
        whole: the first fold's net. Load the weights of another one into it before it is written.
        name: the model's name, for messages.

    Raises:
        BadInput: ONNX cannot express the architecture.
    """

    def __init__(self, whole: WholeNet, name: str) -> None:
        model, size = whole.model, whole.model.inference_size
        films = torch.zeros(EXAMPLES, 1, size, size, dtype=torch.uint8)
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            with torch.no_grad(), warnings.catch_warnings(action="ignore"):
                # Not optimised: each weight keeps its name and shape, so that another fold's can replace it.
                program = torch.onnx.export(
                    whole, (films,), dynamo=True, optimize=False, verbose=False, input_names=[INPUT],
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            cause = error.__cause__ or error
            reason = ": ".join([type(cause).__name__, *str(cause).strip().splitlines()[:1]])
            raise BadInput(
                f"The model {name} cannot be exported as ONNX: PyTorch cannot convert {architecture(model)} "
                f"({reason}). Leave out --onnx."
            ) from error
        assert program is not None
        self._whole, self._program = whole, program

    def write(self, file: Path, *, half: bool) -> None:
        """Write the net with its present weights.

        Args:
            file: the file.
            half: store the weights in half precision; they are widened when the file is loaded.
        """
        used = self._program.model.graph.initializers
        weights = {name: tensor for name, tensor in self._whole.state_dict().items() if name in used}
        self._program.apply_weights(weights)
        model = self._program.model_proto
        _clear_origins(model)
        if half:
            _store_in_half(model.graph)
        file.write_bytes(model.SerializeToString())


def architecture(model: Model) -> str:
    """Return the name of a model's architecture."""
    return model.model if isinstance(model, Detector) else model.backbone


def _clear_origins(model: Any) -> None:
    """Remove what the converter notes of each node: lines of code with this machine's paths."""
    nodes = [node for part in (model.graph, *model.functions) for node in part.node]
    for part in (model, model.graph, *model.functions, *nodes, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")


def _store_in_half(graph: Any) -> None:
    """Store float32 weights as float16, each behind a node that widens it."""
    widened = []
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
            widened.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*widened, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)

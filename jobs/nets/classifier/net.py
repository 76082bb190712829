"""The classifier: a timm backbone, a softmax head, and an auxiliary head that predicts a mask from an inner map."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Aux, Classifier
from jobs.contract.names import STUDY_CLASSES
from jobs.nets.classifier.backbone import create_backbone, feature_level, load_pretrained, own_normalisation
from jobs.nets.normalisation import Normalisation

if TYPE_CHECKING:  # imports the store, which an exported net does not include
    from jobs.nets.weights.pretrained import Pretrained


class Answer(NamedTuple):
    """The net's output for B films.

    Attributes:
        logits: (B, classes), float32.
        mask: (B, 1, cells, cells) logits, float32; None without auxiliary head.
    """

    logits: torch.Tensor
    mask: torch.Tensor | None


class ClassifierNet(nn.Module):
    """Classifies films (B, 1, S, S) in uint8, as stored on disk, so a single grey channel is copied to the device.

    The device normalises it once for each of the backbone's three channels, which also expands it to three. This is
    exact; folding the channels into the first convolution would not be at its padding, because the mean is not zero.
    Mean and standard deviation are buffers stored with the weights, so a stored net can be applied without other data.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: Classifier, normalisation: Normalisation | None = None) -> None:
        super().__init__()
        self.backbone = create_backbone(model.backbone, model.drop_path, model.size)
        normalisation = normalisation or own_normalisation(model.backbone)
        self.register_buffer("mean", torch.tensor(normalisation.mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).reshape(1, -1, 1, 1))
        self.level, self.aux = None, None
        if model.aux:
            self.level, channels = feature_level(self.backbone, model.backbone, model.aux.stride)
            self.aux = aux_head(model.aux, channels)
        # Own dropout and head, because timm's drop_rate means different things in different models.
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(self.backbone.head_hidden_size, len(model.classes))

    def forward(self, films: torch.Tensor) -> Answer:
        """Compute the logits of films (B, 1, S, S) uint8."""
        pixels = ((films.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        mask = None
        if self.aux is None:
            features = self.backbone.forward_features(pixels)
        else:
            features, inner = self.backbone.forward_intermediates(pixels, indices=[self.level])
            mask = self.aux(inner[0]).float()
        pooled = self.backbone.forward_head(features, pre_logits=True)
        return Answer(self.head(self.dropout(pooled)).float(), mask)


def aux_head(aux: Aux, channels: int) -> nn.Sequential:
    """Build ``aux.layers`` convolutions from a feature map with ``channels`` channels to one map of mask logits.

    All but the last are 3 x 3 with batch norm and ReLU; the last is 1 x 1.
    """
    parts: list[nn.Module] = []
    for _ in range(aux.layers - 1):
        convolution = nn.Conv2d(channels, aux.channels, 3, padding=1, bias=False)
        parts += [convolution, nn.BatchNorm2d(aux.channels), nn.ReLU(inplace=True)]
        channels = aux.channels
    return nn.Sequential(*parts, nn.Conv2d(channels, 1, 1))


def create_classifier(model: Classifier, seed: int, pretrained: "Pretrained | None") -> ClassifierNet:
    """Create the net before its first training step; the same seed gives the same net.

    Raises:
        BadInput: backbone, auxiliary head and pretrained weights do not fit together.
    """
    torch.manual_seed(seed)
    net = ClassifierNet(model, pretrained.normalisation if pretrained else None)
    if pretrained and pretrained.whole:
        _continue_from(net, model, pretrained)
    elif pretrained:
        load_pretrained(net.backbone, model.backbone, pretrained.name, pretrained.tensors)
    return net.to(memory_format=torch.channels_last)


def _continue_from(net: ClassifierNet, model: Classifier, start: "Pretrained") -> None:
    """Load a run's net: its backbone, its normalisation, and each head that has the same shapes here.

    Raises:
        BadInput: the backbone is of another architecture or size.
    """
    own, given = net.state_dict(), start.tensors
    fitting = {name for name in own if name in given and given[name].shape == own[name].shape}
    parts: dict[str, list[str]] = {}
    for name in own:
        parts.setdefault(name.partition(".")[0], []).append(name)
    loaded = [name for names in parts.values() if fitting.issuperset(names) for name in names]
    if lacking := [name for name in parts["backbone"] if name not in fitting]:
        raise BadInput(
            f"The weights {start.name} do not fit the backbone {model.backbone}: {len(lacking)} of its tensors are "
            f"missing or of another shape, {lacking[0]} among them. Start from a run with the same backbone, and the "
            "same size if the backbone has one."
        )
    net.load_state_dict({name: given[name] for name in loaded}, strict=False)


def load_classifier(model: Classifier, tensors: dict[str, torch.Tensor]) -> ClassifierNet:
    """Load a trained net from its stored weights.

    Raises:
        BadInput: the weights belong to another model.
    """
    net = ClassifierNet(model)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(f"Stored weights do not fit a classifier on {model.backbone}: {error}") from error
    return net.to(memory_format=torch.channels_last)


def class_probabilities(logits: torch.Tensor, model: Classifier) -> torch.Tensor:
    """Return probabilities (B, classes) that sum to 1 over the study classes and over the film classes of the head.

    For a joint head this is its softmax, renormalised within each of the two groups. A net trained with
    ``loss: sigmoid`` answers each class on its own, so there they need not sum to 1.
    """
    if model.loss == "sigmoid":
        return logits.sigmoid()
    study = len(STUDY_CLASSES) if STUDY_CLASSES[0] in model.classes else 0
    parts = [part.softmax(1) for part in (logits[:, :study], logits[:, study:]) if part.shape[1]]
    return torch.cat(parts, 1)

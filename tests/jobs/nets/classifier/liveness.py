"""For every field of a classifier: a check that changing it changes the result.

``LIVENESS`` maps a field of the experiment's ``Classifier`` (``aux.stride`` for one of its auxiliary head) to a
function that takes a folder of its own and fails where the field is dead. Most changes must show in the weights after
a short training; the others say where else they show.
"""

import functools
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import save_file

from jobs.contract.experiment import Aux, Classifier, ClassifierInference, LearningStage
from jobs.contract.stored.records import Output
from jobs.films.dataset import Dataset
from jobs.nets.classifier.inference import predict
from jobs.nets.classifier.net import create_classifier
from jobs.nets.prediction import selected_output
from jobs.nets.training import Training
from jobs.nets.weights.pretrained import Pretrained
from jobs.runtime.context import Context
from jobs.train_classifier.fold import ClassifierFold
from jobs.train_classifier.loop import ClassifierTraining
from tests.jobs.nets.classifier.films import TINY, training_inputs, write_films
from tests.jobs.nets.liveness_start import overlap

Check = Callable[[Path], None]

AUX = Aux(layers=2, channels=8)
BASE = TINY.model_copy(update={"stages": (LearningStage(lr=3e-3, epochs=2),), "aux": AUX})
# Moves too little to score any better: without batch norm only its weights could change that.
STILL = BASE.model_copy(
    update={"backbone": "test_efficientnet_gn", "stages": (LearningStage(lr=1e-9, epochs=3),), "aux": None}
)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="liveness-")


@functools.cache
def _films() -> Dataset:
    return write_films(Path(_folder().name), studies=12, sizes=(64, 96))


def _train(model: Classifier, seed: int = 3, siblings: Any = "keep") -> ClassifierTraining:
    training = ClassifierTraining(training_inputs(_films(), model, siblings, seed), "cpu", 0)
    training.run(lambda loss, films: None, lambda figures: None)
    return training


@functools.cache
def _weights(model: Classifier, seed: int = 3, siblings: Any = "keep") -> dict[str, torch.Tensor]:
    """The weights that are scored, after a short training."""
    return dict(_train(model, seed, siblings).scored.state_dict())


def _differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() != other.keys() or any(
        value.shape != other[name].shape or not torch.equal(value, other[name]) for name, value in one.items()
    )


def trains_otherwise(base: Classifier = BASE, **changes: Any) -> Check:
    """A check that a change of the model shows in its trained weights; ``base`` is what it is a change of."""

    def check(folder: Path) -> None:
        assert _differ(_weights(base), _weights(base.model_copy(update=changes)))

    return check


def of_aux(**changes: Any) -> Check:
    """Likewise for a change of the auxiliary head."""
    return trains_otherwise(aux=AUX.model_copy(update=changes))


def answers_otherwise(**changes: Any) -> Check:
    """A check that a change of the inference shows in the probabilities of one and the same net."""

    def check(folder: Path) -> None:
        net, films = create_classifier(BASE, 1, None), _films()
        rows = np.arange(6)
        changed = BASE.model_copy(update={"inference": ClassifierInference(**changes)})
        answers = [predict(net, one, films.pack(one.inference_size), rows, "cpu") for one in (BASE, changed)]
        assert not np.allclose(*answers)

    return check


def weights(folder: Path) -> None:
    """Pretrained weights are where the training starts."""
    path = folder / "pretrained.safetensors"
    other = create_classifier(BASE, 99, None)
    save_file({name: value.contiguous() for name, value in other.backbone.state_dict().items()}, path)
    given = create_classifier(BASE, 1, Pretrained("mine", "", path, None))
    assert not _differ(dict(given.backbone.state_dict()), dict(other.backbone.state_dict()))
    assert _differ(dict(given.state_dict()), dict(create_classifier(BASE, 1, None).state_dict()))


def patience(folder: Path) -> None:
    """A stage that gets no better ends early."""
    assert len(_train(STILL.model_copy(update={"patience": 1})).position.curve) < len(_train(STILL).position.curve)


def select(folder: Path) -> None:
    """Best and last are different weights, and each is what its name asks for."""
    training = _train(STILL)
    assert _differ(training.best, dict(training.scored.state_dict()))
    outputs = {f"{name}.safetensors": Output(key=name, sha256="", size=0) for name in ("best", "last")}
    assert selected_output(outputs, BASE.inference).key == "best"
    assert selected_output(outputs, ClassifierInference(select="last")).key == "last"


def inference_batch(folder: Path) -> None:
    """Films go through the net so many at a time."""
    films, net, ticks = _films(), create_classifier(BASE, 1, None), list[int]()
    model = BASE.model_copy(update={"inference": ClassifierInference(batch=4)})
    predict(net, model, films.pack(64), np.arange(6), "cpu", ticks.append)
    assert ticks == [4, 2]


def seed(folder: Path) -> None:
    """Another seed is another training."""
    assert _differ(_weights(BASE), _weights(BASE, seed=4))


def siblings(folder: Path) -> None:
    """Each policy is a training of its own."""
    one, two, three = (_weights(BASE, siblings=policy) for policy in ("keep", "drop", "mask"))
    assert _differ(one, two)
    assert _differ(one, three)
    assert _differ(two, three)


def deterministic(folder: Path) -> None:
    """PyTorch is told before a fold is trained."""
    with patch("jobs.train_classifier.fold.set_determinism") as chosen:
        for model in (BASE.model_copy(update={"deterministic": True}), BASE):
            context = SimpleNamespace(threads=1, cache=folder, device=lambda: "cpu")
            training = SimpleNamespace(model=model, fold=0)
            ClassifierFold.of(cast(Context, context), cast(Training, training))
    assert [call.args for call in chosen.call_args_list] == [(True, "cpu"), (False, "cpu")]


def compiled(folder: Path) -> None:
    """The forward pass is compiled in the mode asked for."""
    with patch("torch.compile", side_effect=lambda net, mode: net) as compiler:
        for mode in ("none", "reduce-overhead"):
            ClassifierTraining(training_inputs(_films(), BASE.model_copy(update={"compile": mode})), "cpu", 0)
    assert [call.kwargs for call in compiler.call_args_list] == [{"mode": "reduce-overhead"}]


def eval_batch(folder: Path) -> None:
    """Films are scored so many at a time."""
    sizes: list[int] = []
    training = ClassifierTraining(training_inputs(_films(), BASE.model_copy(update={"eval_batch": 3})), "cpu", 0)
    whole = training._forward

    def forward(net: Any, batch: Any) -> Any:
        sizes.append(len(batch.films))
        return whole(net, batch)

    with patch.object(training, "_forward", forward):
        training._evaluate(training.inputs.validation, lambda: None)
    assert set(sizes[:-1]) == {3}


def train_score_every(folder: Path) -> None:
    """Some epochs have no score of training films."""
    curve = _train(BASE.model_copy(update={"train_score_every": 2})).position.curve
    assert [row["train_score"] is None for row in curve] == [True, False]


def augment(folder: Path) -> None:
    """Every name, and a list, is a training of its own."""
    named = [_weights(BASE.model_copy(update={"augment": name})) for name in ("none", "basic", "hard", "strong")]
    listed = dict(_train(BASE.model_copy(update={"augment": ({"HorizontalFlip": {"p": 0.5}},)})).scored.state_dict())
    assert all(_differ(one, other) for one, other in itertools.combinations([*named, listed], 2))


def class_weights(folder: Path) -> None:
    """Balanced and given ones are each a training of their own."""
    given = dict(_train(BASE.model_copy(update={"class_weights": {"typical": 3.0}})).scored.state_dict())
    balanced = _weights(BASE.model_copy(update={"class_weights": "balanced"}))
    assert _differ(_weights(BASE), given)
    assert _differ(_weights(BASE), balanced)
    assert _differ(given, balanced)


JOINT = BASE.model_copy(update={"head": "joint6"})

LIVENESS: dict[str, Check] = {
    "backbone": trains_otherwise(backbone="test_resnet"),
    "weights": weights,
    "overlap": overlap(BASE),
    "size": trains_otherwise(size=96),
    "head": trains_otherwise(head="joint6"),
    "loss_on": trains_otherwise(JOINT, loss_on="film"),
    "aux": trains_otherwise(aux=None),
    "optimizer": trains_otherwise(optimizer="madgrad"),
    "stages": trains_otherwise(stages=(*BASE.stages, LearningStage(lr=1e-3, epochs=1))),
    "schedule": trains_otherwise(schedule="constant"),
    "warmup": trains_otherwise(warmup=0.5),
    "batch": trains_otherwise(batch=3),
    "accumulate": trains_otherwise(accumulate=2),
    "weight_decay": trains_otherwise(weight_decay=0.1),
    "loss": trains_otherwise(loss="sigmoid"),
    "focal": trains_otherwise(focal=2.0),
    "class_weights": class_weights,
    "label_smoothing": trains_otherwise(label_smoothing=0.1),
    "dropout": trains_otherwise(dropout=0.5),
    "drop_path": trains_otherwise(BASE.model_copy(update={"backbone": "test_resnet"}), drop_path=0.4),
    "augment": augment,
    "mixup": trains_otherwise(mixup=0.4),
    "cutmix": trains_otherwise(cutmix=1.0),
    "mix_chance": trains_otherwise(BASE.model_copy(update={"mixup": 0.4}), mix_chance=0.3),
    "ema": trains_otherwise(ema=0.9),
    "ema_warmup": trains_otherwise(BASE.model_copy(update={"ema": 0.9}), ema_warmup=1.0),
    "clip": trains_otherwise(clip=0.1),
    "precision": trains_otherwise(precision="bf16"),
    "deterministic": deterministic,
    "compile": compiled,
    "eval_batch": eval_batch,
    "train_score_every": train_score_every,
    "patience": patience,
    "aux.stride": of_aux(stride=8),
    "aux.layers": of_aux(layers=4),
    "aux.channels": of_aux(channels=16),
    "aux.loss": of_aux(loss="bce+dice"),
    "aux.weight": of_aux(weight=0.3),
    "aux.mask": of_aux(mask="ellipse"),
    "stages.lr": trains_otherwise(stages=(LearningStage(lr=1e-3, epochs=2),)),
    "stages.epochs": trains_otherwise(stages=(LearningStage(lr=3e-3, epochs=1),)),
    "inference.size": answers_otherwise(size=96),
    "inference.tta": answers_otherwise(tta="flip"),
    "inference.select": select,
    "inference.batch": inference_batch,
}

# Fields of the whole experiment that a classifier's training reads.
SHARED: dict[str, Check] = {"data.siblings": siblings, "seed": seed}

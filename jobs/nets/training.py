"""What a training depends on, in one value: its work is named by it, and finds its films and first weights by it.

Imports no PyTorch: a stage builds it before it knows whether there is anything to train.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Classifier, Data, Detector, Model, training_settings
from jobs.contract.names import Stage
from jobs.contract.stored.digest import settings
from jobs.contract.stored.records import Done, Output, TrainedFold
from jobs.films.extra import JoinedFilms
from jobs.films.lineage.seen import open_training
from jobs.films.prepared import fetch_other_dataset
from jobs.nets.extra import ExtraPart, extra_parts
from jobs.nets.weights.pretrained import Pretrained, find, pretrained
from jobs.runtime.context import Context
from jobs.runtime.store import Store


@dataclass(frozen=True)
class Training:
    """A training of one model and fold.

    Attributes:
        model: its settings.
        seed: the experiment's seed.
        data: the settings of ``data`` that differ from their defaults and that a training reads.
        fold: the held-out fold.
        folds: number of folds.
        index: digest of the index of its films.
        dataset: hash of the dataset.
        pretrained: the file with the weights that it starts from; None for random ones.
        start: the training that made them; None for pretrained weights.
        without: images that are not trained on.
        extra: films beside the folds.
    """

    model: Model
    seed: int
    data: dict[str, Any]
    fold: int
    folds: int
    index: str
    dataset: str
    pretrained: Output | None = None
    start: TrainedFold | None = None
    without: tuple[str, ...] = ()
    extra: tuple[ExtraPart, ...] = ()

    @classmethod
    def of(cls, context: Context, start: TrainedFold | None) -> Self:
        """Return the training of a context's task.

        Args:
            context: the attempt.
            start: the run's weights that it starts from, see :mod:`jobs.nets.starts`.

        Raises:
            BadInput: prepare is not done, or the store has no weights of the name that the model gives.
        """
        experiment, model = context.experiment, context.experiment.models[context.model]
        index = context.prepared.works["index"]
        _, prepared = context.open_work(Stage.PREPARE, index)
        return cls(
            model=model, seed=experiment.seed, data=settings(experiment.data, only={"siblings"}), fold=context.fold,
            folds=experiment.folds.count, index=index, dataset=prepared.outputs["index.parquet"].sha256,
            pretrained=_first_weights(context.store, model, start), start=start, extra=extra_parts(context),
        )  # fmt: skip

    @classmethod
    def again(
        cls, store: Store, trained: TrainedFold, done: Done, start: TrainedFold | None, without: Mapping[str, set[str]]
    ) -> Self:
        """Return a finished training as it would be without some of its images.

        Args:
            store: the store with its weights.
            trained: the weights that it made.
            done: its record.
            start: what it starts from this time.
            without: index → images to leave out, besides those that it left out already.

        Raises:
            BadInput: the pretrained weights that it started from have been replaced.
        """
        inputs = done.inputs
        kind = Detector if trained.stage is Stage.TRAIN_DETECTOR else Classifier
        model = kind.model_validate(inputs["training"])
        pretrained = _first_weights(store, model, start)
        if start is None and inputs["pretrained"] != (pretrained.sha256 if pretrained else None):
            raise BadInput(
                f"The weights {model.weights} that a start was trained from have been replaced since, so it cannot be "
                "trained again: train that run again, or choose another start."
            )
        return cls(
            model=model, seed=inputs["seed"], data=inputs["data"], fold=inputs["fold"], folds=inputs["folds"],
            index=trained.index, dataset=inputs["dataset"], pretrained=pretrained, start=start,
            without=_more(inputs.get("without", ()), without.get(trained.index)),
            extra=tuple(
                replace(part, without=_more(part.without, without.get(part.index)))
                for part in map(ExtraPart.parse, inputs.get("extra", ()))
            ),
        )  # fmt: skip

    def first_weights(self, context: Context) -> Pretrained | None:
        """Fetch the weights that it starts from; None for random ones."""
        if self.pretrained is None:
            return None
        trained = self.pretrained if self.start else None
        return pretrained(context.store, str(self.model.weights), context.cache, trained)

    def joined(self, context: Context, size: int) -> JoinedFilms:
        """Fetch its films and those beside the folds, at a size."""
        own = fetch_other_dataset(context, self.index, (size,))
        return JoinedFilms(own, [part.open(context, size) for part in self.extra])

    @property
    def siblings(self) -> Any:
        """How films without a box are treated where another film of their study has one."""
        return Data.model_validate(self.data).siblings

    def of_model(self, model: Model) -> Self:
        """Return the same training of another model."""
        return replace(self, model=model)

    def inputs(self, version: int) -> dict[str, Any]:
        """Return everything that the weights depend on.

        Args:
            version: of the stage's weights.
        """
        given = training_settings(self.model)
        if self.start:
            given.pop("weights", None)  # what they are counts, not what they are called
        return {
            "version": version,
            "seed": self.seed,
            "training": given,
            "data": self.data,
            "fold": self.fold,
            "folds": self.folds,
            "dataset": self.dataset,
            "pretrained": self.pretrained.sha256 if self.pretrained else None,
            **({"start": self.start.model_dump(mode="json")} if self.start else {}),
            **({"without": list(self.without)} if self.without else {}),
            **({"extra": [part.inputs() for part in self.extra]} if self.extra else {}),
        }


def _more(images: Iterable[str], others: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(sorted({*images, *(others or ())}))


def _first_weights(store: Store, model: Model, start: TrainedFold | None) -> Output | None:
    """The file with the weights that a training starts from."""
    if start is None:
        return find(store, model.weights) if model.weights else None
    return open_training(store, start, str(model.weights)).outputs[f"{start.select}.safetensors"]

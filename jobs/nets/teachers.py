"""A finished run that labels films beside the folds, each fold's films by its nets of the same fold."""

from dataclasses import dataclass
from typing import Self

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment, Model, PseudoLabels
from jobs.contract.needs.pretrained import experiment_of
from jobs.contract.needs.teachers import asked
from jobs.contract.stored.records import TrainedFold
from jobs.films.lineage.crossing import Crossings
from jobs.films.lineage.overlap import Validation
from jobs.films.lineage.seen import seen_by
from jobs.nets.weights.trained_folds import trained_fold
from jobs.runtime.context import Context


@dataclass(frozen=True)
class Teacher:
    """A teacher.

    Attributes:
        context: the attempt that uses it.
        labels: which run it is, and which of its answers count.
        experiment: the run's experiment.
    """

    context: Context
    labels: PseudoLabels
    experiment: Experiment

    @classmethod
    def of(cls, context: Context, labels: PseudoLabels) -> Self:
        """Open a teacher.

        Raises:
            BadInput: there is no such run.
        """
        store = context.store
        return cls(context, labels, experiment_of(labels.run, "data.extra.labels", store.find_json, store.url))

    @property
    def models(self) -> dict[str, Model]:
        """The models that label films."""
        return asked(self.experiment, self.labels)

    @property
    def sizes(self) -> set[int]:
        """The sizes in pixels that its models predict at."""
        return {model.inference_size for model in self.models.values()}

    def trained(self, fold: int) -> dict[str, TrainedFold]:
        """Return the weights of its models that label films for a fold.

        Raises:
            BadInput: a model has not finished the fold.
        """
        store, run = self.context.store, self.labels.run
        return {name: trained_fold(store, self.experiment, run, name, fold) for name in self.models}

    def refuse_leak(self, crossings: Crossings, fold: int) -> None:
        """Refuse the teacher where its nets of the fold have seen films that the fold validates on.

        Raises:
            BadInput: one has, itself or through a start or a teacher of its own.
        """
        validation = Validation(crossings, fold)
        for name, trained in self.trained(fold).items():
            how = f"{name} fold {fold} of run {self.labels.run}"
            for overlap in validation.overlaps(seen_by(self.context.store, trained, how)):
                raise BadInput(
                    f"data.extra: {overlap.seen.how} has trained on {len(overlap.images)} films that fold {fold} "
                    f"validates on, or that resemble its films ({overlap.example}), so its labels would leak them: "
                    "choose a teacher of the same films and split."
                )

"""A task of a run: one stage of one model and fold, or a stage of the whole run."""

from dataclasses import dataclass

from jobs.contract.names import Stage


@dataclass(frozen=True)
class TaskId:
    """Identifies a task within a run. Its name, S3 keys, labels and arguments are derived here.

    Attributes:
        stage: the stage that runs.
        model: the model's name in the experiment; None for a stage of the whole run.
        fold: the held-out fold; None for a stage of the whole run.
    """

    stage: Stage
    model: str | None = None
    fold: int | None = None

    @property
    def name(self) -> str:
        """The name in Argo's pages, on the board and in messages, e.g. ``prepare`` or ``b3-fold-2``.

        Argo's timeline shows about 23 characters, so the stage, which the pod's name and label give, is left out.
        """
        return str(self.stage) if self.model is None else f"{self.model}-fold-{self.fold}"

    @property
    def former_name(self) -> str:
        """The name up to release 0.1, e.g. ``train-classifier-b3-fold-2``; older workflows still use it."""
        return str(self.stage) if self.model is None else f"{self.stage}-{self.name}"

    @property
    def options(self) -> str:
        """The arguments of ``python -m jobs`` and of ``cv.py logs`` after the stage, e.g. `` --model b3 --fold 2``."""
        return "" if self.model is None else f" --model {self.model} --fold {self.fold}"

    @property
    def path(self) -> str:
        """The task's place in a run's tree, e.g. ``train-classifier/b3/fold-2``."""
        return str(self.stage) if self.model is None else f"{self.stage}/{self.model}/fold-{self.fold}"

    def __str__(self) -> str:
        """For log lines and messages, e.g. ``train-classifier b3 fold 2``."""
        return str(self.stage) if self.model is None else f"{self.stage} {self.model} fold {self.fold}"

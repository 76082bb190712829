"""How any net is trained and scored on a machine."""

from abc import abstractmethod
from typing import Literal, Self

from pydantic import Field, model_validator

from jobs.contract.experiment.values import Count, Frozen


class Trained(Frozen):
    """How any net is trained and scored on a machine."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on a GPU from Ampere on, fp16 with scaled loss on an older one, fp32 on a CPU"
    )
    deterministic: bool = Field(
        False,
        description="a training repeated or resumed on one kind of GPU ends with the same bits, which costs speed; "
        "without it, kernels may add in another order each time; on a CPU it always does",
    )
    compile: Literal["none", "cudagraphs", "default", "reduce-overhead", "max-autotune"] = Field(
        "none",
        description="how a training's forward and backward pass runs; cudagraphs: PyTorch's own kernels as a CUDA "
        "graph, without a compiler; others: the mode of torch.compile, which needs a C compiler",
    )
    eval_batch: Count | None = Field(
        None,
        description="films at once when an epoch is scored; where not given, the training batch on a CPU (a detector's "
        "twice) and four times the training batch on a GPU",
    )
    train_score_every: Count = Field(1, description="epochs between two scores on training films")
    overlap: Literal["refuse", "drop"] = Field(
        "refuse",
        description="where the weights are a run's, what to do if it trained on films of a fold's validation patients: "
        "end, or train the start of that fold again without them",
    )

    @property
    @abstractmethod
    def accumulates(self) -> bool:
        """Whether a step adds up the gradients of several batches."""

    @model_validator(mode="after")
    def _graphs_keep_no_gradients(self) -> Self:
        # A CUDA graph writes each batch's gradients over those of the batch before:
        # https://github.com/pytorch/pytorch/issues/169545
        if self.compile not in ("none", "default") and self.accumulates:
            raise ValueError(
                f"compile: {self.compile} runs CUDA graphs, which cannot add up the gradients of several batches: "
                "make a step of one batch, or set compile: none or default"
            )
        return self

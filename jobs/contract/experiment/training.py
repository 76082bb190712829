"""How any net is trained and scored on a machine."""

from typing import Literal

from pydantic import Field

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
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"] = Field(
        "none", description="mode of torch.compile for the training's forward and backward pass"
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

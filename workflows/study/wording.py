"""Format models and numbers as the author's log does."""

from collections.abc import Callable, Mapping, Sequence

from jobs.contract.experiment import Classifier, Detector, Experiment

BETWEEN_MODELS = " / "
Model = Classifier | Detector


def models(experiment: Experiment) -> list[Model]:
    """All models, classifiers first."""
    return [*experiment.classifiers.values(), *experiment.detectors.values()]


def of_models(experiment: Experiment, format_model: Callable[[Model], str]) -> str:
    """Format every model; one text if all are equal, else one per model."""
    texts = [format_model(model) for model in models(experiment)]
    return texts[0] if len(set(texts)) == 1 else BETWEEN_MODELS.join(texts)


def net(model: Model) -> str:
    """Backbone and regularisation, e.g. ``tf_efficientnet_b3 + aux loss + 0.5 dropout``."""
    if isinstance(model, Detector):
        return model.model + (f" × {model.width:g}" if model.width else "")
    parts = [model.backbone]
    parts += ["aux loss"] if model.aux else []
    parts += [f"{model.dropout:g} dropout"] if model.dropout else []
    parts += [f"{model.drop_path:g} path dropout"] if model.drop_path else []
    if model.augment not in ("none", "basic"):
        parts.append(f"{model.augment} augment" if isinstance(model.augment, str) else "own augment")
    parts += [f"mixup {model.mixup:g}"] if model.mixup else []
    parts += [f"cutmix {model.cutmix:g}"] if model.cutmix else []
    return " + ".join(parts)


def learning_rate(model: Model) -> str:
    """One rate per stage, e.g. ``1e-3 + 1e-4``; ``1e-2 evolved`` if a search starts from it."""
    if isinstance(model, Detector):
        return rate(model.lr) + (" evolved" if model.evolve else "")
    return " + ".join(rate(stage.lr) for stage in model.stages)


def epochs(model: Model) -> str:
    """Epochs of each stage, e.g. ``12 + 25``; one number if all are equal."""
    counts = [model.epochs] if isinstance(model, Detector) else [stage.epochs for stage in model.stages]
    return " + ".join(map(str, counts if len(set(counts)) > 1 else counts[:1]))


def batch(model: Model) -> str:
    """``8``, or ``2 × 4`` if gradients of 4 batches are accumulated; with a nominal batch, ``16 to 64``."""
    if isinstance(model, Detector) and model.nominal_batch and model.nominal_batch != model.batch:
        return f"{model.batch} to {model.nominal_batch}"
    return f"{model.batch} × {model.accumulate}" if model.accumulate > 1 else str(model.batch)


def size(model: Model) -> str:
    """``512``, or ``512 → 640`` if inference uses another size."""
    return str(model.size) + (f" → {model.inference_size}" if model.inference_size != model.size else "")


def rate(value: float) -> str:
    """``1e-3`` for 0.001."""
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def megabytes(count: int | None) -> str:
    """``980 MB``; empty for None or 0."""
    return f"{count / 1e6:,.0f} MB" if count else ""


def score(value: float | None) -> str:
    """A score with four decimals; empty for None."""
    return "" if value is None else f"{value:.4f}"


def worth(by_option: Mapping[str, Sequence[float]]) -> str:
    """What each inference option adds, e.g. ``size -0.008; TTA +0.003``."""
    return "; ".join(f"{'TTA' if option == 'tta' else option} {signed(gains)}" for option, gains in by_option.items())


def signed(values: Sequence[float]) -> str:
    """Differences of several models, with signs."""
    return BETWEEN_MODELS.join(f"{value:+.3f}" for value in values)

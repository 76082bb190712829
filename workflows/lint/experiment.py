"""Rules for an experiment whose values are each valid but do not fit together."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from jobs.contract.experiment import Classifier, Experiment, Model
from workflows.lint.backbones import Backbone, backbones
from workflows.lint.findings import Problem, Rules
from workflows.lint.transforms import transform_problems

# Average precision still gains from boxes above this confidence.
LOW_CONFIDENCE: Final = 1e-3
# Pixels a side from which a training is meant to reach a score, not to try the path.
FULL_SIZE: Final = 256

rule = Rules[Experiment]()


def _models(experiment: Experiment) -> Iterator[tuple[str, Model]]:
    """Yield every model with its path in the experiment, e.g. ``detectors.yolo``."""
    for name, model in experiment.models.items():
        yield f"classifiers.{name}" if isinstance(model, Classifier) else f"detectors.{name}", model


@rule("CXR101", "error", "set batch to 2 or more")
def batch_of_one(experiment: Experiment) -> Iterator[Problem]:
    """Batch norm over one film has no useful variance."""
    for path, model in _models(experiment):
        if model.batch == 1:
            yield Problem(f"{path}.batch", "batch norm over one film trains on noise, or fails at 1×1 features")


@rule("CXR102", "warning", "raise batch as far as memory allows")
def accumulation_beside_batch_norm(experiment: Experiment) -> Iterator[Problem]:
    """Accumulating gradients does not enlarge the batch that batch norm sees."""
    for path, model in _models(experiment):
        if model.accumulate > 1:
            films = f"{model.accumulate} × {model.batch} films"
            yield Problem(f"{path}.accumulate", f"an update uses {films}, but batch norm sees only {model.batch}")


@rule("CXR103", "warning", "make close_mosaic smaller than epochs")
def mosaic_never_applied(experiment: Experiment) -> Iterator[Problem]:
    """``close_mosaic`` switches mosaic and mixup off for the last epochs."""
    for name, detector in experiment.detectors.items():
        if detector.close_mosaic >= detector.epochs and (detector.mosaic or detector.mixup):
            message = f"mosaic and mixup are off in the last {detector.close_mosaic} of {detector.epochs} epochs"
            yield Problem(f"detectors.{name}.close_mosaic", message)


@rule("CXR104", "note", "none needed if intended; both sizes are packed")
def inference_at_another_size(experiment: Experiment) -> Iterator[Problem]:
    """A model is scored at another size than it is trained at."""
    for path, model in _models(experiment):
        if model.inference_size != model.size:
            message = f"trained at {model.size} pixels, scored at {model.inference_size}"
            yield Problem(f"{path}.inference.size", message)


@rule("CXR105", "warning", "make warmup smaller than epochs")
def warmup_as_long_as_training(experiment: Experiment) -> Iterator[Problem]:
    """The learning rate never leaves its warm-up."""
    for path, model, what, epochs in _learning_stages(experiment):
        if model.warmup >= epochs:
            yield Problem(f"{path}.warmup", f"{what} has {epochs} epochs, but warm-up takes {model.warmup:g}")


@rule("CXR106", "note", "make patience smaller than epochs, or remove it")
def patience_never_reached(experiment: Experiment) -> Iterator[Problem]:
    """Early stopping needs more epochs than there are."""
    for path, model, what, epochs in _learning_stages(experiment):
        if model.patience and model.patience >= epochs:
            message = f"{what} has {epochs} epochs, too few for a patience of {model.patience}"
            yield Problem(f"{path}.patience", message)


def _learning_stages(experiment: Experiment) -> Iterator[tuple[str, Model, str, int]]:
    """Yield path, model, description and epochs of every learning-rate stage; a detector has one."""
    for name, classifier in experiment.classifiers.items():
        for index, stage in enumerate(classifier.stages):
            yield f"classifiers.{name}", classifier, f"stage {index}", stage.epochs
    for name, detector in experiment.detectors.items():
        yield f"detectors.{name}", detector, "training", detector.epochs


@rule("CXR107", "error", "give a weight above 0 to a source that the models feed")
def none_rule_without_a_source(experiment: Experiment) -> Iterator[Problem]:
    """The ensemble refuses to score the class none, after all folds were trained."""
    fed = experiment.none_sources
    weights = experiment.ensemble.none.model_dump()
    if not any(weights[source] for source in fed):
        sources = " and ".join(fed) or "none of its sources"
        yield Problem("ensemble.none", f"the models with a weight feed {sources}, and no source fed has a weight")


@rule("CXR108", "warning", "lower the value to 0.001 or less")
def low_confidence_boxes_dropped(experiment: Experiment) -> Iterator[Problem]:
    """Average precision gains from boxes of low confidence."""
    for name, detector in experiment.detectors.items():
        if detector.inference.confidence > LOW_CONFIDENCE:
            message = f"boxes below {detector.inference.confidence:g} are not written"
            yield Problem(f"detectors.{name}.inference.confidence", message)
    if experiment.ensemble.fusion.floor > LOW_CONFIDENCE:
        message = f"boxes below {experiment.ensemble.fusion.floor:g} are left out"
        yield Problem("ensemble.fusion.floor", message)


@rule("CXR109", "warning", "give one of the models a weight above 0")
def all_weights_zero(experiment: Experiment) -> Iterator[Problem]:
    """Models are trained that the ensemble does not use."""
    voters = experiment.voters
    for kind, models in (("classifiers", experiment.classifiers), ("detectors", experiment.detectors)):
        if models and not any(name in voters for name in models):
            yield Problem("ensemble.weights", f"all {kind} have weight 0")


@rule("CXR110", "note", "none needed if intended; the search of one fold gives a recipe for all folds")
def search_on_every_fold(experiment: Experiment) -> Iterator[Problem]:
    """Each fold runs a search of its own."""
    folds = len(experiment.folds.selected)
    for name, detector in experiment.detectors.items():
        if detector.candidates and folds > 1:
            message = f"{detector.candidates} candidates on {folds} folds are {detector.candidates * folds} trainings"
            yield Problem(f"detectors.{name}.evolve", message)


@rule("CXR115", "note", 'store weights with "jobs weights add NAME" and name them; or none needed if intended')
def full_size_model_from_random_weights(experiment: Experiment) -> Iterator[Problem]:
    """Random weights need far more films and epochs than pretrained ones."""
    for path, model in _models(experiment):
        if model.weights is None and model.size >= FULL_SIZE:
            yield Problem(f"{path}.weights", f"training at {model.size} pixels starts from random weights")


@rule("CXR120", "warning", "name weights of a run, or remove overlap")
def overlap_without_a_start(experiment: Experiment) -> Iterator[Problem]:
    """Only weights that a run trained may have seen validation films."""
    for path, model in _models(experiment):
        if model.overlap == "drop" and model.weights is None:
            yield Problem(f"{path}.overlap", "training starts from random weights, so there is nothing to drop")


@rule("CXR112", "error", "use a name of timm.list_models()")
def unknown_backbone(experiment: Experiment) -> Iterator[Problem]:
    """Every fold would fail once its films are prepared."""
    known = backbones()
    for name, classifier in experiment.classifiers.items():
        if (architecture := _architecture(classifier)) not in known:
            near = get_close_matches(architecture, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Problem(f"classifiers.{name}.backbone", f"timm has no model {classifier.backbone}{hint}")


@rule("CXR124", "error", "use transforms of albumentations 2.0.8 with the values that its documentation gives")
def refused_transform(experiment: Experiment) -> Iterator[Problem]:
    """A training would end before its first step."""
    yield from transform_problems(experiment)


@rule("CXR125", "warning", "set what the value belongs to, or remove the value")
def value_without_effect(experiment: Experiment) -> Iterator[Problem]:
    """A value is read only together with another one."""
    for name, model in experiment.classifiers.items():
        if model.ema_warmup and not model.ema:
            yield Problem(f"classifiers.{name}.ema_warmup", "no weights are averaged: ema is 0")
        if model.mix_chance < 1 and not (model.mixup or model.cutmix):
            yield Problem(f"classifiers.{name}.mix_chance", "nothing is mixed: mixup and cutmix are 0")


@rule("CXR113", "error", "set drop_path to 0, or take a backbone with residual paths")
def no_paths_to_drop(experiment: Experiment) -> Iterator[Problem]:
    """The model refuses the option, or ignores it."""
    for name, classifier, backbone in _known_backbones(experiment):
        if classifier.drop_path and not backbone.drops_paths:
            message = f"{classifier.backbone} has no residual paths to drop"
            yield Problem(f"classifiers.{name}.drop_path", message)


@rule("CXR114", "error", "set aux.stride to one that the backbone has, or aux to null")
def no_feature_map_for_the_mask(experiment: Experiment) -> Iterator[Problem]:
    """The auxiliary head predicts its mask from a feature map of one stride."""
    for name, classifier, backbone in _known_backbones(experiment):
        if classifier.aux and classifier.aux.stride not in backbone.strides:
            has = ", ".join(map(str, backbone.strides)) or "none"
            message = f"{classifier.backbone} has no feature map of stride {classifier.aux.stride} (it has {has})"
            yield Problem(f"classifiers.{name}.aux.stride", message)


def _architecture(classifier: Classifier) -> str:
    return classifier.backbone.partition(".")[0]  # a tag names weights


def _known_backbones(experiment: Experiment) -> Iterator[tuple[str, Classifier, Backbone]]:
    known = backbones()
    for name, classifier in experiment.classifiers.items():
        if backbone := known.get(_architecture(classifier)):
            yield name, classifier, backbone

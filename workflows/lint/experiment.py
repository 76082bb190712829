"""What can be wrong with an experiment or a profile although every value is valid by itself."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from jobs.contract import environment
from jobs.contract.experiment import Classifier, Detector, Experiment
from jobs.contract.names import Stage
from jobs.contract.profile import Profile
from workflows.lint.findings import Found
from workflows.manifest.quantity import parse_quantity

WEAK = 1e-3  # boxes below this are still worth keeping where average precision is the score
ENOUGH_GRACE = 60  # seconds: what writing a checkpoint to S3 may take
_LOCAL = re.compile(r"//(localhost|127\.|\[::1\]|0\.0\.0\.0)")


def check_experiment(experiment: Experiment) -> Iterator[Found]:
    """The experiment's traps."""
    for name, classifier in experiment.classifiers.items():
        yield from _check_model(f"classifiers.{name}", classifier)
        yield from _check_stages(f"classifiers.{name}", classifier)
    for name, detector in experiment.detectors.items():
        yield from _check_model(f"detectors.{name}", detector)
        yield from _check_detector(f"detectors.{name}", detector)
        if (tried := detector.candidates) and (folds := len(experiment.folds.selected)) > 1:
            says = f"{tried} candidates on each of {folds} folds are {tried * folds} trainings"
            yield "CXR110", f"detectors.{name}.evolve", says
    yield from _check_ensemble(experiment)


def check_profile(profile: Profile) -> Iterator[Found]:
    """The profile's traps."""
    if profile.gpu.count == 0 and not profile.gpu.allow_cpu:
        yield "CXR201", "gpu.count", "gpu.count is 0 and allow_cpu is off"
    for where, address in (("store.endpoint", profile.store.endpoint), ("pushgateway", profile.pushgateway)):
        if address and _LOCAL.search(address):
            yield "CXR202", where, f"inside a pod, {address} is the pod itself"
    if profile.store.endpoint and not profile.store.secret:
        yield "CXR205", "store.secret", f"{profile.store.endpoint} will want keys, and no Secret is named"
    sources = {f"volumes.{volume.name}": volume.source for volume in profile.volumes}
    for where, source in (sources | {"cache_volume": profile.cache_volume or {}}).items():
        if "hostPath" in source:
            yield "CXR203", where, "a hostPath volume is refused where a namespace enforces the restricted standard"
    yield from _check_kubernetes_words(profile)
    for name in profile.env:
        if name in vars(environment).values() and name != environment.CHECKPOINT_SECONDS:
            yield "CXR206", f"env.{name}", f"{name} is set by the pipeline"
    if profile.images.detector in (profile.images.base, profile.images.small):
        yield "CXR207", "images.detector", "the detector's image is the same as another stage's"
    yield from _check_limits(profile)


def _check_model(where: str, model: Classifier | Detector) -> Iterator[Found]:
    if model.batch == 1:
        yield (
            "CXR101",
            f"{where}.batch",
            "with a batch of one film batch norm trains on noise, or fails at 1×1 features",
        )
    if model.accumulate > 1:
        says = f"{model.accumulate} steps of {model.batch} films are one update, but batch norm sees {model.batch}"
        yield "CXR102", f"{where}.accumulate", says
    if model.inference_size != model.size:
        yield "CXR104", f"{where}.inference.size", f"trained at {model.size}, scored at {model.inference_size} pixels"


def _check_stages(where: str, classifier: Classifier) -> Iterator[Found]:
    for index, stage in enumerate(classifier.stages):
        if classifier.warmup >= stage.epochs:
            says = f"stage {index} has {stage.epochs} epochs and warms up for {classifier.warmup:g}"
            yield "CXR105", f"{where}.warmup", says
        if classifier.patience and classifier.patience >= stage.epochs:
            says = f"stage {index} ends after {stage.epochs} epochs, before {classifier.patience} can pass without gain"
            yield "CXR106", f"{where}.patience", says


def _check_detector(where: str, detector: Detector) -> Iterator[Found]:
    if detector.close_mosaic >= detector.epochs and (detector.mosaic or detector.mixup):
        says = f"close_mosaic takes them from the last {detector.close_mosaic} of {detector.epochs} epochs"
        yield "CXR103", f"{where}.close_mosaic", says
    if detector.warmup >= detector.epochs:
        says = f"{detector.epochs} epochs, of which {detector.warmup:g} warm up"
        yield "CXR105", f"{where}.warmup", says
    if detector.patience and detector.patience >= detector.epochs:
        yield "CXR106", f"{where}.patience", f"training ends after {detector.epochs} epochs anyway"
    if detector.inference.confidence > WEAK:
        says = f"boxes below {detector.inference.confidence:g} are never written"
        yield "CXR108", f"{where}.inference.confidence", says


def _check_ensemble(experiment: Experiment) -> Iterator[Found]:
    rule = experiment.ensemble.none
    heads = {classifier.head for classifier in experiment.classifiers.values()}
    sources = [rule.boxes] if experiment.detectors else []
    sources += [rule.negative] if heads & {"study4", "joint6"} else []
    sources += [rule.film2] if heads & {"film2", "joint6"} else []
    if not any(sources):
        yield "CXR107", "ensemble.none", "no model of this experiment feeds a source that has a weight"
    if experiment.ensemble.fusion.floor > WEAK:
        yield "CXR108", "ensemble.fusion.floor", f"boxes below {experiment.ensemble.fusion.floor:g} are left out"
    for kind, models in (("classifiers", experiment.classifiers), ("detectors", experiment.detectors)):
        if models and all(experiment.ensemble.weights.get(name, 1) == 0 for name in models):
            yield "CXR109", "ensemble.weights", f"all {kind} have weight 0"


def _check_kubernetes_words(profile: Profile) -> Iterator[Found]:
    from hera.workflows import models as m

    from workflows.lint.manifest import check_words

    given: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
        f"tolerations.{index}": (m.Toleration, value) for index, value in enumerate(profile.tolerations)
    }
    volumes = {f"volumes.{volume.name}.source": volume.source for volume in profile.volumes}
    volumes |= {"cache_volume": profile.cache_volume} if profile.cache_volume else {}
    given |= {where: (m.Volume, {"name": "volume", **source}) for where, source in volumes.items()}
    for where, (model, value) in given.items():
        yield from check_words(value, model, where)


def _check_limits(profile: Profile) -> Iterator[Found]:
    if profile.grace < ENOUGH_GRACE:
        yield "CXR024", "grace", f"{profile.grace} seconds are short for a checkpoint on its way to S3"
    if profile.retry.cap < profile.retry.backoff:
        yield "CXR204", "retry.cap", f"retry.cap {profile.retry.cap} is below retry.backoff {profile.retry.backoff}"
    if profile.run_deadline < profile.task_deadline:
        yield "CXR204", "run_deadline", "run_deadline is below task_deadline, so no task ever has the time it is given"
    for stage in Stage:
        resources = profile.resources_of(stage)
        if parse_quantity(resources.memory) > parse_quantity(profile.memory_cap):
            says = f"{stage} asks for {resources.memory}, above memory_cap {profile.memory_cap}: resume cannot raise it"
            yield "CXR204", f"resources.{stage}.memory", says
        if resources.cpu_limit and parse_quantity(resources.cpu_limit) < parse_quantity(resources.cpu):
            says = f"{stage} asks for {resources.cpu} CPUs and may use {resources.cpu_limit}"
            yield "CXR204", f"resources.{stage}.cpu_limit", says

"""Rules for a profile whose values are each valid but do not work in a cluster."""

import re
from collections.abc import Iterator
from typing import Final

from jobs.contract import environment
from jobs.contract.names import Stage
from jobs.contract.profile import Profile
from workflows.lint.findings import Problem, Rules
from workflows.manifest.quantity import parse_quantity

_LOOPBACK: Final = re.compile(r"//(localhost|127\.|\[::1\]|0\.0\.0\.0)")
# The one variable of the contract that a profile may set.
_ALLOWED: Final = environment.CHECKPOINT_SECONDS

rule = Rules[Profile]()


@rule("CXR201", "error", "set gpu.count, or set gpu.allow_cpu to train on the CPU")
def no_gpu(profile: Profile) -> Iterator[Problem]:
    """Training pods ask for no GPU and then refuse to run without one."""
    if profile.gpu.count == 0 and not profile.gpu.allow_cpu:
        yield Problem("gpu.count", "gpu.count is 0 and gpu.allow_cpu is false")


@rule("CXR208", "error", "set gpu.count to 1")
def idle_gpus(profile: Profile) -> Iterator[Problem]:
    """A training uses one GPU; folds and models run side by side instead."""
    if profile.gpu.count > 1:
        yield Problem("gpu.count", f"each pod would hold {profile.gpu.count} GPUs and use one")


@rule("CXR202", "error", "use an address of the cluster's network")
def loopback_address(profile: Profile) -> Iterator[Problem]:
    """Pods cannot reach the machine that submits through a loopback address."""
    for where, address in (("store.endpoint", profile.store.endpoint), ("pushgateway", profile.pushgateway)):
        if address and _LOOPBACK.search(address):
            yield Problem(where, f"inside a pod, {address} is the pod itself")


@rule("CXR203", "warning", "use a persistentVolumeClaim or an emptyDir")
def host_path(profile: Profile) -> Iterator[Problem]:
    """The restricted Pod Security Standard forbids hostPath volumes."""
    sources = {f"volumes.{volume.name}": volume.source for volume in profile.volumes}
    for where, source in (sources | {"cache_volume": profile.cache_volume or {}}).items():
        if "hostPath" in source:
            yield Problem(where, "a namespace that enforces the restricted standard refuses a hostPath volume")


@rule("CXR204", "error", "raise the smaller of the two values")
def contradictory_limits(profile: Profile) -> Iterator[Problem]:
    """A limit lies below what it limits."""
    if profile.retry.cap < profile.retry.backoff:
        yield Problem("retry.cap", f"retry.cap {profile.retry.cap} is below retry.backoff {profile.retry.backoff}")
    if profile.run_deadline < profile.task_deadline:
        message = f"run_deadline {profile.run_deadline} is below task_deadline {profile.task_deadline}"
        yield Problem("run_deadline", message)
    for stage in Stage:
        resources = profile.resources_of(stage)
        if parse_quantity(resources.memory) > parse_quantity(profile.memory_cap):
            message = f"{stage} requests {resources.memory}, above memory_cap {profile.memory_cap}"
            yield Problem(f"resources.{stage}.memory", message)
        if resources.cpu_limit and parse_quantity(resources.cpu_limit) < parse_quantity(resources.cpu):
            message = f"{stage} requests {resources.cpu} CPUs, above its cpu_limit {resources.cpu_limit}"
            yield Problem(f"resources.{stage}.cpu_limit", message)


@rule("CXR205", "warning", "set store.secret, or remove store.endpoint to use AWS with IRSA")
def endpoint_without_keys(profile: Profile) -> Iterator[Problem]:
    """IRSA gives keys for AWS only."""
    if profile.store.endpoint and not profile.store.secret:
        yield Problem("store.secret", f"{profile.store.endpoint} needs keys, but no Secret is named")


@rule("CXR206", "error", "remove it from env")
def reserved_variable(profile: Profile) -> Iterator[Problem]:
    """The pipeline sets the variables of ``jobs.contract.environment`` itself."""
    for name in profile.env:
        if name in vars(environment).values() and name != _ALLOWED:
            yield Problem(f"env.{name}", f"{name} is set by the pipeline")


@rule("CXR207", "warning", "set images.detector to an image that contains ultralytics")
def detector_in_a_shared_image(profile: Profile) -> Iterator[Problem]:
    """Only the detector's image contains ultralytics."""
    if profile.images.detector in (profile.images.base, profile.images.small):
        yield Problem("images.detector", "the detector uses the image of another stage")

"""Every check of a cluster, run at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from jobs.contract.exits import StageError
from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows.cluster.client import Cluster
from workflows.cluster.http import Forbidden
from workflows.commands.doctor import nodes, objects, services
from workflows.commands.doctor.point import Point

Check = Callable[[Cluster, Profile], Iterator[Point]]


def images_of(profile: Profile, revision: str, experiment: Experiment | None = None) -> list[str]:
    """The images that pods are started from: an experiment's, else all."""
    images = profile.images
    named = [images.small]
    named += [images.base] if experiment is None or experiment.classifiers else []
    named += [images.detector] if experiment is None or experiment.detectors else []
    return list(dict.fromkeys(image.replace("{revision}", revision) for image in named))


def examine(cluster: Cluster, profile: Profile, images: Sequence[str], *, store: bool = True) -> list[Point]:
    """Every check, at once; what breaks off a check is a point of its own.

    Args:
        cluster: the cluster.
        profile: what will be asked of it.
        images: that pods will be started from.
        store: whether to write to the store from here, too; submit needs no keys to it, and asks without.
    """
    checks: list[Check] = [objects.argo, objects.rights, objects.service_account, services.bucket]
    checks += [partial(services.images, images)]
    if cluster.kubernetes:
        checks += [objects.namespace, objects.secrets, objects.queue, nodes.gpus, nodes.room]
    if store:
        checks += [services.store, services.pushgateway]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [
            point for points in pool.map(lambda check: _careful(check, cluster, profile), checks) for point in points
        ]


def _careful(check: Check, cluster: Cluster, profile: Profile) -> list[Point]:
    name = getattr(check, "func", check).__name__.replace("_", " ")
    try:
        return list(check(cluster, profile))
    except Forbidden as error:
        return [Point(name, "unsure", f"may not be looked at: {error}")]
    except StageError as error:
        return [Point(name, "bad", str(error))]

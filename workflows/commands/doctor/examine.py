"""Run all checks of a cluster in parallel."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from jobs.contract.exits import StageError
from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows.cluster.client import Cluster
from workflows.cluster.http import Forbidden, NoAnswer, Unauthorized
from workflows.commands.doctor import nodes, objects, services
from workflows.commands.doctor.point import Point

Check = Callable[[Cluster, Profile], Iterator[Point]]


def images_of(profile: Profile, revision: str, experiment: Experiment | None = None) -> list[str]:
    """Return the images that an experiment's pods use; all images without an experiment."""
    images = profile.images
    named = [images.small]
    named += [images.base] if experiment is None or experiment.classifiers else []
    named += [images.detector] if experiment is None or experiment.detectors else []
    return list(dict.fromkeys(image.replace("{revision}", revision) for image in named))


def examine(cluster: Cluster, profile: Profile, images: Sequence[str], *, store: bool = True) -> list[Point]:
    """Run all checks in parallel. A check that raises an error becomes a point of its own.

    Args:
        cluster: the cluster.
        profile: the settings to check it against.
        images: the images of the pods.
        store: whether to also write to the store from this machine; submit skips that, because it needs no keys.
    """
    checks: list[Check] = [objects.argo, objects.rights, objects.service_account, services.bucket]
    checks += [partial(services.images, images)]
    if cluster.kubernetes:
        checks += [objects.namespace, objects.secrets, objects.queue, objects.quota, nodes.gpus, nodes.room]
    if store:
        checks += [services.store, services.pushgateway]
    with ThreadPoolExecutor(len(checks)) as pool:
        found = pool.map(lambda check: _careful(check, cluster, profile), checks)
        return list(dict.fromkeys(point for points in found for point in points))  # one problem, one point


def _careful(check: Check, cluster: Cluster, profile: Profile) -> list[Point]:
    name = getattr(check, "func", check).__name__.replace("_", " ")
    try:
        return list(check(cluster, profile))
    except (Unauthorized, NoAnswer) as error:
        return [Point("cluster", "bad", str(error))]
    except Forbidden as error:
        return [Point(name, "unsure", f"cannot be checked: {error}")]
    except StageError as error:
        return [Point(name, "bad", str(error))]

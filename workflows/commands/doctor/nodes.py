"""Check the cluster's nodes against the requests of pods. Never an error: an autoscaler may add nodes."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.contract.gpu import CUDA, LEAST_DRIVER
from jobs.contract.names import Stage
from jobs.contract.profile import GPU_STAGES, Profile
from workflows.cluster.client import Cluster
from workflows.commands.doctor.objects import kubernetes
from workflows.commands.doctor.point import Point
from workflows.manifest.quantity import parse_quantity

# Of GPU feature discovery: today's name and the one before.
DRIVER_LABELS: Final = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")


def gpus(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that a node has the GPUs that a pod requests, and that the pod may run there."""
    if not profile.gpu.count:
        return
    resource, count = profile.gpu.resource, profile.gpu.count
    nodes = [(node, int(_allocatable(node).get(resource, 0))) for node in kubernetes(cluster).nodes()]
    offering = [(node, number) for node, number in nodes if number >= count]
    if not offering:
        remedy = "install NVIDIA's device plugin (check with kubectl describe nodes), or change gpu in the profile"
        yield Point("gpus", "unsure", f"no node offers {count} {resource}", remedy)
        return
    fitting = [(node, number) for node, number in offering if _selected(node, profile, gpus=True)]
    if not fitting:
        names = ", ".join(node["metadata"]["name"] for node, _ in offering)
        says = f"{names} offer {resource}, but gpu_node_selector or a taint keeps the pods away"
        yield Point("gpus", "unsure", says, "correct gpu_node_selector and tolerations in the profile")
        return
    yield Point("gpus", "good", f"{sum(number for _, number in fitting)} {resource} on {len(fitting)} nodes")
    yield from _drivers([node for node, _ in fitting])


def _drivers(nodes: list[Mapping[str, Any]]) -> Iterator[Point]:
    """Check NVIDIA's driver against what PyTorch needs, on nodes that GPU feature discovery has labelled."""
    least = LEAST_DRIVER[CUDA]
    releases = {node["metadata"]["name"]: _driver(node) for node in nodes}
    old = {name: release for name, release in releases.items() if release is not None and release < least}
    if old:
        says = f"{', '.join(f'{name} has {release}' for name, release in old.items())}; CUDA {CUDA} needs {least}"
        remedy = "update the driver, exclude the nodes by gpu_node_selector, or build the images for an older CUDA"
        yield Point("driver", "unsure", says, remedy)
    elif known := {release for release in releases.values() if release is not None}:
        yield Point("driver", "good", f"release {min(known)} or newer; CUDA {CUDA} needs {least}")


def _driver(node: Mapping[str, Any]) -> int | None:
    labels = node["metadata"].get("labels") or {}
    release = next((labels[name] for name in DRIVER_LABELS if name in labels), None)
    return int(release) if release and release.isdigit() else None


def room(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that a pod of each stage fits on an empty node."""
    nodes = kubernetes(cluster).nodes()
    if nodes and not any(_matches(node, profile.node_selector) for node in nodes):
        wanted = ", ".join(f"{key}={value}" for key, value in profile.node_selector.items())
        remedy = "correct node_selector in the profile (kubectl get nodes --show-labels), or label nodes"
        yield Point("room", "unsure", f"no node has the labels of node_selector: {wanted}", remedy)
        return
    for stage in Stage:
        request = profile.resources_of(stage)
        gpus = stage in GPU_STAGES and profile.gpu.count > 0
        fits = any(
            parse_quantity(_allocatable(node)["cpu"]) >= parse_quantity(request.cpu)
            and parse_quantity(_allocatable(node)["memory"]) >= parse_quantity(request.memory)
            and _selected(node, profile, gpus=gpus)
            for node in nodes
        )
        if not fits:
            says = f"no node has {request.cpu} CPU and {request.memory} for {stage}, even when empty"
            yield Point("room", "unsure", says, f"lower resources.{stage} in the profile, or add such nodes")
            return
    yield Point("room", "good", "a pod of every stage fits on a node")


def _allocatable(node: Mapping[str, Any]) -> Mapping[str, str]:
    allocatable: Mapping[str, str] = (node.get("status") or {}).get("allocatable") or {}
    return allocatable


def _selected(node: Mapping[str, Any], profile: Profile, *, gpus: bool) -> bool:
    """Whether a pod may run on a node: its selectors match, and it tolerates every taint."""
    selector = profile.node_selector | (profile.gpu_node_selector if gpus else {})
    tolerations = [*profile.tolerations, *([{"key": profile.gpu.taint, "operator": "Exists"}] if gpus else [])]
    taints = [taint for taint in (node.get("spec") or {}).get("taints") or () if taint["effect"] != "PreferNoSchedule"]
    return _matches(node, selector) and all(
        any(_tolerated(taint, toleration) for toleration in tolerations) for taint in taints
    )


def _matches(node: Mapping[str, Any], selector: Mapping[str, str]) -> bool:
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _tolerated(taint: Mapping[str, Any], toleration: Mapping[str, Any]) -> bool:
    same_key = toleration.get("key") in (None, "", taint["key"])
    same_value = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
    return same_key and same_value and toleration.get("effect") in (None, "", taint["effect"])

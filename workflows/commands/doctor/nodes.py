"""Whether the cluster's nodes have what pods will ask for. Nodes may come, so nothing here is bad for certain."""

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.contract.names import Stage
from jobs.contract.profile import GPU_STAGES, Profile
from workflows.cluster.client import Cluster
from workflows.commands.doctor.objects import kubernetes
from workflows.commands.doctor.point import Point
from workflows.manifest.quantity import parse_quantity


def gpus(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether some node has the GPUs that a pod asks for, and lets it in."""
    if not profile.gpu.count:
        return
    resource, count = profile.gpu.resource, profile.gpu.count
    nodes = [(node, int(_allocatable(node).get(resource, 0))) for node in kubernetes(cluster).nodes()]
    having = [(node, number) for node, number in nodes if number >= count]
    if not having:
        remedy = "NVIDIA's device plugin puts them there (kubectl describe nodes); or see gpu in the profile"
        yield Point("gpus", "unsure", f"no node offers {count} {resource}", remedy)
        return
    fitting = [(node, number) for node, number in having if _selected(node, profile, gpus=True)]
    if not fitting:
        names = ", ".join(node["metadata"]["name"] for node, _ in having)
        says = f"{names} offer {resource}, but gpu_node_selector or a taint keeps the pods away"
        yield Point("gpus", "unsure", says, "correct gpu_node_selector and tolerations in the profile")
        return
    yield Point("gpus", "good", f"{sum(number for _, number in fitting)} {resource} on {len(fitting)} nodes")


def room(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether each stage's pod fits on some node that were empty."""
    nodes = kubernetes(cluster).nodes()
    for stage in Stage:
        asked = profile.resources_of(stage)
        gpus = stage in GPU_STAGES and profile.gpu.count > 0
        fits = any(
            parse_quantity(_allocatable(node)["cpu"]) >= parse_quantity(asked.cpu)
            and parse_quantity(_allocatable(node)["memory"]) >= parse_quantity(asked.memory)
            and _selected(node, profile, gpus=gpus)
            for node in nodes
        )
        if not fits:
            says = f"no node has {asked.cpu} CPU and {asked.memory} for {stage}, even when empty"
            yield Point(
                "room", "unsure", says, f"ask for less under resources.{stage} in the profile, or let such nodes come"
            )
            return
    yield Point("room", "good", "a pod of every stage fits on some node")


def _allocatable(node: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = (node.get("status") or {}).get("allocatable") or {}
    return found


def _selected(node: Mapping[str, Any], profile: Profile, *, gpus: bool) -> bool:
    """Whether a stage's pod may go on a node: selectors match, every taint is tolerated."""
    labels = node["metadata"].get("labels") or {}
    wanted = profile.node_selector | (profile.gpu_node_selector if gpus else {})
    tolerations = [*profile.tolerations, *([{"key": profile.gpu.resource, "operator": "Exists"}] if gpus else [])]
    taints = [taint for taint in (node.get("spec") or {}).get("taints") or () if taint["effect"] != "PreferNoSchedule"]
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        any(_tolerated(taint, toleration) for toleration in tolerations) for taint in taints
    )


def _tolerated(taint: Mapping[str, Any], toleration: Mapping[str, Any]) -> bool:
    same_key = toleration.get("key") in (None, "", taint["key"])
    same_value = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
    return same_key and same_value and toleration.get("effect") in (None, "", taint["effect"])

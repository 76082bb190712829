"""A cluster, checked point by point with the eyes of the pipeline; each point with its remedy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from jobs.contract.exits import ServiceAway, StageError
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.profile import GPU_STAGES, Profile
from workflows.cluster.client import Cluster
from workflows.cluster.http import Forbidden, Http, NotThere, new_session
from workflows.cluster.kubernetes import Kubernetes
from workflows.cluster.store import open_store
from workflows.quantity import parse_quantity

State = Literal["good", "unsure", "bad"]
OLDEST_ARGO: Final = (3, 6)


@dataclass(frozen=True)
class Point:
    """One thing that was looked at."""

    name: str
    state: State
    says: str
    remedy: str = ""

    def line(self) -> str:
        """For people."""
        sign = {"good": "✓", "unsure": "?", "bad": "✗"}[self.state]
        return f"{sign} {self.name}: {self.says}" + (f"\n    {self.remedy}" if self.remedy else "")


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
        store: whether to try the store from here, too; submit needs no way to it.
    """
    checks: list[Check] = [_argo, _rights, _service_account, partial(_images, images)]
    if cluster.kubernetes:
        checks += [_namespace, _secrets, _gpus, _room, _queue]
    if store:
        checks += [_store, _pushgateway]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [
            point for points in pool.map(lambda check: _careful(check, cluster, profile), checks) for point in points
        ]


def _careful(check: Check, cluster: Cluster, profile: Profile) -> list[Point]:
    name = getattr(check, "func", check).__name__.strip("_").replace("_", " ")
    try:
        return list(check(cluster, profile))
    except Forbidden as error:
        return [Point(name, "unsure", f"may not be looked at: {error}")]
    except StageError as error:
        return [Point(name, "bad", str(error))]


def _argo(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    version = cluster.workflows.version()
    if version is None:
        yield Point("argo", "good", "its custom objects are there; the version is known to Argo's server alone")
        return
    numbers = tuple(int(part) for part in version.lstrip("v").split("+")[0].split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < OLDEST_ARGO:
        yield Point("argo", "bad", f"version {version}", "the workflows need 3.6 or newer: upgrade Argo Workflows")
    else:
        yield Point("argo", "good", f"version {version}")


def _rights(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    if not cluster.kubernetes:
        cluster.workflows.list(cluster.namespace)
        yield Point("rights", "good", f"workflows of {cluster.namespace} may be listed")
        return
    wanted: list[tuple[str, str, str, str | None]]
    wanted = [(verb, "workflows", "argoproj.io", None) for verb in ("create", "get", "list", "patch", "delete")]
    wanted += [("list", "pods", "", None), ("get", "pods", "", "log"), ("list", "events", "", None)]
    refused = [
        f"{verb} {resource}{f'/{part}' if part else ''}"
        for verb, resource, group, part in wanted
        if not cluster.kubernetes.allowed(verb, resource, cluster.namespace, group=group, subresource=part)
    ]
    if refused:
        remedy = f"ask for a Role in {cluster.namespace} that allows it, and a RoleBinding to you"
        yield Point("rights", "bad", f"you may not: {', '.join(refused)}", remedy)
    else:
        yield Point("rights", "good", "you may create, see and stop workflows, and read pods, logs and events")


def _service_account(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    account = profile.service_account
    if not cluster.kubernetes:
        return
    remedy = "helm install it with charts/cxrfold, or name another service_account in the profile"
    if cluster.kubernetes.object(f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts/{account}") is None:
        yield Point("service account", "bad", f"{account} is not there", remedy)
        return
    user = f"system:serviceaccount:{cluster.namespace}:{account}"
    refused = [
        verb
        for verb in ("create", "patch")
        if not cluster.kubernetes.allowed(
            verb, "workflowtaskresults", cluster.namespace, group="argoproj.io", user=user
        )
    ]
    if refused:
        says = f"{account} may not {' and '.join(refused)} workflowtaskresults, which Argo's executor must"
        yield Point("service account", "bad", says, remedy)
    else:
        yield Point("service account", "good", f"{account} may write its tasks' results")


def _images(images: Sequence[str], cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Asks the registries from here: one that wants a login, or that only nodes reach, leaves the point open."""
    for image in images:
        name, _, tag = image.rpartition(":")
        registry, _, path = name.partition("/")
        if not path or not ("." in registry or ":" in registry):
            yield Point("image", "unsure", f"{image} names no registry: only its nodes know", "write registry/name:tag")
            continue
        scheme = "http" if registry.startswith(("localhost", "127.")) else "https"
        server = Http(f"{scheme}://{registry}", f"The registry {registry}", "", new_session(f"{scheme}://{registry}"))
        server.session.headers["Accept"] = (
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        )
        try:
            server.get(f"/v2/{path}/manifests/{tag}")
            yield Point("image", "good", image)
        except Forbidden:
            yield Point("image", "unsure", f"{image}: the registry wants a login; only the nodes know")
        except NotThere:
            remedy = "make images pushes it; or name another under images in the profile"
            yield Point("image", "bad", f"{image} is not in its registry", remedy)
        except ServiceAway as error:
            yield Point("image", "unsure", f"{image}: {error}")


def _namespace(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    found = _kubernetes(cluster).object(f"/api/v1/namespaces/{cluster.namespace}")
    if found is None:
        remedy = f"helm install cxrfold charts/cxrfold --namespace {cluster.namespace} --create-namespace"
        yield Point("namespace", "bad", f"{cluster.namespace} is not there", remedy)
        return
    standard = (found["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce", "none")
    host_paths = [volume.name for volume in profile.volumes if "hostPath" in volume.source]
    if standard in {"restricted", "baseline"} and host_paths:
        says = (
            f"{cluster.namespace} enforces pod security {standard}, which refuses the hostPath volume {host_paths[0]}"
        )
        yield Point("namespace", "bad", says, "use a persistentVolumeClaim instead")
    else:
        yield Point("namespace", "good", f"{cluster.namespace}, pod security enforced: {standard}")


def _secrets(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    wanted: dict[str, tuple[str, ...]]
    wanted = {profile.store.secret: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} if profile.store.secret else {}
    wanted |= {value.name: (value.key,) for value in profile.env.values() if not isinstance(value, str)}
    wanted |= dict.fromkeys(profile.images.pull_secrets, ())
    for name, keys in wanted.items():
        found = _kubernetes(cluster).object(f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}")
        missing = [key for key in keys if key not in ((found or {}).get("data") or {})]
        if found is None or missing:
            says = f"{name} is not there" if found is None else f"{name} lacks {', '.join(missing)}"
            literals = " ".join(f"--from-literal={key}=…" for key in keys)
            remedy = f"kubectl -n {cluster.namespace} create secret generic {name} {literals}"
            yield Point("secret", "bad", says, remedy)
        else:
            yield Point("secret", "good", name)


def _gpus(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    if not profile.gpu.count:
        return
    resource, count = profile.gpu.resource, profile.gpu.count
    nodes = [(node, int(_allocatable(node).get(resource, 0))) for node in _kubernetes(cluster).nodes()]
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


def _room(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether each stage's pod fits on some node that were empty."""
    nodes = _kubernetes(cluster).nodes()
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


def _queue(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    wanted = []
    if profile.queue:
        path = f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{cluster.namespace}/localqueues/{profile.queue}"
        wanted.append(("queue", profile.queue, path, "the chart makes it (queue.enabled), or an administrator"))
    if profile.priority_class:
        path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{profile.priority_class}"
        wanted.append(("priority class", profile.priority_class, path, "an administrator makes it"))
    for what, name, path, remedy in wanted:
        there = _kubernetes(cluster).object(path) is not None
        yield Point(what, "good", name) if there else Point(what, "bad", f"{name} is not there", remedy)


def _store(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    from jobs.runtime.store_check import check

    store = open_store(profile.store)
    lines = list(check(store))
    yield Point("store", "good", f"{store.url}: written, read, listed, removed")
    if any("not honoured" in line for line in lines):
        says = "the server does not honour If-None-Match: two who finish the same work at once may overwrite each other"
        yield Point(
            "store", "unsure", says, "objects are named by their content, so it does no harm; a newer server knows it"
        )


def _pushgateway(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    if not profile.pushgateway:
        return
    address = profile.pushgateway if "://" in profile.pushgateway else f"http://{profile.pushgateway}"
    remedy = "It may have an address that only pods reach; runs do not need it."
    server = Http(address.rstrip("/"), "The Pushgateway", remedy, new_session(address))
    try:
        server.get("/api/v1/status")
        yield Point("pushgateway", "good", address)
    except StageError as error:
        yield Point("pushgateway", "unsure", str(error))


def _kubernetes(cluster: Cluster) -> Kubernetes:
    assert cluster.kubernetes
    return cluster.kubernetes


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

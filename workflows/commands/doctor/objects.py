"""What has to be there in the cluster: Argo, rights, a service account, Secrets, a queue."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from jobs.contract.profile import Profile
from workflows.cluster.client import Cluster
from workflows.cluster.kubernetes import Kubernetes, KubernetesWorkflows
from workflows.commands.doctor.point import Point

OLDEST_ARGO: Final = (3, 6)
# Verb, resource, group, subresource.
_SUBMIT: Final = (("create", "workflows", "argoproj.io", None), ("list", "workflows", "argoproj.io", None))
_CHANGE: Final = (("patch", "workflows", "argoproj.io", None), ("delete", "workflows", "argoproj.io", None))
_LOOK: Final = (("list", "pods", "", None), ("get", "pods", "", "log"), ("list", "events", "", None))


def argo(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether Argo is there, and new enough."""
    version = cluster.workflows.version()
    if version is None:
        yield Point("argo", "good", "its custom objects are there; the version is known to Argo's server alone")
        return
    numbers = tuple(int(part) for part in version.lstrip("v").split("+")[0].split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < OLDEST_ARGO:
        yield Point("argo", "bad", f"version {version}", "the workflows need 3.6 or newer: upgrade Argo Workflows")
    else:
        yield Point("argo", "good", f"version {version}")


def rights(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether we may do what the commands do: to submit is a must."""
    direct = isinstance(cluster.workflows, KubernetesWorkflows)
    if not direct:  # Argo's server knows us by another name than Kubernetes does
        cluster.workflows.list(cluster.namespace)
    refused = _refused(cluster, _SUBMIT) if direct else []
    remedy = f"ask for a Role in {cluster.namespace} that allows it, and a RoleBinding to you"
    if refused:
        yield Point("rights", "bad", f"you may not {', '.join(refused)}", remedy)
    elif cluster.kubernetes and (refused := _refused(cluster, (*_CHANGE, *_LOOK) if direct else _LOOK)):
        yield Point("rights", "unsure", f"you may submit, but not {', '.join(refused)}", remedy)
    else:
        yield Point("rights", "good", f"you may submit to {cluster.namespace}, look at runs and stop them")


def _refused(cluster: Cluster, wanted: Sequence[tuple[str, str, str, str | None]]) -> list[str]:
    """What of it we may not do."""

    def allowed(one: tuple[str, str, str, str | None]) -> bool:
        verb, resource, group, part = one
        return kubernetes(cluster).allowed(verb, resource, cluster.namespace, group=group, subresource=part)

    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(allowed, wanted))
    named = [f"{verb} {resource}{f'/{part}' if part else ''}" for verb, resource, _, part in wanted]
    return [name for name, answer in zip(named, answers, strict=True) if not answer]


def service_account(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether the pods' service account is there and may do what Argo's executor does."""
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


def namespace(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether the namespace is there and takes such pods."""
    found = kubernetes(cluster).object(f"/api/v1/namespaces/{cluster.namespace}")
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


def secrets(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether the Secrets that pods read are there, with their keys."""
    wanted: dict[str, tuple[str, ...]]
    wanted = {profile.store.secret: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} if profile.store.secret else {}
    wanted |= {value.name: (value.key,) for value in profile.env.values() if not isinstance(value, str)}
    wanted |= dict.fromkeys(profile.images.pull_secrets, ())
    for name, keys in wanted.items():
        found = kubernetes(cluster).object(f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}")
        missing = [key for key in keys if key not in ((found or {}).get("data") or {})]
        if found is None or missing:
            says = f"{name} is not there" if found is None else f"{name} lacks {', '.join(missing)}"
            literals = " ".join(f"--from-literal={key}=…" for key in keys)
            remedy = f"kubectl -n {cluster.namespace} create secret generic {name} {literals}"
            yield Point("secret", "bad", says, remedy)
        else:
            yield Point("secret", "good", name)


def queue(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Whether Kueue's queue, the priority class and the runtime class are there, where the profile names them."""
    if profile.queue:
        kueue = kubernetes(cluster).object("/apis/kueue.x-k8s.io")
        if kueue is None:
            yield Point("queue", "bad", "Kueue is not there", "an administrator installs it; or take queue out")
        else:
            group = f"/apis/{kueue['preferredVersion']['groupVersion']}"
            path = f"{group}/namespaces/{cluster.namespace}/localqueues/{profile.queue}"
            remedy = "the chart makes it (queue.enabled), or an administrator"
            yield _there(cluster, "queue", profile.queue, path, remedy)
    if profile.priority_class:
        path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{profile.priority_class}"
        yield _there(cluster, "priority class", profile.priority_class, path, "an administrator makes it")
    if profile.gpu.runtime_class:
        path = f"/apis/node.k8s.io/v1/runtimeclasses/{profile.gpu.runtime_class}"
        yield _there(cluster, "runtime class", profile.gpu.runtime_class, path, "NVIDIA's GPU operator makes it")


def _there(cluster: Cluster, what: str, name: str, path: str, remedy: str) -> Point:
    if kubernetes(cluster).object(path) is None:
        return Point(what, "bad", f"{name} is not there", remedy)
    return Point(what, "good", name)


def kubernetes(cluster: Cluster) -> Kubernetes:
    """Kubernetes, where it is certain that it can be asked."""
    assert cluster.kubernetes
    return cluster.kubernetes

"""Check the objects that runs need in the cluster: Argo, permissions, service account, Secrets, queue."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from jobs.contract.names import Stage
from jobs.contract.profile import Profile
from workflows.cluster.client import Cluster
from workflows.cluster.kubernetes import Kubernetes, KubernetesWorkflows
from workflows.commands.doctor.point import Point

OF_REGISTRIES: Final = "kubernetes.io/dockerconfigjson"  # the type of a pull secret
OLDEST_ARGO: Final = (3, 7)
# Verb, resource, group, subresource.
_SUBMIT: Final = (("create", "workflows", "argoproj.io", None), ("list", "workflows", "argoproj.io", None))
_CHANGE: Final = (("patch", "workflows", "argoproj.io", None), ("delete", "workflows", "argoproj.io", None))
_LOOK: Final = (("list", "pods", "", None), ("get", "pods", "", "log"), ("list", "events", "", None))


def argo(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that Argo is installed, and new enough."""
    version = cluster.workflows.version()
    if version is None:
        yield Point("argo", "good", "installed; only Argo's server knows the version")
        return
    numbers = tuple(int(part) for part in version.lstrip("v").split("+")[0].split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < OLDEST_ARGO:
        yield Point("argo", "bad", f"version {version}", "the workflows need 3.7 or newer: upgrade Argo Workflows")
    else:
        yield Point("argo", "good", f"version {version}")


def rights(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check the user's permissions. Only those to submit are required."""
    direct = isinstance(cluster.workflows, KubernetesWorkflows)
    if not direct:  # Argo's server may map its users to other accounts than Kubernetes
        cluster.workflows.list(cluster.namespace)
    refused = _refused(cluster, _SUBMIT) if direct else []
    remedy = f"ask for a Role in {cluster.namespace} that allows it, and a RoleBinding to you"
    if refused:
        yield Point("rights", "bad", f"you may not {', '.join(refused)}", remedy)
    elif cluster.kubernetes and (refused := _refused(cluster, (*_CHANGE, *_LOOK) if direct else _LOOK)):
        yield Point("rights", "unsure", f"you may submit, but not {', '.join(refused)}", remedy)
    else:
        yield Point("rights", "good", f"you may submit to {cluster.namespace}, read runs and stop them")


def _refused(cluster: Cluster, actions: Sequence[tuple[str, str, str, str | None]]) -> list[str]:
    """Return the actions that the user may not do."""

    def allowed(action: tuple[str, str, str, str | None]) -> bool:
        verb, resource, group, part = action
        return kubernetes(cluster).allowed(verb, resource, cluster.namespace, group=group, subresource=part)

    with ThreadPoolExecutor(len(actions)) as pool:
        answers = list(pool.map(allowed, actions))
    named = [f"{verb} {resource}{f'/{part}' if part else ''}" for verb, resource, _, part in actions]
    return [name for name, answer in zip(named, answers, strict=True) if not answer]


def service_account(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that the pods' service account exists and has the permissions of Argo's executor."""
    account = profile.service_account
    if not cluster.kubernetes:
        return
    remedy = "helm install it with charts/cxrfold, or name another service_account in the profile"
    if cluster.kubernetes.object(f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts/{account}") is None:
        yield Point("service account", "bad", f"{account} does not exist", remedy)
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
        says = f"{account} may not {' and '.join(refused)} workflowtaskresults, which Argo's executor needs"
        yield Point("service account", "bad", says, remedy)
    else:
        yield Point("service account", "good", f"{account} may write task results")


def namespace(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that the namespace exists and admits the pods."""
    existing = kubernetes(cluster).object(f"/api/v1/namespaces/{cluster.namespace}")
    if existing is None:
        remedy = f"helm install cxrfold charts/cxrfold --namespace {cluster.namespace} --create-namespace"
        yield Point("namespace", "bad", f"{cluster.namespace} does not exist", remedy)
        return
    standard = (existing["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce", "none")
    host_paths = [volume.name for volume in profile.volumes if "hostPath" in volume.source]
    if standard in {"restricted", "baseline"} and host_paths:
        says = (
            f"{cluster.namespace} enforces pod security {standard}, which forbids the hostPath volume {host_paths[0]}"
        )
        yield Point("namespace", "bad", says, "use a persistentVolumeClaim instead")
    else:
        yield Point("namespace", "good", f"{cluster.namespace}, pod security enforced: {standard}")


def secrets(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that the Secrets that pods read exist and have the keys."""
    keys_of: dict[str, tuple[str, ...]]
    keys_of = {profile.store.secret: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} if profile.store.secret else {}
    others = [value for value in profile.env.values() if not isinstance(value, str)]
    for value in [*others, *([profile.notify] if profile.notify else [])]:
        keys_of[value.name] = (*keys_of.get(value.name, ()), value.key)
    keys_of |= dict.fromkeys(profile.images.pull_secrets, ())
    for name, keys in keys_of.items():
        secret = kubernetes(cluster).object(f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}")
        missing = [key for key in keys if key not in ((secret or {}).get("data") or {})]
        if secret is None or missing:
            says = f"{name} does not exist" if secret is None else f"{name} lacks {', '.join(missing)}"
            yield Point("secret", "bad", says, _creating(name, keys, cluster.namespace))
        elif not keys and secret.get("type", OF_REGISTRIES) != OF_REGISTRIES:
            says = f"{name} is of type {secret['type']}, and no pull secret"
            yield Point("secret", "bad", says, _creating(name, keys, cluster.namespace))
        else:
            yield Point("secret", "good", name)


def _creating(name: str, keys: Sequence[str], namespace: str) -> str:
    """The command that creates a Secret: with these keys, or without any for pulling images."""
    if not keys:
        options = "--docker-server=… --docker-username=… --docker-password=…"
        return f"kubectl -n {namespace} create secret docker-registry {name} {options}"
    literals = " ".join(f"--from-literal={key}=…" for key in keys)
    return f"kubectl -n {namespace} create secret generic {name} {literals}"


def quota(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that a ResourceQuota does not want limits that pods lack: Kubernetes would refuse every pod."""
    base = f"/api/v1/namespaces/{cluster.namespace}"
    quotas = kubernetes(cluster).items(f"{base}/resourcequotas")
    if not quotas:
        return
    ranges = kubernetes(cluster).items(f"{base}/limitranges")
    limits = [limit for item in ranges for limit in item["spec"].get("limits") or () if limit["type"] == "Container"]
    wanted = {key for item in quotas for key in (item["spec"].get("hard") or {})}
    missing = {
        name
        for name in ("cpu", "memory")
        if f"limits.{name}" in wanted and not any(name in (limit.get("default") or {}) for limit in limits)
    }
    if missing:
        names = " and ".join(f"limits.{name}" for name in sorted(missing))
        # A stage's pod always has a limit of memory. Those of Argo's own containers are set where Argo is installed.
        sure = "cpu" in missing and not all(profile.resources_of(stage).cpu_limit for stage in Stage)
        whose = "resources.*.cpu_limit is not set" if sure else "containers of Argo's executor may lack them"
        remedy = (
            "create a LimitRange with default limits for containers (kubectl explain limitrange.spec.limits.default); "
            "or set cpu_limit in the profile, and limits of Argo's executor in its ConfigMap"
        )
        says = f"a ResourceQuota refuses pods without {names}: {whose}"
        yield Point("quota", "bad" if sure else "unsure", says, remedy)
    else:
        yield Point("quota", "good", ", ".join(item["metadata"]["name"] for item in quotas))


def queue(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that the queue, priority class and runtime class that the profile names exist."""
    if profile.queue:
        kueue = kubernetes(cluster).object("/apis/kueue.x-k8s.io")
        if kueue is None:
            yield Point(
                "queue",
                "bad",
                "Kueue is not installed",
                "ask an administrator to install it, or remove queue from the profile",
            )
        else:
            group = f"/apis/{kueue['preferredVersion']['groupVersion']}"
            path = f"{group}/namespaces/{cluster.namespace}/localqueues/{profile.queue}"
            remedy = "set queue.enabled in the chart, or ask an administrator to create it"
            yield _existing(cluster, "queue", profile.queue, path, remedy)
    if profile.priority_class:
        path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{profile.priority_class}"
        yield _existing(cluster, "priority class", profile.priority_class, path, "ask an administrator to create it")
    if profile.gpu.runtime_class:
        path = f"/apis/node.k8s.io/v1/runtimeclasses/{profile.gpu.runtime_class}"
        yield _existing(cluster, "runtime class", profile.gpu.runtime_class, path, "NVIDIA's GPU operator creates it")


def _existing(cluster: Cluster, what: str, name: str, path: str, remedy: str) -> Point:
    if kubernetes(cluster).object(path) is None:
        return Point(what, "bad", f"{name} does not exist", remedy)
    return Point(what, "good", name)


def kubernetes(cluster: Cluster) -> Kubernetes:
    """Kubernetes, for checks that run only with access to it."""
    assert cluster.kubernetes
    return cluster.kubernetes

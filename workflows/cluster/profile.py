"""Read the profile for ``--profile cluster`` from the ConfigMap that the chart created in the cluster."""

from typing import Final

from jobs.contract.exits import BadInput
from workflows.cluster.client import Cluster

RELEASE: Final = "cxrfold"  # the release name in the chart's README


def profile_text(name: str) -> tuple[str, str]:
    """Return the YAML of a profile in the cluster, and the name of its ConfigMap for messages.

    ``cluster`` selects the chart's default release, ``cluster:RELEASE`` another release.
    The namespace is ``ARGO_NAMESPACE``, else the kubeconfig's, else the profile's default.

    Raises:
        BadInput: no Kubernetes API is configured, or it has no such ConfigMap with a ``profile.yaml``.
        ServiceAway: the Kubernetes API does not answer.
    """
    release = name.partition(":")[2] or RELEASE
    cluster = Cluster.connect()
    place = f"ConfigMap {cluster.namespace}/{release}-profile"
    if cluster.kubernetes is None:
        raise BadInput(f"--profile {name}: {place} is read from Kubernetes itself; set KUBECONFIG, or give a file.")
    found = cluster.kubernetes.object(f"/api/v1/namespaces/{cluster.namespace}/configmaps/{release}-profile")
    text = ((found or {}).get("data") or {}).get("profile.yaml")
    if text is None:
        raise BadInput(
            f"--profile {name}: there is no {place} with a profile.yaml. The chart writes it (charts/cxrfold): install "
            f"it there, name its release (cluster:RELEASE), or select its namespace in the kubeconfig."
        )
    return text, place

"""A cluster: workflows through Argo's server or the Kubernetes API."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from jobs.contract.exits import BadInput
from jobs.contract.profile import Profile
from workflows.cluster.access import find_access
from workflows.cluster.argo_server import ArgoServer
from workflows.cluster.http import Http, Json
from workflows.cluster.kubernetes import Kubernetes, KubernetesWorkflows


class NotConfigured(BadInput):
    """No cluster is configured: a KUBECONFIG that names no file among the reasons."""

    def __init__(self) -> None:
        """Name the file that KUBECONFIG names and that does not exist."""
        self.missing = os.environ.get("KUBECONFIG") or ""
        why = f" (KUBECONFIG names {self.missing}, which does not exist)" if self.missing else ""
        super().__init__(
            f"No cluster is configured{why}: set ARGO_SERVER and ARGO_TOKEN to talk to Argo's server, or KUBECONFIG to "
            "talk to Kubernetes. cv.py run needs neither."
        )


class Workflows(Protocol):
    """Operations on workflows, through Argo's server or the Kubernetes API."""

    @property
    def http(self) -> Http: ...  # noqa: D102
    def create(self, namespace: str, manifest: Json) -> Json: ...  # noqa: D102
    def apply(self, namespace: str, manifest: Json) -> None: ...  # noqa: D102
    def list(self, namespace: str | None, labels: str | None = None) -> list[Json]: ...  # noqa: D102
    def stop(self, namespace: str, name: str) -> None: ...  # noqa: D102
    def resume(self, namespace: str, name: str) -> None: ...  # noqa: D102
    def delete(self, namespace: str, name: str) -> None: ...  # noqa: D102
    def log(self, namespace: str, workflow: str, pod: str, *, follow: bool, since: int | None) -> Iterator[str]: ...  # noqa: D102
    def version(self) -> str | None: ...  # noqa: D102
    def page(self, namespace: str, name: str) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class Cluster:
    """A cluster and a namespace."""

    workflows: Workflows
    kubernetes: Kubernetes | None
    namespace: str

    @classmethod
    def find(cls, profile: Profile | None = None) -> "Cluster | None":
        """Find the cluster that ``argo`` and ``kubectl`` would use; None if none is configured. Sends no request.

        The namespace is the profile's, else ``ARGO_NAMESPACE``, else the kubeconfig's, else the profile's default.
        """
        server, access = ArgoServer.from_environment(), find_access()
        if server is None and access is None:
            return None
        kubernetes = Kubernetes(access.http) if access else None
        workflows: Workflows | None = server
        if workflows is None and kubernetes is not None:
            workflows = KubernetesWorkflows(kubernetes, os.environ.get("ARGO_INSTANCEID") or None)
        assert workflows is not None
        named = profile.namespace if profile else os.environ.get("ARGO_NAMESPACE") or (access and access.namespace)
        return cls(workflows, kubernetes, named or Profile().namespace)

    @classmethod
    def connect(cls, profile: Profile | None = None) -> "Cluster":
        """Like :meth:`find`, but a cluster is required.

        Raises:
            NotConfigured: no cluster is configured.
        """
        if cluster := cls.find(profile):
            return cluster
        raise NotConfigured

    @property
    def what(self) -> str:
        """The name of the server that is asked about workflows."""
        return self.workflows.http.what

    def now(self) -> datetime:
        """The time of the cluster, UTC."""
        return self.workflows.http.clock.now()

    def clock_remark(self) -> str:
        """A sentence for a person whose clock is wrong; empty if it is right, or the cluster has not answered."""
        return self.workflows.http.clock.remark(self.what)

    def in_namespace(self, namespace: str) -> "Cluster":
        """The same cluster, another namespace."""
        return replace(self, namespace=namespace)

"""Straight to Kubernetes: workflows as its custom objects, and what only it knows of pods, nodes and rights."""

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from workflows.cluster.http import Http, Json, NotThere

WORKFLOWS: Final = "/apis/argoproj.io/v1alpha1"
INSTANCE_LABEL: Final = "workflows.argoproj.io/controller-instanceid"
MERGE: Final = "application/merge-patch+json"


@dataclass(frozen=True)
class Kubernetes:
    """Kubernetes' own API, as far as it is needed here."""

    http: Http

    def version(self) -> str:
        """The server's version, e.g. ``v1.36.3``."""
        return str(self.http.get("/version")["gitVersion"])

    def object(self, path: str) -> Json | None:
        """An object by its path; None where it is not there."""
        try:
            return self.http.get(path)
        except NotThere:
            return None

    def items(self, path: str, labels: str | None = None, fields: str | None = None) -> list[Json]:
        """The objects under a path."""
        listing = self.http.get(path, labelSelector=labels, fieldSelector=fields)
        return list(listing.get("items") or ())

    def pods(self, namespace: str | None, labels: str | None = None) -> list[Json]:
        """Pods of a namespace, or of all."""
        return self.items(f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods", labels)

    def nodes(self) -> list[Json]:
        """All nodes."""
        return self.items("/api/v1/nodes")

    def events(self, namespace: str, name: str) -> list[Json]:
        """What happened to an object of that name, oldest first."""
        found = self.items(f"/api/v1/namespaces/{namespace}/events", fields=f"involvedObject.name={name}")
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def pod_log(
        self, namespace: str, pod: str, container: str = "main", *, follow: bool = False, since: int | None = None
    ) -> Iterator[str]:
        """The lines of a container's log."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return self.http.lines(path, container=container, follow=follow or None, sinceSeconds=since)

    def allowed(
        self, verb: str, resource: str, namespace: str, *, group: str = "", subresource: str | None = None,
        user: str | None = None,
    ) -> bool:  # fmt: skip
        """Whether we, or another user, may do something."""
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
        if subresource:
            attributes["subresource"] = subresource
        kind = "SubjectAccessReview" if user else "SelfSubjectAccessReview"
        spec: Json = {"resourceAttributes": attributes} | ({"user": user} if user else {})
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        answer = self.http.call("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body=body)
        return bool(answer["status"]["allowed"])


@dataclass(frozen=True)
class KubernetesWorkflows:
    """Workflows without Argo's server: its custom objects, which its controller acts upon."""

    kubernetes: Kubernetes
    instance: str | None = None  # of a controller that shares its cluster with others

    def create(self, namespace: str, manifest: Json) -> Json:
        """Create a workflow; :class:`~workflows.cluster.http.Exists` where there is one of its name."""
        if self.instance:
            metadata = manifest["metadata"]
            labels = {**metadata.get("labels", {}), INSTANCE_LABEL: self.instance}
            manifest = {**manifest, "metadata": {**metadata, "labels": labels}}
        return self.kubernetes.http.call("POST", self._path(namespace), body=manifest)

    def list(self, namespace: str, labels: str | None = None) -> list[Json]:
        """Workflows with these labels."""
        selector = ",".join(filter(None, [labels, self.instance and f"{INSTANCE_LABEL}={self.instance}"])) or None
        return [_unpacked(item) for item in self.kubernetes.items(self._path(namespace), selector)]

    def stop(self, namespace: str, name: str) -> None:
        """Ask every pod to end; what is not started yet never is."""
        patch = {"spec": {"shutdown": "Stop"}}
        self.kubernetes.http.call("PATCH", self._path(namespace, name), body=patch, content=MERGE)

    def delete(self, namespace: str, name: str) -> None:
        """Remove a workflow with its pods."""
        self.kubernetes.http.call("DELETE", self._path(namespace, name), body={"propagationPolicy": "Background"})

    def log(self, namespace: str, workflow: str, pod: str, *, follow: bool, since: int | None) -> Iterator[str]:
        """The lines of a pod's main container."""
        return self.kubernetes.pod_log(namespace, pod, follow=follow, since=since)

    def version(self) -> str | None:
        """Argo's version cannot be asked for here; that it is installed can.

        Raises:
            NotThere: where it is not.
        """
        self.kubernetes.http.get(WORKFLOWS)
        return None

    def page(self, namespace: str, name: str) -> str | None:
        """Argo's page of a workflow is unknown here."""
        return None

    def _path(self, namespace: str, name: str = "") -> str:
        return f"{WORKFLOWS}/namespaces/{namespace}/workflows" + (f"/{name}" if name else "")


def _unpacked(workflow: Json) -> Json:
    """Argo packs the nodes of a large workflow; its server unpacks them, here it is on us."""
    status: dict[str, Any] = workflow.get("status") or {}
    if packed := status.get("compressedNodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
        return {**workflow, "status": {**status, "nodes": nodes}}
    return workflow

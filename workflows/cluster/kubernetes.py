"""The Kubernetes API: workflows as custom objects, pods, nodes, events and permissions."""

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
APPLY: Final = "application/apply-patch+yaml"
FIELD_MANAGER: Final = "cxrfold"


@dataclass(frozen=True)
class Kubernetes:
    """The part of the Kubernetes API that the commands use."""

    http: Http

    def version(self) -> str:
        """The server's version, e.g. ``v1.36.3``."""
        return str(self.http.get("/version")["gitVersion"])

    def object(self, path: str) -> Json | None:
        """Return an object by its path; None if it does not exist."""
        try:
            return self.http.get(path)
        except NotThere:
            return None

    def items(self, path: str, labels: str | None = None, fields: str | None = None) -> list[Json]:
        """Return the objects under a path."""
        listing = self.http.get(path, labelSelector=labels, fieldSelector=fields)
        return list(listing.get("items") or ())

    def pods(self, namespace: str | None, labels: str | None = None) -> list[Json]:
        """Return the pods of a namespace, or of all namespaces."""
        return self.items(f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods", labels)

    def nodes(self) -> list[Json]:
        """Return all nodes."""
        return self.items("/api/v1/nodes")

    def events(self, namespace: str, name: str) -> list[Json]:
        """Return the events of an object, oldest first."""
        events = self.items(f"/api/v1/namespaces/{namespace}/events", fields=f"involvedObject.name={name}")
        return sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def pod_log(
        self, namespace: str, pod: str, container: str = "main", *, follow: bool = False, since: int | None = None
    ) -> Iterator[str]:
        """Yield the lines of a container's log."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return self.http.lines(path, container=container, follow=follow or None, sinceSeconds=since)

    def allowed(
        self, verb: str, resource: str, namespace: str, *, group: str = "", subresource: str | None = None,
        user: str | None = None,
    ) -> bool:  # fmt: skip
        """Whether the current user, or ``user``, may do something."""
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
        if subresource:
            attributes["subresource"] = subresource
        kind = "SubjectAccessReview" if user else "SelfSubjectAccessReview"
        spec: Json = {"resourceAttributes": attributes} | ({"user": user} if user else {})
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        review = self.http.call("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body=body)
        return bool(review["status"]["allowed"])


@dataclass(frozen=True)
class KubernetesWorkflows:
    """Operations on workflows through their custom objects, without Argo's server."""

    kubernetes: Kubernetes
    instance: str | None = None  # instance id of the controller, if a cluster has several

    def create(self, namespace: str, manifest: Json) -> Json:
        """Create a workflow; raise :class:`~workflows.cluster.http.Exists` if its name is taken."""
        return self.kubernetes.http.call("POST", self._path(namespace), body=self._of_instance(manifest))

    def apply(self, namespace: str, manifest: Json) -> None:
        """Create or change a WorkflowTemplate or a CronWorkflow, as ``kubectl apply --server-side`` does."""
        manifest = self._of_instance(manifest)
        path = f"{WORKFLOWS}/namespaces/{namespace}/{manifest['kind'].lower()}s/{manifest['metadata']['name']}"
        params = {"fieldManager": FIELD_MANAGER, "force": True}
        self.kubernetes.http.call("PATCH", path, params=params, body=manifest, content=APPLY)

    def _of_instance(self, manifest: Json) -> Json:
        """The manifest with the label of the controller's instance, if a cluster has several."""
        if not self.instance:
            return manifest
        metadata = manifest["metadata"]
        labels = {**metadata.get("labels", {}), INSTANCE_LABEL: self.instance}
        return {**manifest, "metadata": {**metadata, "labels": labels}}

    @property
    def http(self) -> Http:
        """The Kubernetes API."""
        return self.kubernetes.http

    def list(self, namespace: str | None, labels: str | None = None) -> list[Json]:
        """Return the workflows with these labels, in a namespace or in all."""
        selector = ",".join(filter(None, [labels, self.instance and f"{INSTANCE_LABEL}={self.instance}"])) or None
        path = self._path(namespace) if namespace else f"{WORKFLOWS}/workflows"
        return [_unpacked(item) for item in self.kubernetes.items(path, selector)]

    def stop(self, namespace: str, name: str) -> None:
        """Stop a workflow: running pods get SIGTERM, and no further pod starts."""
        patch = {"spec": {"shutdown": "Stop"}}
        self.kubernetes.http.call("PATCH", self._path(namespace, name), body=patch, content=MERGE)

    def resume(self, namespace: str, name: str) -> None:
        """Continue a suspended workflow."""
        patch = {"spec": {"suspend": None}}
        self.kubernetes.http.call("PATCH", self._path(namespace, name), body=patch, content=MERGE)

    def delete(self, namespace: str, name: str) -> None:
        """Delete a workflow with its pods."""
        self.kubernetes.http.call("DELETE", self._path(namespace, name), body={"propagationPolicy": "Background"})

    def log(self, namespace: str, workflow: str, pod: str, *, follow: bool, since: int | None) -> Iterator[str]:
        """Yield the log lines of a pod's main container."""
        return self.kubernetes.pod_log(namespace, pod, follow=follow, since=since)

    def version(self) -> str | None:
        """Return None: Kubernetes does not know Argo's version, only whether Argo is installed.

        Raises:
            NotThere: Argo is not installed.
        """
        self.kubernetes.http.get(WORKFLOWS)
        return None

    def page(self, namespace: str, name: str) -> str | None:
        """Return None: Kubernetes does not know the URL of Argo's pages."""
        return None

    def _path(self, namespace: str, name: str = "") -> str:
        return f"{WORKFLOWS}/namespaces/{namespace}/workflows" + (f"/{name}" if name else "")


def _unpacked(workflow: Json) -> Json:
    """Decompress the nodes of a large workflow, as Argo's server does."""
    status: dict[str, Any] = workflow.get("status") or {}
    if packed := status.get("compressedNodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
        return {**workflow, "status": {**status, "nodes": nodes}}
    return workflow

"""Workflows through Argo's server, configured by the variables of the ``argo`` command."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jobs.contract.exits import BadInput, ServiceAway
from workflows.cluster.http import Exists, Http, Json, new_session

# Kind → its path and its field in Argo's API.
_KINDS: Final = {
    "WorkflowTemplate": ("workflow-templates", "template"),
    "CronWorkflow": ("cron-workflows", "cronWorkflow"),
}

# The server validates a schedule against templates that it is told of by Kubernetes, a moment after they are created.
TEMPLATE_SEEN_SECONDS: Final = 30.0
TEMPLATE_SEEN_PAUSE: Final = 0.5


@dataclass(frozen=True)
class ArgoServer:
    """Operations on workflows through Argo's server."""

    http: Http
    instance: str | None = None

    @classmethod
    def from_environment(cls) -> "ArgoServer | None":
        """The server that ``argo`` would use; None if ARGO_SERVER is not set. Always HTTP/1, as with ARGO_HTTP1."""
        server = os.environ.get("ARGO_SERVER")
        if not server:
            return None
        scheme = "http" if os.environ.get("ARGO_SECURE", "true").lower() == "false" else "https"
        path = os.environ.get("ARGO_BASE_HREF", "").strip("/")
        base = f"{scheme}://{server}" + (f"/{path}" if path else "")
        session = new_session(base)
        if os.environ.get("ARGO_INSECURE_SKIP_VERIFY", "").lower() == "true":
            session.verify = False
        if token := os.environ.get("ARGO_TOKEN", "").strip():
            session.headers["Authorization"] = token if " " in token else f"Bearer {token}"
        hint = "Check ARGO_SERVER, ARGO_SECURE and ARGO_BASE_HREF; without ARGO_SERVER the kubeconfig is used."
        return cls(Http(base, "Argo's server", hint, session), os.environ.get("ARGO_INSTANCEID") or None)

    def create(self, namespace: str, manifest: Json) -> Json:
        """Create a workflow; raise :class:`~workflows.cluster.http.Exists` if its name is taken."""
        body = {"namespace": namespace, "instanceID": self.instance or "", "workflow": manifest}
        return self.http.call("POST", self._path(namespace), body=body)

    def apply(self, namespace: str, manifest: Json) -> None:
        """Create or change a WorkflowTemplate, or a CronWorkflow, whose template may have been created just now."""
        deadline = time.monotonic() + TEMPLATE_SEEN_SECONDS
        while True:
            try:
                return self._apply(namespace, manifest)
            except BadInput as refusal:
                unseen = "workflowtemplates" in str(refusal) and "not found" in str(refusal)
                if not unseen or time.monotonic() > deadline:
                    raise
                time.sleep(TEMPLATE_SEEN_PAUSE)

    def _apply(self, namespace: str, manifest: Json) -> None:
        path, field = _KINDS[manifest["kind"]]
        path, name = f"/api/v1/{path}/{namespace}", manifest["metadata"]["name"]
        try:
            self.http.call("POST", path, body={"namespace": namespace, field: manifest})
        except Exists:
            version = self.http.get(f"{path}/{name}")["metadata"]["resourceVersion"]
            manifest = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}
            self.http.call("PUT", f"{path}/{name}", body={"namespace": namespace, "name": name, field: manifest})

    def list(self, namespace: str | None, labels: str | None = None) -> list[Json]:
        """Return the workflows with these labels, in a namespace or in all."""
        listing = self.http.get(self._path(namespace or ""), **{"listOptions.labelSelector": labels})
        return list(listing.get("items") or ())

    def stop(self, namespace: str, name: str) -> None:
        """Stop a workflow: running pods get SIGTERM, and no further pod starts."""
        self.http.call("PUT", f"{self._path(namespace, name)}/stop", body={"namespace": namespace, "name": name})

    def resume(self, namespace: str, name: str) -> None:
        """Continue a suspended workflow."""
        self.http.call("PUT", f"{self._path(namespace, name)}/resume", body={"namespace": namespace, "name": name})

    def delete(self, namespace: str, name: str) -> None:
        """Delete a workflow with its pods."""
        self.http.call("DELETE", self._path(namespace, name))

    def log(self, namespace: str, workflow: str, pod: str, *, follow: bool, since: int | None) -> Iterator[str]:
        """Yield the log lines of a pod's main container."""
        params = {
            "podName": pod, "logOptions.container": "main", "logOptions.follow": follow or None,
            "logOptions.sinceSeconds": since,
        }  # fmt: skip
        for line in self.http.lines(f"{self._path(namespace, workflow)}/log", **params):
            if not line:
                continue
            entry = json.loads(line)
            if problem := entry.get("error"):
                raise ServiceAway(f"Argo's server ended the log of {pod}: {problem.get('message', problem)}")
            yield str(entry["result"].get("content", ""))

    def version(self) -> str | None:
        """Argo's version, e.g. ``v3.7.0``."""
        return str(self.http.get("/api/v1/version")["version"])

    def page(self, namespace: str, name: str) -> str | None:
        """URL of Argo's page of a workflow."""
        return f"{self.http.base}/workflows/{namespace}/{name}"

    def _path(self, namespace: str, name: str = "") -> str:
        return f"/api/v1/workflows/{namespace}" + (f"/{name}" if name else "")

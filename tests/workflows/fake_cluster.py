"""Argo's server and Kubernetes' custom objects, as far as the client uses them: in memory, moody at will."""

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

_WORKFLOWS = re.compile(
    r"(?:/api/v1/workflows|/apis/argoproj.io/v1alpha1/namespaces)/([^/]+)(?:/workflows)?(?:/([^/]+))?(?:/(\w+))?$"
)
# In all namespaces: the same groups, all empty.
_EVERYWHERE = re.compile(r"(?:/api/v1/workflows/|/apis/argoproj.io/v1alpha1/workflows)($^)?($^)?($^)?$")


# WorkflowTemplates and CronWorkflows: of Argo's server, and as custom objects.
_LASTING = re.compile(
    r"/api/v1/(?:workflow-templates|cron-workflows)/[^/]+(?:/([^/]+))?$"
    r"|/apis/argoproj.io/v1alpha1/namespaces/[^/]+/(?:workflowtemplates|cronworkflows)/([^/]+)$"
)


class FakeCluster:
    """The server's objects, and the faults it simulates."""

    def __init__(self) -> None:
        self.workflows: dict[str, Json] = {}
        self.lasting: dict[tuple[str, str], Json] = {}  # kind and name of templates and schedules
        self.unseen = 0  # requests for a schedule before the server knows its template
        self.logs: dict[str, list[str]] = {}  # pod → lines
        self.objects: dict[str, Json] = {}  # path → object or listing
        self.refused: set[tuple[str, str]] = set()  # verb and resource that nobody may
        self.forbidden: tuple[str, ...] = ()  # beginnings or ends of paths that nobody may read
        self.answers: list[int] = []  # status codes to answer with first, 0: break the connection
        self.requests: list[tuple[str, str, dict[str, str]]] = []  # method, path, headers
        self.pages: list[str] = []  # HTML to answer with first
        self.clock = 0.0  # seconds that the server is ahead of this machine
        self.certificates: list[bytes] = []  # of each request whose client presents one
        self.groups: list[list[str]] = []  # of each request that acts as somebody else
        self.address = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and body."""
        if any(path.startswith(part) or path.endswith(part) for part in self.forbidden):
            return 403, {"message": f"{path} is forbidden"}
        if path in self.objects:
            return 200, self.objects[path]
        if path == "/api/v1/version":
            return 200, {"version": "v3.7.0", "a field of a newer version": {}}
        if path.endswith("accessreviews"):
            asked = body["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": (asked["verb"], asked["resource"]) not in self.refused}}
        if found := _LASTING.match(path):
            return self._lasting(method, found.group(1) or found.group(2), body)
        match = _EVERYWHERE.match(path) or _WORKFLOWS.match(path)
        if not match:
            return 404, {"message": f"{path} not found"}
        return self._workflow(method, match, query, body)

    def _lasting(self, method: str, name: str | None, body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, next(one for (_, called), one in self.lasting.items() if called == name)
        manifest = body.get("template") or body.get("cronWorkflow") or body
        key = manifest["kind"], manifest["metadata"]["name"]
        if method == "POST" and key in self.lasting:
            return 409, {"message": f"{key[1]} already exists"}
        if self.unseen and method == "POST" and key[0] == "CronWorkflow":
            self.unseen -= 1
            missing = f'workflowtemplates.argoproj.io "{key[1]}" not found'
            return 400, {"message": f"cannot validate Workflow: {missing}"}
        if method == "PUT" and manifest["metadata"].get("resourceVersion") != "7":
            return 400, {"message": "resourceVersion must be specified"}
        metadata = {**manifest["metadata"], "resourceVersion": "7"}
        self.lasting[key] = {**manifest, "metadata": metadata}
        return 200, self.lasting[key]

    def _workflow(self, method: str, match: "re.Match[str]", query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        name, verb = match.group(2), match.group(3)
        if method == "POST":
            manifest = body.get("workflow", body)
            name = manifest["metadata"]["name"]
            if name in self.workflows:
                return 409, {"message": f'workflows.argoproj.io "{name}" already exists'}
            self.workflows[name] = manifest | {"status": {"phase": "Running", "nodes": {}}}
            return 200, manifest
        if name is None:
            wanted = (query.get("listOptions.labelSelector") or query.get("labelSelector") or [""])[0]
            found = [one for one in self.workflows.values() if _matches(one, wanted)]
            if (namespace := match.group(1)) is not None:
                found = [one for one in found if one["metadata"].get("namespace", namespace) == namespace]
            return 200, {"items": found or None}
        if name not in self.workflows:
            return 404, {"message": f'workflows.argoproj.io "{name}" not found'}
        if verb == "log":
            pod = query["podName"][0]
            return 200, [{"result": {"content": line, "podName": pod}} for line in self.logs.get(pod, [])]
        if method == "DELETE":
            return 200, self.workflows.pop(name)
        if verb == "resume" or "suspend" in ((body or {}).get("spec") or {}):
            self.workflows[name]["spec"].pop("suspend", None)
        elif verb == "stop" or method == "PATCH":
            self.workflows[name]["spec"]["shutdown"] = "Stop"
            self.workflows[name]["status"]["phase"] = "Failed"
        return 200, self.workflows[name]


def _matches(workflow: Json, selector: str) -> bool:
    labels = workflow["metadata"].get("labels") or {}
    for part in filter(None, selector.split(",")):
        key, equals, value = part.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


@contextmanager
def fake_cluster(tls: Path | None = None) -> Iterator[FakeCluster]:
    """A server while the context lasts; of TLS with a folder of ``tls.crt``, its key and its clients' certificates."""
    fake = FakeCluster()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.requests.append((self.command, self.path, dict(self.headers)))
            if tls and (presented := self.connection.getpeercert(binary_form=True)):
                fake.certificates.append(presented)
            if groups := self.headers.get_all("Impersonate-Group"):
                fake.groups.append(groups)
            if fake.pages:
                page = fake.pages.pop(0).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
                return
            mood = fake.answers.pop(0) if fake.answers else None
            if mood == 0:
                self.connection.close()
                return
            status, answer = (mood, {"message": "moody"}) if mood else fake.answer(
                self.command, parts.path, parse_qs(parts.query), body
            )  # fmt: skip
            lines = answer if isinstance(answer, list) else [answer]
            data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_HEAD = do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + fake.clock if timestamp is None else timestamp)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
        context.verify_mode = ssl.CERT_OPTIONAL
        for known in tls.glob("*.crt"):
            context.load_verify_locations(known)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    fake.address = f"127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""Reading a workflow: its phase, its tasks, their attempts. Pure functions over Argo's JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from workflows.cluster.http import Json

LIVE: Final = frozenset({"", "Pending", "Running"})
SUCCEEDED: Final = "Succeeded"


@dataclass(frozen=True)
class NodeStatus:
    """What Argo says of a task, or of one attempt at it."""

    phase: str
    message: str = ""
    host: str = ""
    started: str = ""
    finished: str = ""
    exit_code: str = ""
    pod: str = ""
    memory: str = ""  # the pod's limit

    @property
    def live(self) -> bool:
        """Whether it may still change."""
        return self.phase in LIVE

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel's OOM killer ended it."""
        return "OOMKilled" in self.message


@dataclass(frozen=True)
class TaskNodes:
    """A task in a workflow and the attempts at it, first to last."""

    task: NodeStatus
    attempts: tuple[NodeStatus, ...]


def phase(workflow: Mapping[str, Any]) -> str:
    """Pending, Running, Succeeded, Failed or Error; what no controller has seen yet is Pending."""
    return (workflow.get("status") or {}).get("phase") or "Pending"


def live(workflow: Mapping[str, Any]) -> bool:
    """Whether the workflow may still do something."""
    return phase(workflow) in LIVE


def name(workflow: Mapping[str, Any]) -> str:
    """The workflow's name."""
    return str(workflow["metadata"]["name"])


def created(workflow: Mapping[str, Any]) -> datetime:
    """When the workflow came to the cluster, UTC."""
    return datetime.fromisoformat(workflow["metadata"]["creationTimestamp"])


def latest(workflows: list[Json]) -> Json | None:
    """The workflow that counts: one that lives before those that ended, then the newest."""
    return max(workflows, key=lambda item: (live(item), item["metadata"].get("creationTimestamp") or ""), default=None)


def tasks(workflow: Mapping[str, Any]) -> dict[str, TaskNodes]:
    """What Argo says of each task by its name; tasks that it has not come to are not there."""
    nodes: dict[str, Json] = (workflow.get("status") or {}).get("nodes") or {}
    templates = {template["name"]: template for template in (workflow.get("spec") or {}).get("templates") or ()}
    found = {}
    for node in nodes.values():
        if node.get("type") == "Retry":
            children = [nodes[child] for child in node.get("children") or () if child in nodes]
            pods = [child for child in children if child.get("type") == "Pod"]
        elif node.get("type") in {"Skipped", "Pod"} and not _is_attempt(node):
            pods = [node] if node["type"] == "Pod" else []
        else:
            continue
        attempts = tuple(_node(pod, workflow, templates) for pod in pods)
        found[str(node["displayName"])] = TaskNodes(_node(node, workflow, templates), attempts)
    return found


def _is_attempt(node: Mapping[str, Any]) -> bool:
    return str(node["displayName"]).endswith(")")


def _node(node: Mapping[str, Any], workflow: Mapping[str, Any], templates: Mapping[str, Json]) -> NodeStatus:
    template = str(node.get("templateName") or "")
    limits = ((templates.get(template, {}).get("container") or {}).get("resources") or {}).get("limits") or {}
    return NodeStatus(
        phase=node.get("phase") or "Pending",
        message=node.get("message") or "",
        host=node.get("hostNodeName") or "",
        started=node.get("startedAt") or "",
        finished=node.get("finishedAt") or "",
        exit_code=(node.get("outputs") or {}).get("exitCode") or "",
        pod=pod_name(workflow, node) if node.get("type") == "Pod" else "",
        memory=limits.get("memory") or "",
    )


def seconds(started: str, finished: str, now: datetime) -> float | None:
    """From a start to its end, or to now; None where it has not started."""
    if not started:
        return None
    end = datetime.fromisoformat(finished) if finished else now
    return (end - datetime.fromisoformat(started)).total_seconds()


def pod_name(workflow: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """The pod of a node, as Argo's controller names it since 3.4: workflow, template, the node's hash.

    Source: argo-workflows, workflow/util/pod_name.go, ``GeneratePodName``.
    """
    own = name(workflow)
    if node["name"] == own:
        return own
    prefix = f"{own}-{node['templateName']}" if node.get("templateName") else own
    hashed = str(node["id"]).rsplit("-", 1)[-1]
    return f"{prefix[: 253 - len(hashed) - 1]}-{hashed}"

"""Read Argo's JSON of a workflow: its phase, its tasks and their attempts. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from workflows.cluster.http import Json

SUSPENDED: Final = "Suspended"  # not a phase of Argo's: argo suspend
LIVE: Final = frozenset({"", "Pending", "Running", SUSPENDED})
SUCCEEDED: Final = "Succeeded"


@dataclass(frozen=True)
class NodeStatus:
    """Argo's status of a task or of one attempt at it."""

    phase: str
    message: str = ""
    host: str = ""
    started: str = ""
    finished: str = ""
    exit_code: str = ""
    pod: str = ""
    memory: str = ""  # memory limit of the pod

    @property
    def live(self) -> bool:
        """Whether the node is pending or running."""
        return self.phase in LIVE

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel's OOM killer ended the attempt."""
        return "OOMKilled" in self.message


@dataclass(frozen=True)
class TaskNodes:
    """The nodes of a task in a workflow: its own and those of its attempts, first to last."""

    task: NodeStatus
    attempts: tuple[NodeStatus, ...]


def phase(workflow: Mapping[str, Any]) -> str:
    """Argo's phase, or Suspended; Pending before the controller has seen the workflow."""
    phase = (workflow.get("status") or {}).get("phase") or "Pending"
    return SUSPENDED if phase in LIVE and (workflow.get("spec") or {}).get("suspend") else phase


def live(workflow: Mapping[str, Any]) -> bool:
    """Whether the workflow is pending or running."""
    return phase(workflow) in LIVE


def name(workflow: Mapping[str, Any]) -> str:
    """The workflow's name."""
    return str(workflow["metadata"]["name"])


def created(workflow: Mapping[str, Any]) -> datetime:
    """When the workflow was created, UTC."""
    return datetime.fromisoformat(workflow["metadata"]["creationTimestamp"])


def current(workflows: Sequence[Json]) -> Json | None:
    """Of the running workflows the one that got furthest, else the one that ended last."""

    def rank(workflow: Json) -> tuple[bool, int, str]:
        done = sum(node.task.phase == SUCCEEDED for node in tasks(workflow).values()) if live(workflow) else 0
        ended = "" if live(workflow) else (workflow.get("status") or {}).get("finishedAt")  # later after argo retry
        return live(workflow), done, ended or workflow["metadata"].get("creationTimestamp") or ""

    return max(workflows, key=rank, default=None)


def tasks(workflow: Mapping[str, Any]) -> dict[str, TaskNodes]:
    """Nodes of each task by name. A task that the workflow has not reached has none."""
    nodes: dict[str, Json] = (workflow.get("status") or {}).get("nodes") or {}
    templates = {template["name"]: template for template in (workflow.get("spec") or {}).get("templates") or ()}
    by_task = {}
    for node in nodes.values():
        if node.get("type") == "Retry":
            children = [nodes[child] for child in node.get("children") or () if child in nodes]
            pods = [child for child in children if child.get("type") == "Pod"]
        elif node.get("type") in {"Skipped", "Pod"} and not _is_attempt(node):
            pods = [node] if node["type"] == "Pod" else []
        else:
            continue
        attempts = tuple(_node(pod, workflow, templates) for pod in pods)
        by_task[str(node["displayName"])] = TaskNodes(_node(node, workflow, templates), attempts)
    return by_task


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
    """Seconds from start to end, or to now; None before the start."""
    if not started:
        return None
    end = datetime.fromisoformat(finished) if finished else now
    return (end - datetime.fromisoformat(started)).total_seconds()


def pod_name(workflow: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """Name of a node's pod since Argo 3.4: workflow, template, the node's hash.

    Source: argo-workflows, workflow/util/pod_name.go, ``GeneratePodName``.
    """
    own = name(workflow)
    if node["name"] == own:
        return own
    prefix = f"{own}-{node['templateName']}" if node.get("templateName") else own
    hashed = str(node["id"]).rsplit("-", 1)[-1]
    return f"{prefix[: 253 - len(hashed) - 1]}-{hashed}"

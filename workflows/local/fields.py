"""The fields of a workflow that the local engine interprets, and those it ignores, each with a reason.

Any other field is an error: a local run that skipped it would differ from the run on a cluster. An ignored field is
accepted with everything below it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jobs.contract.exits import BadInput

BOOKKEEPING: Final = "metadata of a Kubernetes object; a local run creates none"
SCHEDULING: Final = "selects a pod's node; a local run has one machine"
SECURITY: Final = "limits a pod's privileges; a process has those of its user"
CLEANUP: Final = "deletes pods and workflows; a process needs no cleanup"
MONITORING: Final = "is read by Argo, Kubernetes and Prometheus, not by the task"
IMAGE: Final = "selects and pulls an image; a process runs in this Python environment"
DISRUPTION: Final = "protects pods from voluntary disruptions"


@dataclass(frozen=True)
class Fields:
    """The known fields of one kind of object.

    Attributes:
        interpreted: the fields that the engine reads.
        ignored: the fields that have no meaning for a process, each with a reason.
    """

    interpreted: frozenset[str]
    ignored: Mapping[str, str]

    def check(self, value: Mapping[str, Any], place: str) -> None:
        """Check that every field is known.

        Raises:
            BadInput: the engine does not know a field; the message names the first.
        """
        for field, content in value.items():
            if field not in self.interpreted and field not in self.ignored and content is not None:
                raise BadInput(
                    f"{place}.{field}: the local engine does not support this field. Use submit, or remove the field "
                    "from the profile"
                )


def _fields(interpreted: str, **ignored: str) -> Fields:
    return Fields(frozenset(interpreted.split()), ignored)


WORKFLOW: Final = _fields("apiVersion kind metadata spec")
METADATA: Final = _fields(
    "name generateName namespace labels annotations", ownerReferences=BOOKKEEPING, finalizers=BOOKKEEPING
)
SPEC: Final = _fields(
    "entrypoint templates arguments parallelism activeDeadlineSeconds volumes podSpecPatch",
    affinity=SCHEDULING, archiveLogs=CLEANUP, automountServiceAccountToken=SECURITY, executor=SECURITY,
    imagePullSecrets=IMAGE, metrics=MONITORING, nodeSelector=SCHEDULING, podDisruptionBudget=DISRUPTION, podGC=CLEANUP,
    podMetadata=MONITORING, podPriorityClassName=SCHEDULING, priority=SCHEDULING, schedulerName=SCHEDULING,
    securityContext=SECURITY, serviceAccountName=SECURITY, tolerations=SCHEDULING, ttlStrategy=CLEANUP,
    workflowMetadata=MONITORING,
)  # fmt: skip
TEMPLATE: Final = _fields(
    "name inputs outputs container dag retryStrategy activeDeadlineSeconds volumes podSpecPatch",
    affinity=SCHEDULING, automountServiceAccountToken=SECURITY, executor=SECURITY, metadata=MONITORING,
    metrics=MONITORING,
    nodeSelector=SCHEDULING, priorityClassName=SCHEDULING, schedulerName=SCHEDULING, securityContext=SECURITY,
    failFast="hera writes it on the template, too; it is read from the DAG",
    serviceAccountName=SECURITY, tolerations=SCHEDULING,
)  # fmt: skip
DAG: Final = _fields("tasks failFast target")
TASK: Final = _fields("name template depends dependencies arguments")
ARGUMENTS: Final = _fields("parameters")
PARAMETER: Final = _fields("name value default", description=MONITORING)
OUTPUT: Final = _fields("name valueFrom", description=MONITORING)
OUTPUT_SOURCE: Final = _fields("path default")
CONTAINER: Final = _fields(
    "command args env volumeMounts resources",
    image=IMAGE, imagePullPolicy=IMAGE, livenessProbe=MONITORING, name=BOOKKEEPING, ports=MONITORING,
    readinessProbe=MONITORING, securityContext=SECURITY, startupProbe=MONITORING, terminationMessagePath=MONITORING,
    terminationMessagePolicy=MONITORING,
)  # fmt: skip
ENV: Final = _fields("name value valueFrom")
ENV_SOURCE: Final = _fields("secretKeyRef fieldRef")
MOUNT: Final = _fields("name mountPath", readOnly=SECURITY)
VOLUME: Final = _fields("name emptyDir hostPath")
RETRY: Final = _fields("limit backoff retryPolicy expression", affinity=SCHEDULING)
BACKOFF: Final = _fields("duration factor cap")
POD_PATCH: Final = _fields(
    "terminationGracePeriodSeconds",
    automountServiceAccountToken=SECURITY, containers=SECURITY, initContainers=SECURITY, runtimeClassName=SCHEDULING,
    securityContext=SECURITY, volumes="holds the API token of Argo's own containers",
)  # fmt: skip

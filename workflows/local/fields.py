"""Which fields of a workflow the local engine interprets, which mean nothing to a process, and why.

A field in neither table is refused: skipping it in silence would make a local run something else than what a cluster
runs. A field that means nothing here is accepted with everything under it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jobs.contract.exits import BadInput

OBJECT: Final = "a Kubernetes object's own bookkeeping; nothing is created in a cluster"
PLACING: Final = "says on which node a pod may run; here there is one machine"
RIGHTS: Final = "limits what a pod may do; a process has the rights of who started it"
CLEANING: Final = "says when Argo removes pods and workflows; a process is gone when it ends"
WATCHING: Final = "is read by Argo and Prometheus, not by the task"
PULLING: Final = "says which image is pulled and how; a process runs this Python environment"
PODS: Final = "protects pods from the cluster's own doings"


@dataclass(frozen=True)
class Fields:
    """What the engine does with the fields of one kind of object."""

    interpreted: frozenset[str]
    meaningless: Mapping[str, str]  # field → why

    def check(self, value: Mapping[str, Any], place: str) -> None:
        """Refuse fields the engine does not know.

        Raises:
            BadInput: naming the first of them.
        """
        for field, content in value.items():
            if field not in self.interpreted and field not in self.meaningless and content is not None:
                raise BadInput(
                    f"{place}.{field}: the local engine does not interpret this field. A cluster does: use submit, or "
                    "leave the field out of the profile"
                )


def _fields(interpreted: str, **meaningless: str) -> Fields:
    return Fields(frozenset(interpreted.split()), meaningless)


WORKFLOW: Final = _fields("apiVersion kind metadata spec")
METADATA: Final = _fields("name generateName namespace labels annotations", ownerReferences=OBJECT, finalizers=OBJECT)
SPEC: Final = _fields(
    "entrypoint templates arguments parallelism activeDeadlineSeconds volumes podSpecPatch",
    affinity=PLACING, archiveLogs=CLEANING, automountServiceAccountToken=RIGHTS, executor=RIGHTS,
    imagePullSecrets=PULLING, metrics=WATCHING, nodeSelector=PLACING, podDisruptionBudget=PODS, podGC=CLEANING,
    podMetadata=WATCHING, podPriorityClassName=PLACING, priority=PLACING, schedulerName=PLACING,
    securityContext=RIGHTS, serviceAccountName=RIGHTS, tolerations=PLACING, ttlStrategy=CLEANING,
    workflowMetadata=WATCHING,
)  # fmt: skip
TEMPLATE: Final = _fields(
    "name inputs outputs container dag retryStrategy activeDeadlineSeconds volumes podSpecPatch",
    affinity=PLACING, automountServiceAccountToken=RIGHTS, executor=RIGHTS, metadata=WATCHING, metrics=WATCHING,
    nodeSelector=PLACING, priorityClassName=PLACING, schedulerName=PLACING, securityContext=RIGHTS,
    failFast="hera writes it on the template as well as on the DAG, where it is read",
    serviceAccountName=RIGHTS, tolerations=PLACING,
)  # fmt: skip
DAG: Final = _fields("tasks failFast target")
TASK: Final = _fields("name template depends dependencies arguments")
ARGUMENTS: Final = _fields("parameters")
PARAMETER: Final = _fields("name value default", description=WATCHING)
OUTPUT: Final = _fields("name valueFrom", description=WATCHING)
OUTPUT_SOURCE: Final = _fields("path default")
CONTAINER: Final = _fields(
    "command args env volumeMounts resources",
    image=PULLING, imagePullPolicy=PULLING, livenessProbe=WATCHING, name=OBJECT, ports=WATCHING,
    readinessProbe=WATCHING, securityContext=RIGHTS, startupProbe=WATCHING, terminationMessagePath=WATCHING,
    terminationMessagePolicy=WATCHING,
)  # fmt: skip
ENV: Final = _fields("name value valueFrom")
ENV_SOURCE: Final = _fields("secretKeyRef fieldRef")
MOUNT: Final = _fields("name mountPath", readOnly=RIGHTS)
VOLUME: Final = _fields("name emptyDir hostPath")
RETRY: Final = _fields("limit backoff retryPolicy expression", affinity=PLACING)
BACKOFF: Final = _fields("duration factor cap")
POD_PATCH: Final = _fields(
    "terminationGracePeriodSeconds",
    automountServiceAccountToken=RIGHTS, containers=RIGHTS, initContainers=RIGHTS, runtimeClassName=PLACING,
    securityContext=RIGHTS, volumes="holds the API token of Argo's own containers",
)  # fmt: skip

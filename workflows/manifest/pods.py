"""Build the pod template of a stage: image, command, environment, resources, folders, security, retries.

Every pod passes the *restricted* pod-security standard. Nothing here knows an experiment, only stages and profiles.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, TypeVar

from hera.workflows import Container, EmptyDirVolume, Env, FieldEnv, Parameter, Resources, RetryStrategy, SecretEnv
from hera.workflows import models as m
from hera.workflows.retry_strategy import RetryPolicy
from pydantic import BaseModel, ValidationError

from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.names import FOLD_LABEL, MODEL_LABEL, STAGE_LABEL, Stage
from jobs.contract.profile import GPU_STAGES, Profile, Secret
from workflows.manifest import retry

KubernetesObject = TypeVar("KubernetesObject", bound=BaseModel)

TMP: Final = "/tmp"  # noqa: S108 - an emptyDir of the pod
SHM: Final = "/dev/shm"  # noqa: S108
SCRATCH: Final = "/scratch"
CACHE: Final = "/cache"
OUTPUTS: Final = f"{TMP}/outputs"
CACHE_VOLUME: Final = "cache"
TOKEN_VOLUME: Final = "executor-token"  # noqa: S105 - its name
# Value of the output parameter score if a pod wrote none.
NO_SCORE: Final = "-"

# Libraries write to these; the root file system is read-only.
_HOMES: Final = {
    "HOME": f"{TMP}/home",
    "MPLCONFIGDIR": f"{TMP}/matplotlib",
    "NUMBA_CACHE_DIR": f"{TMP}/numba",
    "USER": "cxrfold",
    "YOLO_CONFIG_DIR": f"{TMP}/ultralytics",
}


@dataclass(frozen=True)
class TemplateKind:
    """Identifies a template; tasks of the same kind share it."""

    stage: Stage
    detector: bool = False
    memory: str | None = None  # replaces the profile's

    @property
    def name(self) -> str:
        """The template's name, e.g. ``predict-detector`` or ``train-classifier-32gi``."""
        parts = [str(self.stage)]
        if self.stage is Stage.PREDICT and self.detector:
            parts.append("detector")
        if self.memory:
            parts.append(self.memory.lower().replace(".", "-"))
        return "-".join(parts)


def template(kind: TemplateKind, profile: Profile, run: str, revision: str, from_run: str | None = None) -> Container:
    """Build the template of a kind of task.

    Args:
        kind: stage, image and memory.
        profile: the cluster's settings.
        run: the run's name, for labels and environment.
        revision: the code's git revision, for the image's tag.
        from_run: the run whose weights predict a test set.
    """
    resources = profile.resources_of(kind.stage)
    memory = kind.memory or resources.memory
    gpus = profile.gpu.count if kind.stage in GPU_STAGES else 0
    arguments = ["--model", "{{inputs.parameters.model}}", "--fold", "{{inputs.parameters.fold}}"]
    labels = {STAGE_LABEL: str(kind.stage)}
    if kind.stage.per_fold:
        labels |= {MODEL_LABEL: "{{inputs.parameters.model}}", FOLD_LABEL: "{{inputs.parameters.fold}}"}
    return Container(
        name=kind.name,
        labels=labels,
        image=image(kind, profile, revision),
        image_pull_policy=profile.images.pull_policy,
        command=["python", "-m", "jobs"],
        args=[str(kind.stage), *(arguments if kind.stage.per_fold else [])],
        inputs=[Parameter(name="model"), Parameter(name="fold")] if kind.stage.per_fold else [],
        outputs=[Parameter(name="score", value_from=m.ValueFrom(path=f"{OUTPUTS}/score", default=NO_SCORE))],
        env=_environment(profile, run, gpus, threads(resources.cpu_limit or resources.cpu), from_run),
        ports=[m.ContainerPort(name="metrics", container_port=profile.metrics_port)],
        resources=Resources(
            cpu_request=resources.cpu,
            cpu_limit=resources.cpu_limit,
            memory_request=memory,
            memory_limit=memory,
            gpus=gpus or None,
            gpu_flag=profile.gpu.resource,
        ),
        volumes=[
            EmptyDirVolume(name="shm", mount_path=SHM, medium="Memory", size_limit=m.Quantity(root=resources.shm)),
            EmptyDirVolume(name="scratch", mount_path=SCRATCH, size_limit=m.Quantity(root=resources.scratch)),
            EmptyDirVolume(name="tmp", mount_path=TMP, size_limit=m.Quantity(root=resources.scratch)),
        ],
        volume_mounts=[
            m.VolumeMount(name=CACHE_VOLUME, mount_path=CACHE),
            *(m.VolumeMount(name=v.name, mount_path=v.mount_path, read_only=v.read_only) for v in profile.volumes),
        ],
        security_context=m.SecurityContext(**CONTAINER_SECURITY),
        pod_spec_patch=_gpu_patch(profile) if gpus else None,
        node_selector=(profile.node_selector | (profile.gpu_node_selector if gpus else {})) or None,
        tolerations=_tolerations(profile, gpus) or None,
        active_deadline_seconds=profile.task_deadline,
        retry_strategy=_retry_strategy(profile),
    )


CONTAINER_SECURITY: Final[dict[str, Any]] = {
    "allow_privilege_escalation": False,
    "capabilities": m.Capabilities(drop=["ALL"]),
    "read_only_root_filesystem": True,
}


def pod_security(profile: Profile) -> m.PodSecurityContext:
    """The security context that the restricted standard requires of a pod."""
    return m.PodSecurityContext(
        run_as_non_root=True,
        run_as_user=profile.run_as,
        run_as_group=profile.run_as,
        fs_group=profile.run_as,
        seccomp_profile=m.SeccompProfile(type="RuntimeDefault"),
    )


def pod_spec_patch(profile: Profile) -> str:
    """What Argo has no field for: the grace period, and what its own containers may do.

    They pass the restricted standard, and they alone get the API token with which the executor reports a task's
    results: the stage's container has no use for one.
    """
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    return json.dumps(
        {
            "terminationGracePeriodSeconds": profile.grace,
            "automountServiceAccountToken": False,
            "volumes": [{"name": TOKEN_VOLUME, "projected": {"sources": _TOKEN_SOURCES}}],
            "initContainers": [{"name": "init", "securityContext": security, "volumeMounts": [_TOKEN_MOUNT]}],
            "containers": [{"name": "wait", "securityContext": security, "volumeMounts": [_TOKEN_MOUNT]}],
        }
    )


# What Kubernetes would mount into every container of the pod.
_TOKEN_SOURCES: Final = (
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
)
_TOKEN_MOUNT: Final = {
    "name": TOKEN_VOLUME, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True,
}  # fmt: skip


def _gpu_patch(profile: Profile) -> str | None:
    """The patch of pods with a GPU, applied after that of every pod."""
    return json.dumps({"runtimeClassName": profile.gpu.runtime_class}) if profile.gpu.runtime_class else None


def check_profile(profile: Profile) -> None:
    """Raise BadInput unless Kubernetes accepts the parts of a profile that have no schema of their own."""
    shared_volumes(profile)
    _tolerations(profile, 0)


def shared_volumes(profile: Profile) -> list[m.Volume]:
    """The volumes of every pod: the cache of packs and those of the profile."""
    cache = profile.cache_volume or {"emptyDir": {}}
    sources = {CACHE_VOLUME: cache} | {volume.name: volume.source for volume in profile.volumes}
    return [
        _from_profile(m.Volume, {"name": name, **source}, f"source of the volume {name}")
        for name, source in sources.items()
    ]


def image(kind: TemplateKind, profile: Profile, revision: str) -> str:
    """The image of a kind of task."""
    images = profile.images
    chosen = images.small if not kind.stage.per_fold else images.detector if kind.detector else images.base
    return chosen.replace("{revision}", revision)


def threads(cpu: str) -> int:
    """Number of threads for a quantity of CPU, rounded up, at least 1."""
    return max(1, ceil(int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)))


def _environment(
    profile: Profile, run: str, gpus: int, threads: int, from_run: str | None
) -> list[Env | SecretEnv | FieldEnv]:
    store = profile.store
    plain: dict[str, str | None] = {
        environment.RUN: run,
        environment.FROM_RUN: from_run,
        environment.EXPERIMENT: "{{workflow.parameters.experiment}}",
        environment.STORE: store.url,
        environment.ENDPOINT: store.endpoint,
        environment.ADDRESSING: store.addressing,
        "AWS_REGION": store.region,
        environment.ATTEMPT: "{{retries}}",
        environment.CREATED: f"{{{{{retry.CREATION_TIME}}}}}",
        environment.SCRATCH: SCRATCH,
        environment.CACHE: CACHE,
        environment.OUTPUTS: OUTPUTS,
        environment.GPUS: str(gpus),
        environment.ALLOW_CPU: "1" if profile.gpu.allow_cpu else None,
        environment.THREADS: str(threads),
        environment.PUSHGATEWAY: profile.pushgateway,
        environment.METRICS_PORT: str(profile.metrics_port),
        **_HOMES,
    }
    plain |= {name: value for name, value in profile.env.items() if isinstance(value, str)}
    secrets = {name: value for name, value in profile.env.items() if isinstance(value, Secret)}
    if store.secret:
        secrets |= {key: Secret(name=store.secret, key=key) for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return [
        *(Env(name=name, value=value) for name, value in plain.items() if value is not None),
        *(SecretEnv(name=name, secret_name=value.name, secret_key=value.key) for name, value in secrets.items()),
        FieldEnv(name=environment.NODE, field_path="spec.nodeName"),
    ]


def _from_profile(model: type[KubernetesObject], value: Mapping[str, Any], what: str) -> KubernetesObject:
    """Build a Kubernetes object from a part of the profile that has no schema of its own."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(step) for step in first["loc"])
        raise BadInput(f"The profile's {what} is not valid for Kubernetes: {path}: {first['msg']}.") from error


def _tolerations(profile: Profile, gpus: int) -> list[m.Toleration]:
    """The profile's tolerations; pods with a GPU also tolerate the usual taint of GPU nodes."""
    given = [_from_profile(m.Toleration, toleration, "toleration") for toleration in profile.tolerations]
    if gpus and not any(toleration.key == profile.gpu.taint for toleration in given):
        given.append(m.Toleration(key=profile.gpu.taint, operator="Exists", effect="NoSchedule"))
    return given


def _retry_strategy(profile: Profile) -> RetryStrategy:
    """Retry strategy. Argo retries if policy and expression agree: the policy is Always, the expression decides.

    ``maxDuration`` counts from the first attempt's start and would become the next pod's deadline; ``cap`` does not.
    """
    return RetryStrategy(
        limit=str(profile.retry.limit),
        retry_policy=RetryPolicy.always,
        expression=retry.expression(),
        backoff=m.Backoff(
            duration=f"{profile.retry.backoff}s",
            factor=m.IntOrString(root="2"),
            cap=f"{profile.retry.cap}s",
        ),
    )

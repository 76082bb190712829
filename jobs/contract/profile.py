"""The profile: where pods run. Nothing in it changes a result, so it is not part of an experiment."""

from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from jobs.contract.experiment import Count, Frozen
from jobs.contract.names import Stage

Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9.]+(m|[kMGTP]i?)?$")]
Seconds = Annotated[int, Field(ge=1)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# The stages that request a GPU. These are also the stages with Stage.per_fold, by coincidence.
GPU_STAGES = (Stage.TRAIN_CLASSIFIER, Stage.TRAIN_DETECTOR, Stage.PREDICT)


def check_endpoint(endpoint: str) -> str:
    """Return the URL of an S3 server if it is one, or is empty, which means AWS.

    Raises:
        ValueError: it has no http or https, no host, or no valid port.
    """
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port that is none
        valid = False
    if endpoint and not (valid and endpoint.isprintable() and " " not in endpoint):
        raise ValueError("the endpoint of an S3 server is a URL such as https://minio.example.org:9000")
    return endpoint


class Secret(Frozen):
    """A key of a Kubernetes Secret that becomes an environment variable; its value is never read here."""

    name: str
    key: str

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, value: object) -> object:
        if isinstance(value, str):  # pydantic's own message would show it
            raise ValueError("a secret is given as {name: SECRET, key: KEY} of a Kubernetes Secret, never as its value")
        return value


class StoreSettings(Frozen):
    """The S3 store that a run reads from and writes to."""

    url: Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$")] = "s3://cxrfold"
    endpoint: Annotated[str, AfterValidator(check_endpoint)] | None = Field(
        None, description="address of the S3 server; AWS itself where not given"
    )
    region: Annotated[str, StringConstraints(pattern=r"^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)?$")] = "us-east-1"
    addressing: Literal["auto", "path", "virtual"] = "auto"
    secret: str | None = Field(
        None,
        description="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
        "none where the service account has access (IRSA)",
    )


class Images(Frozen):
    """The images the pods run; ``{revision}`` is replaced with the code's git revision."""

    small: str = Field("cxrfold-small:{revision}", description="prepare, ensemble and evaluate: no torch")
    base: str = Field("cxrfold:{revision}", description="the classifier")
    detector: str = Field("cxrfold-detector:{revision}", description="the one image with ultralytics (AGPL-3.0)")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


class Gpu(Frozen):
    """How a pod requests its GPU."""

    resource: str = "nvidia.com/gpu"
    count: Annotated[int, Field(ge=0)] = 1
    runtime_class: str | None = Field(None, description="RuntimeClass, where NVIDIA's runtime is not a node's default")
    allow_cpu: bool = Field(
        False, description="a pod without a GPU trains on the CPU instead of failing with exit code 78"
    )

    @property
    def taint(self) -> str:
        """Key of the taint on the nodes: NVIDIA's is ``nvidia.com/gpu``, also for MIG slices and shared GPUs."""
        return "nvidia.com/gpu" if self.resource.startswith("nvidia.com/") else self.resource


class Resources(Frozen):
    """Resource requests of a stage's pod."""

    cpu: Quantity = "4"
    cpu_limit: Quantity | None = None
    memory: Quantity = "16Gi"
    shm: Quantity = Field("4Gi", description="size of /dev/shm; counts against the memory")
    scratch: Quantity = Field("100Gi", description="size of the pod's writable folders")


class Prices(Frozen):
    """What an hour costs, in one currency; its units are these fields and no others."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field("EUR", description="ISO 4217 code")
    gpu_hour: Price | None = Field(None, description="an hour of a GPU whose model gpu_hour_of does not name")
    gpu_hour_of: dict[str, Price] = Field(
        default_factory=dict, description="by model as the report names it, e.g. {NVIDIA L40S: 1.9}"
    )
    pod_hour: Price | None = Field(None, description="an hour of a pod without a GPU")


class Retry(Frozen):
    """Number and pace of retries. Which exit codes are retried is in :mod:`jobs.contract.exits`."""

    limit: Annotated[int, Field(ge=0, le=100)] = 10
    backoff: Seconds = 30
    cap: Seconds = 600


class Volume(Frozen):
    """An extra volume: a Kubernetes volume source and where it is mounted."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    mount_path: str
    source: dict[str, Any] = Field(
        description="e.g. {hostPath: {path: /mnt/films}} or {persistentVolumeClaim: {claimName: films}}"
    )
    read_only: bool = False


class Profile(Frozen):
    """A cluster, and how the pipeline uses it."""

    name: str = "default"
    namespace: str = "cxrfold"
    service_account: str = "cxrfold"
    store: StoreSettings = StoreSettings()
    images: Images = Images()
    gpu: Gpu = Gpu()
    resources: dict[Stage, Resources] = Field(default_factory=dict)
    memory_cap: Quantity = Field("64Gi", description="limit to which resume raises the memory of an OOM-killed task")
    retry: Retry = Retry()
    parallelism: Count | None = Field(None, description="most pods of a run at once; unlimited where not given")
    disruption: Literal["allow", "protect"] = Field(
        "allow",
        description="allow: a node can be drained, its pods write a checkpoint and continue elsewhere; protect: a "
        "disruption budget and annotations for autoscalers keep every pod where it is until it ends",
    )
    grace: Seconds = Field(120, description="seconds between SIGTERM and SIGKILL, in which a checkpoint is written")
    task_deadline: Seconds = Field(86_400, description="seconds an attempt may take")
    run_deadline: Seconds = Field(604_800, description="seconds a run may take")
    keep_success: Seconds = Field(
        86_400, description="seconds a finished run stays in the cluster; its results stay in the store"
    )
    keep_failure: Seconds = Field(604_800, description="seconds a failed run stays in the cluster")
    queue: str | None = Field(None, description="Kueue LocalQueue")
    priority_class: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    gpu_node_selector: dict[str, str] = Field(default_factory=dict, description="for the stages that request a GPU")
    tolerations: tuple[dict[str, Any], ...] = ()
    env: dict[str, str | Secret] = Field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    cache_volume: dict[str, Any] | None = Field(
        None, description="a volume that pods of a node share for packs; an emptyDir where not given"
    )
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    run_as: Annotated[int, Field(ge=1)] = 10001
    pushgateway: str | None = None
    metrics_port: Annotated[int, Field(ge=1024, le=65535)] = 9464
    prices: Prices | None = Field(None, description="what an hour costs, for cv.py cost and the report")
    notify: Secret | None = Field(
        None,
        description="key of a Secret that holds Apprise addresses (Slack, mail, webhooks), one a line; they are told "
        "how a run ended",
    )
    argo_url: str | None = Field(None, description="address of Argo's pages, for links")
    store_url: str | None = Field(
        None,
        description="address under which a browser shows the store's objects, for links; "
        "AWS's console where the store has no endpoint",
    )

    @field_validator("env")
    @classmethod
    def _no_secrets_in_the_open(cls, env: dict[str, str | Secret]) -> dict[str, str | Secret]:
        for name, value in env.items():
            words = ("SECRET", "PASSWORD", "TOKEN", "API_KEY", "ACCESS_KEY")
            if isinstance(value, str) and any(word in name.upper() for word in words):
                raise ValueError(
                    f"{name} looks like a secret: give {{name: SECRET, key: KEY}} of a Kubernetes Secret instead"
                )
        return env

    def page(self, key: str) -> str | None:
        """URL at which a browser shows an object of the store; None where none is known."""
        if self.store_url:
            return f"{self.store_url.rstrip('/')}/{key}"
        if self.store.endpoint:
            return None
        bucket, _, prefix = self.store.url.removeprefix("s3://").partition("/")
        whole = quote(f"{prefix.rstrip('/')}/{key}".lstrip("/"))
        region = self.store.region
        return f"https://{region}.console.aws.amazon.com/s3/object/{bucket}?region={region}&prefix={whole}"

    def resources_of(self, stage: Stage) -> Resources:
        """Resource requests of the stage's pod; GPU stages default to more than the others."""
        default = Resources() if stage in GPU_STAGES else Resources(cpu="2", memory="8Gi", shm="1Gi")
        return self.resources.get(stage, default)

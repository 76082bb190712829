"""The environment variables through which a pod, or a local process, is told where and how it runs."""

from typing import Final

RUN: Final = "CXRFOLD_RUN"
FROM_RUN: Final = "CXRFOLD_FROM_RUN"  # set for a test set: the run whose weights predict it
EXPERIMENT: Final = "CXRFOLD_EXPERIMENT"  # the resolved experiment, JSON
ORDER: Final = "CXRFOLD_ORDER"  # the rest of what a run was submitted with, JSON; prepare's alone
STORE: Final = "CXRFOLD_STORE"  # s3://bucket or s3://bucket/prefix
ADDRESSING: Final = "CXRFOLD_S3_ADDRESSING"  # auto, path or virtual
ENDPOINT: Final = "AWS_ENDPOINT_URL_S3"
ATTEMPT: Final = "CXRFOLD_ATTEMPT"  # 0 for the first
SCRATCH: Final = "CXRFOLD_SCRATCH"  # a folder that may be lost with the pod
CACHE: Final = "CXRFOLD_CACHE"  # a folder that pods of a node may share: packs by content
OUTPUTS: Final = "CXRFOLD_OUTPUTS"  # a folder for Argo's output parameters: the file score
GPUS: Final = "CXRFOLD_GPUS"  # how many GPUs the task asked for
ALLOW_CPU: Final = "CXRFOLD_ALLOW_CPU"  # 1: a GPU that is not there is replaced by the CPU
THREADS: Final = "CXRFOLD_THREADS"  # CPU threads a task may use
REVISION: Final = "CXRFOLD_REVISION"  # the code's git revision, baked into an image
PUSHGATEWAY: Final = "CXRFOLD_PUSHGATEWAY"  # address of a Prometheus Pushgateway
METRICS_PORT: Final = "CXRFOLD_METRICS_PORT"  # where /metrics is served; not served where unset
NODE: Final = "CXRFOLD_NODE"
CHECKPOINT_SECONDS: Final = "CXRFOLD_CHECKPOINT_SECONDS"  # how much work SIGKILL may cost a classifier
PROGRESS_FILE: Final = "ARGO_PROGRESS_FILE"

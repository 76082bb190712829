"""Environment variables that configure a stage's process, in a pod or locally."""

import os
import re
from typing import Final

from jobs.contract.exits import BadInput

RUN: Final = "CXRFOLD_RUN"
FROM_RUN: Final = "CXRFOLD_FROM_RUN"  # the run whose weights predict a test set; unset where a run trains
OVERLAP: Final = "CXRFOLD_OVERLAP"  # drop: leave labelled test films that training has seen out of the scores
EXPERIMENT: Final = "CXRFOLD_EXPERIMENT"  # the resolved experiment, JSON
ORDER: Final = "CXRFOLD_ORDER"  # profile, revision and test set of the run, JSON; set for prepare only
STORE: Final = "CXRFOLD_STORE"  # s3://bucket or s3://bucket/prefix
ADDRESSING: Final = "CXRFOLD_S3_ADDRESSING"  # auto, path or virtual
ENDPOINT: Final = "AWS_ENDPOINT_URL_S3"
ATTEMPT: Final = "CXRFOLD_ATTEMPT"  # 0 for the first
SCRATCH: Final = "CXRFOLD_SCRATCH"  # a folder for temporary files
CACHE: Final = "CXRFOLD_CACHE"  # a folder for packs, which pods of a node may share
OUTPUTS: Final = "CXRFOLD_OUTPUTS"  # a folder for Argo's output parameters
GPUS: Final = "CXRFOLD_GPUS"  # number of GPUs that the task requests
ALLOW_CPU: Final = "CXRFOLD_ALLOW_CPU"  # 1: use the CPU where there is no GPU
THREADS: Final = "CXRFOLD_THREADS"  # CPU threads a task may use
REVISION: Final = "CXRFOLD_REVISION"  # the code's git revision, baked into an image
CREATED: Final = "CXRFOLD_CREATED"  # when the pod was created, seconds since 1970
MAX_GPU_HOURS: Final = "CXRFOLD_MAX_GPU_HOURS"  # GPU hours of the whole run after which its tasks stop
PUSHGATEWAY: Final = "CXRFOLD_PUSHGATEWAY"  # address of a Prometheus Pushgateway
METRICS_PORT: Final = "CXRFOLD_METRICS_PORT"  # port of /metrics; not served where unset
NODE: Final = "CXRFOLD_NODE"  # name of the node
CHECKPOINT_SECONDS: Final = "CXRFOLD_CHECKPOINT_SECONDS"  # time between two checkpoints of a classifier
ADDRESSES: Final = "CXRFOLD_NOTIFY"  # Apprise addresses that are told how a run ended; for the exit handler only
WORKFLOW: Final = "CXRFOLD_WORKFLOW"  # name, UID and status of the workflow that ended; for the exit handler only
PAGES: Final = "CXRFOLD_PAGES"  # URLs of the run's result and of its workflow in Argo; for the exit handler only
IN_POD: Final = "KUBERNETES_SERVICE_HOST"  # set by Kubernetes in every container
PROGRESS_FILE: Final = "ARGO_PROGRESS_FILE"  # set by Argo


def number(variable: str, default: float = 0) -> float:
    """Return a variable as a number; the default where it is unset or empty.

    Raises:
        BadInput: it is no number of at most 10 digits.
    """
    text = os.environ.get(variable) or str(default)
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,10})?", text):
        raise BadInput(f"{variable} is {text[:80]!r}: set it to a number, e.g. {default:g}, or unset it.")
    return float(text)

"""The mistakes that a cluster would show only hours later, found before anything is sent; each has a code and a fix."""

from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """What a code stands for, and what to do about it."""

    level: Level
    about: str
    fix: str


@dataclass(frozen=True)
class Finding:
    """One mistake, where it is, and the way out."""

    code: str
    where: str
    says: str
    fix: str
    level: Level

    def text(self) -> str:
        """For people."""
        return f"{self.code} {self.level}  {self.where}: {self.says}\n    fix: {self.fix}"


# A check says code, place, sentence.
Found = tuple[str, str, str]

RULES: Final[dict[str, Rule]] = {
    "CXR001": Rule("error", "unknown key: hera and Argo drop it silently", "correct its spelling, or take it out"),
    "CXR002": Rule("error", "placeholder that nothing fills", "name a declared parameter, or declare it"),
    "CXR003": Rule("error", "task without an argument its template needs", "give the argument, or the input a default"),
    "CXR004": Rule(
        "error", "output or gathered input without a default", "give valueFrom.default, or the input a default"
    ),
    "CXR005": Rule("error", "maxDuration: counts from the first attempt, ends the last one", "use backoff.cap instead"),
    "CXR006": Rule("error", "container without a command", "set the command: Argo's executor needs it"),
    "CXR007": Rule("error", "a shell in between takes the SIGTERM", 'run the program itself: ["python", "-m", …]'),
    "CXR008": Rule("error", "no /dev/shm for a pod that trains", "mount an emptyDir with medium Memory at /dev/shm"),
    "CXR009": Rule("error", "shared memory as large as the memory it counts against", "make one smaller or one larger"),
    "CXR010": Rule("error", "image without a fixed tag", "name a tag such as {revision}, or a digest"),
    "CXR011": Rule("error", "secret in the open", "put it into a Kubernetes Secret and refer to that"),
    "CXR012": Rule("error", "workflow too large for etcd", "train fewer folds or models in one run"),
    "CXR013": Rule("error", "parameters too large", "pass a key of the store in place of the data"),
    "CXR014": Rule("warning", "node anti-affinity on retry", "take it out: with one GPU node the retry waits for ever"),
    "CXR015": Rule("error", "progress annotation: turns off the pods' own progress", "take the annotation out"),
    "CXR016": Rule("error", "name too long or of wrong letters", "use at most 63 of a-z, 0-9 and -"),
    "CXR017": Rule("error", "task names that Argo takes for one another", "let them differ in more than - and _"),
    "CXR018": Rule("error", "retry strategy on a DAG: retries all of it", "put it on the container's template"),
    "CXR019": Rule(
        "error", "retries that miss lost pods, or retry bugs", "policy Always with the generated expression"
    ),
    "CXR020": Rule(
        "error", "the restricted pod-security standard refuses this pod", "use the generated security context"
    ),
    "CXR021": Rule("error", "artifact: Argo cannot gather those of a fan-out", "let the task write to the store"),
    "CXR022": Rule("warning", "no deadline", "set activeDeadlineSeconds"),
    "CXR023": Rule("warning", "pods of failed tasks are deleted, with their logs", "podGC strategy OnWorkflowSuccess"),
    "CXR024": Rule("error", "too little time between SIGTERM and SIGKILL", "set the profile's grace to 60 or more"),
    "CXR025": Rule("error", "run succeeds although a fold failed", "make every task a target of the DAG"),
    "CXR026": Rule("error", "read-only root without a writable /tmp", "mount an emptyDir at /tmp"),
    "CXR027": Rule("warning", "memoize: loses to retries and has 1 MiB", "DONE.json already skips finished work"),
    "CXR028": Rule("error", "no memory limit", "set the stage's memory in the profile"),
    "CXR029": Rule("error", "dependency on a task that is not there", "name a task of this DAG"),
    "CXR030": Rule("error", "value that Argo refuses", "give what the field asks for"),
    "CXR031": Rule("warning", "metric labelled by run: its series never end", "label by experiment, not by workflow"),
    "CXR032": Rule("warning", "service account that may not report results", "name one that the chart makes"),
    "CXR033": Rule(
        "error", "no token for Argo's executor", "set executor.serviceAccountName, or leave the token mounted"
    ),
    "CXR034": Rule("error", "hook named exit: Argo takes it for the exit handler", "give the hook another name"),
    "CXR035": Rule("warning", "timeout: waiting for a GPU uses it up", "use activeDeadlineSeconds"),
    "CXR036": Rule("error", "containerSet: Argo loses track of its pods", "give each stage a container template"),
    "CXR037": Rule("warning", "one lost fold keeps others from starting", "set failFast: false"),
    "CXR038": Rule("error", "Kueue's label where it does not look", "put it into podMetadata.labels"),
    "CXR039": Rule(
        "error", "gathered list without a gap for a lost fold", "put the fold into the value, or read the store"
    ),
    "CXR040": Rule("warning", "AllFailed passes over tasks that errored", "name Failed and Errored of each task"),
    "CXR101": Rule("error", "batch norm of one film has no variance", "set batch to 2 or more"),
    "CXR102": Rule(
        "warning", "accumulation does not enlarge batch norm's batch", "raise batch as far as memory allows"
    ),
    "CXR103": Rule("warning", "mosaic and mixup never happen", "make close_mosaic smaller than epochs"),
    "CXR104": Rule("note", "inference at another size than training", "nothing, if it is meant; both sizes are packed"),
    "CXR105": Rule("warning", "warm-up as long as the stage", "make warmup smaller than epochs"),
    "CXR106": Rule("note", "early stop that cannot come", "make patience smaller than epochs, or take it out"),
    "CXR107": Rule(
        "error", "the none rule has no source", "give boxes, negative or film2 a weight its models can feed"
    ),
    "CXR108": Rule(
        "warning", "weak boxes are thrown away; average precision wants them", "lower the value to 0.001 or less"
    ),
    "CXR109": Rule("warning", "weights that all are zero", "give one model a weight"),
    "CXR110": Rule(
        "note",
        "each fold searches for itself",
        "nothing, if it is meant; one fold's search gives a recipe for all folds",
    ),
    "CXR201": Rule("error", "GPU stages ask for no GPU", "set gpu.count, or gpu.allow_cpu where the CPU is meant"),
    "CXR202": Rule("error", "address that no pod can reach", "give an address inside the cluster's network"),
    "CXR203": Rule(
        "warning", "hostPath: the restricted pod-security standard refuses it", "use a claim, or an emptyDir"
    ),
    "CXR204": Rule("error", "limits that contradict each other", "see the sentence"),
    "CXR205": Rule("warning", "no keys and no endpoint of AWS", "name store.secret, or leave endpoint out for IRSA"),
    "CXR206": Rule("error", "variable that the pipeline sets itself", "take it out of env"),
    "CXR207": Rule(
        "warning", "detector in an image that is not for it", "give images.detector an image with ultralytics"
    ),
}

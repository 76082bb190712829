"""An experiment as objects that stay in a cluster: a WorkflowTemplate, and a CronWorkflow that starts it on a schedule.

Each workflow that Argo makes of the template is a run of its own, named like the workflow.
"""

import json
import re
from typing import Any, Final

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.names import EXPERIMENT_LABEL, LONGEST_RUN_NAME, RUN_LABEL
from jobs.contract.profile import Profile
from workflows.manifest.dag import manifest
from workflows.manifest.spec import RUN_OF_TEMPLATE, Manifest, RunSpec

# Stands for the run's name until the manifest is built; then Argo's variable takes its place everywhere.
PLACEHOLDER: Final = "name-of-the-workflow"
API: Final = "argoproj.io/v1alpha1"
# Argo appends a dash and the time in seconds, or five letters, to a name.
LONGEST_NAME: Final = LONGEST_RUN_NAME - 11
_FIELD: Final = re.compile(r"[\d*,/\-?A-Za-z]+")
_MACRO: Final = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)")


def workflow_template(name: str, experiment: Experiment, profile: Profile, revision: str) -> Manifest:
    """Build the WorkflowTemplate of an experiment.

    Raises:
        BadInput: the name is too long, or the films lie in a folder of this machine.
    """
    if len(name) > LONGEST_NAME:
        raise BadInput(f"{name!r} is too long: {LONGEST_NAME} characters at most, as Argo appends to it for each run.")
    source = experiment.data.source
    if not source.startswith(("s3://", "phantom:")):
        raise BadInput(f"data.source {source}: a deployed experiment reads its films from s3://bucket/prefix.")
    built = manifest(RunSpec.of(experiment, profile, revision=revision, run=PLACEHOLDER))
    workflow: Manifest = json.loads(json.dumps(built).replace(PLACEHOLDER, RUN_OF_TEMPLATE))
    metadata = workflow["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key != RUN_LABEL}
    return {
        "apiVersion": API,
        "kind": "WorkflowTemplate",
        "metadata": {"name": name, "namespace": profile.namespace, "labels": {EXPERIMENT_LABEL: experiment.name}},
        "spec": {
            **workflow["spec"],
            "workflowMetadata": {
                "labels": labels,
                "labelsFrom": {RUN_LABEL: {"expression": "workflow.name"}},
                "annotations": metadata["annotations"],
            },
        },
    }


def cron_workflow(name: str, profile: Profile, schedule: str, timezone: str | None) -> Manifest:
    """Build the CronWorkflow that starts a template on a schedule, never while its last run still goes on.

    Raises:
        BadInput: the schedule or the time zone is not valid.
    """
    check_schedule(schedule)
    spec: dict[str, Any] = {
        "schedules": [schedule],
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 300,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "workflowSpec": {"workflowTemplateRef": {"name": name}},
    }
    if timezone:
        spec["timezone"] = check_timezone(timezone)
    return {
        "apiVersion": API, "kind": "CronWorkflow", "metadata": {"name": name, "namespace": profile.namespace},
        "spec": spec,
    }  # fmt: skip


def check_schedule(schedule: str) -> str:
    """Return a cron expression if it has the form of one: Argo itself refuses a bad one only when it should fire."""
    fields = schedule.split()
    if _MACRO.fullmatch(schedule) or (len(fields) == 5 and all(_FIELD.fullmatch(field) for field in fields)):
        return schedule
    raise BadInput(
        f"--cron {schedule!r}: five fields are needed (minute, hour, day, month, day of week), e.g. '0 3 * * 1' for "
        "Mondays at 03:00, or @daily."
    )


def check_timezone(timezone: str) -> str:
    """Return a name of the time zone database, e.g. ``Europe/Paris``."""
    from zoneinfo import available_timezones

    if timezone not in available_timezones():
        raise BadInput(f"--timezone {timezone!r}: give a name such as Europe/Paris.")
    return timezone

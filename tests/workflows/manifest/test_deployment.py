"""An experiment as a WorkflowTemplate and a CronWorkflow."""

import json

import pytest

from jobs.contract import environment
from jobs.contract.exits import BadInput
from jobs.contract.profile import Prices, Profile
from workflows.manifest.deployment import PLACEHOLDER, cron_workflow, workflow_template
from workflows.manifest.spec import ORDER_ANNOTATION, RunSpec
from workflows.settings.files import load_experiment

EXPERIMENT = load_experiment("demo")
PROFILE = Profile(namespace="films", prices=Prices(gpu_hour=1))


def template():
    return workflow_template("nightly", EXPERIMENT, PROFILE, "v1")


def test_each_workflow_of_the_template_is_a_run_named_like_it():
    built = template()
    spec = built["spec"]
    assert PLACEHOLDER not in json.dumps(built)
    assert spec["workflowMetadata"]["labelsFrom"] == {"cxrfold/run": {"expression": "workflow.name"}}
    assert spec["podMetadata"]["labels"]["cxrfold/run"] == "{{workflow.name}}"
    containers = [body["container"] for body in spec["templates"] if "container" in body]
    runs = {item["value"] for one in containers for item in one["env"] if item["name"] == environment.RUN}
    assert runs == {"{{workflow.name}}"}


def test_a_workflow_of_the_template_tells_its_order():
    built = template()
    workflow = {
        "metadata": {"name": "nightly-1795880400", "annotations": built["spec"]["workflowMetadata"]["annotations"]},
        "spec": {"workflowTemplateRef": {"name": "nightly"}},
        "status": {"storedWorkflowTemplateSpec": built["spec"]},
    }
    assert RunSpec.of_workflow(workflow) == RunSpec.of(EXPERIMENT, PROFILE, revision="v1", run="nightly-1795880400")
    assert "{{workflow.name}}" in workflow["metadata"]["annotations"][ORDER_ANNOTATION]


def test_a_schedule_starts_the_template_and_never_twice_at_once():
    spec = cron_workflow("nightly", PROFILE, "0 3 * * 1", "Europe/Paris")["spec"]
    assert spec["workflowSpec"] == {"workflowTemplateRef": {"name": "nightly"}}
    assert (spec["schedules"], spec["timezone"], spec["concurrencyPolicy"]) == (["0 3 * * 1"], "Europe/Paris", "Forbid")
    assert "timezone" not in cron_workflow("nightly", PROFILE, "@daily", None)["spec"]


@pytest.mark.parametrize("schedule", ["", "* * * *", "0 3 * * 1 2", "@sometimes", "0 3 * * {{x}}"])
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(BadInput, match="five fields"):
        cron_workflow("nightly", PROFILE, schedule, None)


def test_a_time_zone_that_is_none_a_long_name_and_films_on_this_machine_are_refused(tmp_path):
    with pytest.raises(BadInput, match="Europe/Paris"):
        cron_workflow("nightly", PROFILE, "@daily", "Mars/Olympus")
    with pytest.raises(BadInput, match="42 characters at most"):
        workflow_template("n" * 43, EXPERIMENT, PROFILE, "v1")
    data = EXPERIMENT.data.model_copy(update={"source": str(tmp_path)})
    with pytest.raises(BadInput, match="s3://bucket/prefix"):
        workflow_template("nightly", EXPERIMENT.model_copy(update={"data": data}), PROFILE, "v1")

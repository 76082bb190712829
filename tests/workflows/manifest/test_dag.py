import json

import pytest

from jobs.contract import environment
from jobs.contract.experiment import Experiment
from jobs.contract.plan import plan
from jobs.contract.profile import Profile
from workflows.manifest.dag import manifest as manifest_of
from workflows.manifest.spec import RunSpec, TestSet
from workflows.settings.files import PROFILES, load_experiment, load_profile


def manifest(experiment="demo", profile="kit", overrides=(), **arguments):
    loaded = load_experiment(experiment, overrides)
    return manifest_of(RunSpec.of(loaded, load_profile(profile), revision="abc123", run="trial", **arguments))


def templates(workflow):
    return {template["name"]: template for template in workflow["spec"]["templates"]}


def tasks(workflow):
    return {task["name"]: task for task in templates(workflow)[workflow["spec"]["entrypoint"]]["dag"]["tasks"]}


def variables(template):
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in template["container"]["env"]}


def described(**arguments):
    return manifest(**arguments)["metadata"]["annotations"]["workflows.argoproj.io/description"]


def test_a_task_is_named_by_its_model_and_fold_or_by_its_stage():
    assert list(tasks(manifest(overrides=["folds.run=[0, 2]"]))) == [
        "prepare",
        "tiny-fold-0",
        "tiny-fold-2",
        "yolo-fold-0",
        "yolo-fold-2",
        "ensemble",
        "evaluate",
    ]


def test_the_plan_and_the_workflow_name_the_same_tasks():
    assert [task.name for task in plan(load_experiment("final"))] == list(tasks(manifest("final")))


def test_a_pod_runs_its_stage_for_the_model_and_fold_of_its_task():
    workflow = manifest()
    container = templates(workflow)["train-classifier"]["container"]
    assert container["command"] == ["python", "-m", "jobs"]
    assert container["args"][0] == "train-classifier"
    given = tasks(workflow)["tiny-fold-3"]["arguments"]["parameters"]
    assert given == [{"name": "model", "value": "tiny"}, {"name": "fold", "value": "3"}]


def test_the_experiment_travels_as_one_parameter_and_comes_back_the_same():
    experiment = load_experiment("demo").model_copy(update={"remark": "a {{brace}} and ümlauts"})
    workflow = manifest_of(RunSpec.of(experiment, Profile(), revision="abc", run="trial"))
    (parameter,) = workflow["spec"]["arguments"]["parameters"]
    assert "{{" not in parameter["value"]
    assert Experiment.model_validate(json.loads(parameter["value"])) == experiment
    assert variables(templates(workflow)["prepare"])[environment.EXPERIMENT] == "{{workflow.parameters.experiment}}"


def test_pods_carry_run_stage_model_and_fold():
    workflow = manifest()
    assert workflow["spec"]["podMetadata"]["labels"]["cxrfold/run"] == "trial"
    assert templates(workflow)["train-detector"]["metadata"]["labels"] == {
        "cxrfold/stage": "train-detector",
        "cxrfold/model": "{{inputs.parameters.model}}",
        "cxrfold/fold": "{{inputs.parameters.fold}}",
    }


def test_the_workflows_title_begins_with_the_runs_name():
    titles = {
        name: manifest(name)["metadata"]["annotations"]["workflows.argoproj.io/title"] for name in ("demo", "study-01")
    }
    assert titles["demo"] == "trial: The whole pipeline, small enough for a laptop"
    assert titles["study-01"].startswith("trial: ")
    untitled = load_experiment("demo").model_copy(update={"title": ""})
    workflow = manifest_of(RunSpec.of(untitled, Profile(), revision="abc", run="trial"))
    assert workflow["metadata"]["annotations"]["workflows.argoproj.io/title"] == "trial: demo"


@pytest.mark.parametrize(("folds", "hidden"), [("[0]", False), ("[0, 1]", True)])
def test_the_description_mentions_hidden_nodes_where_the_graph_folds_tasks(folds, hidden):
    text = described(overrides=[f"folds.run={folds}"])  # two models
    assert ("hidden nodes" in text) is hidden
    one_model = ["detectors=null", "ensemble.none.boxes=0"]
    assert "hidden nodes" not in described(overrides=[*one_model, "folds.run=[0, 1, 2]"])
    assert "hidden nodes" in described(overrides=[*one_model, "folds.run=[0, 1, 2, 3]"])


def test_argos_page_links_to_the_result_where_a_browser_shows_it():
    assert "Result: `s3://cxrfold/runs/trial/report.html`." in described(profile="kit")
    pages = "https://minio.example.org:9001/browser/films/cxrfold/runs/trial/report.html"
    assert f"report.html` ([open it]({pages}))." in described(profile="on-prem")
    console = "https://eu-central-1.console.aws.amazon.com/s3/object/example-films"
    assert f"({console}?region=eu-central-1&prefix=cxrfold/runs/trial/report.html)" in described(profile="aws-irsa")


def test_a_lost_fold_stops_the_ensemble_unless_the_experiment_allows_it():
    strict = manifest()
    assert "Failed" not in tasks(strict)["ensemble"]["depends"]
    tolerant = manifest(overrides=["ensemble.min_folds=4"])
    depends = tasks(tolerant)["ensemble"]["depends"]
    assert "(yolo-fold-4.Succeeded || yolo-fold-4.Failed" in depends
    dag = templates(tolerant)["cross-validation"]["dag"]
    assert dag["target"].split() == list(tasks(tolerant))


def test_gpus_are_asked_for_by_those_who_train():
    found = templates(manifest())
    limits = {name: one["container"]["resources"]["limits"] for name, one in found.items() if "container" in one}
    assert {name for name, limit in limits.items() if "nvidia.com/gpu" in limit} == {
        "train-classifier",
        "train-detector",
    }
    assert variables(found["train-classifier"])[environment.GPUS] == "1"
    assert variables(found["ensemble"])[environment.GPUS] == "0"


def test_a_runtime_class_is_for_pods_with_a_gpu_alone():
    patches = {name: one.get("podSpecPatch") for name, one in templates(manifest(profile="on-prem")).items()}
    assert patches["train-detector"] == '{"runtimeClassName": "nvidia"}'
    assert patches["ensemble"] is None
    assert "podSpecPatch" not in templates(manifest())["train-detector"]


def test_memory_can_be_raised_for_one_task_alone():
    workflow = manifest(memory={"tiny-fold-1": "5Gi"})
    assert tasks(workflow)["tiny-fold-1"]["template"] == "train-classifier-5gi"
    assert tasks(workflow)["tiny-fold-0"]["template"] == "train-classifier"
    resources = templates(workflow)["train-classifier-5gi"]["container"]["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"] == "5Gi"


def test_only_the_detector_runs_in_the_image_with_ultralytics():
    images = {name: one["container"]["image"] for name, one in templates(manifest()).items() if "container" in one}
    assert {name for name, image in images.items() if "detector:" in image} == {"train-detector"}
    assert all(image.endswith(":abc123") for image in images.values())


def test_the_order_travels_in_an_annotation_and_to_prepare_alone():
    workflow = manifest(memory={"tiny-fold-1": "5Gi"})
    order = workflow["metadata"]["annotations"]["cxrfold/order"]
    assert json.loads(order)["memory"] == {"tiny-fold-1": "5Gi"}
    assert "experiment" not in json.loads(order)
    given = {
        name: variables(one)[environment.ORDER]
        for name, one in templates(workflow).items()
        if "container" in one and environment.ORDER in variables(one)
    }
    assert {name: json.loads(value) for name, value in given.items()} == {"prepare": json.loads(order)}


def test_braces_in_an_order_are_no_placeholders_for_argo():
    source = "s3://films/{{workflow.name}}"
    workflow = manifest(test_set=TestSet(source=source, from_run="demo-1234"))
    value = variables(templates(workflow)["prepare"])[environment.ORDER]
    assert "{{" not in value
    assert json.loads(value)["test_set"]["source"] == source


def test_predicting_replaces_training_and_has_nothing_to_evaluate():
    workflow = manifest(test_set=TestSet(source="s3://films/test", from_run="demo-1234"))
    assert set(templates(workflow)) == {"prepare", "predict", "predict-detector", "ensemble", "prediction"}
    assert tasks(workflow)["yolo-fold-1"]["template"] == "predict-detector"
    assert variables(templates(workflow)["predict-detector"])[environment.FROM_RUN] == "demo-1234"
    assert json.loads(workflow["spec"]["arguments"]["parameters"][0]["value"])["data"]["source"] == "s3://films/test"


def test_the_profile_reaches_the_pods(tmp_path):
    workflow = manifest(profile="kueue")
    spec, train = workflow["spec"], templates(workflow)["train-classifier"]
    assert spec["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "cxrfold"
    assert (spec["podPriorityClassName"], spec["parallelism"]) == ("batch", 16)
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "cxrfold-cache"}} in spec["volumes"]
    assert {"name": "films", "mountPath": "/films", "readOnly": True} in train["container"]["volumeMounts"]
    assert train["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L40S"}
    assert variables(train)["WANDB_MODE"] == "offline"
    assert variables(train)["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"] == {
        "name": "cxrfold-s3",
        "key": "AWS_SECRET_ACCESS_KEY",
    }
    assert "nodeSelector" not in templates(workflow)["ensemble"]


@pytest.mark.parametrize(
    ("profile", "resource"), [("mig", "nvidia.com/mig-3g.40gb"), ("time-slicing", "nvidia.com/gpu.shared")]
)
def test_a_part_of_a_gpu_is_asked_for_by_its_name_and_tolerates_the_taint_of_the_whole(profile, resource):
    train = templates(manifest(profile=profile))["train-classifier"]
    assert train["container"]["resources"]["limits"][resource] == "1"
    assert [toleration["key"] for toleration in train["tolerations"]] == ["nvidia.com/gpu"]


def test_without_a_secret_no_keys_are_set():
    assert not any("ACCESS_KEY" in name for name in variables(templates(manifest(profile="aws-irsa"))["prepare"]))


def test_argos_own_containers_pass_the_restricted_standard_and_have_time_to_stop():
    patch = json.loads(manifest()["spec"]["podSpecPatch"])
    assert patch["terminationGracePeriodSeconds"] == 120
    for group in ("initContainers", "containers"):
        assert patch[group][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_nothing_limits_a_task_by_the_time_of_its_first_attempt():
    assert "maxDuration" not in json.dumps(manifest())


@pytest.mark.parametrize("profile", sorted(file.stem for file in PROFILES.glob("*.yaml")))
def test_the_same_input_gives_the_same_manifest(profile):
    assert manifest("final", profile) == manifest("final", profile)


def test_a_node_can_be_drained_unless_the_profile_protects_its_runs():
    spec = manifest()["spec"]
    assert "podDisruptionBudget" not in spec
    assert "annotations" not in spec["podMetadata"]
    order = RunSpec.of(load_experiment("demo"), Profile(disruption="protect"), revision="abc123")
    protected = manifest_of(order)["spec"]
    assert protected["podDisruptionBudget"] == {"minAvailable": 9999}
    assert protected["podMetadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_only_argos_own_containers_get_an_api_token():
    patch = json.loads(manifest()["spec"]["podSpecPatch"])
    assert patch["automountServiceAccountToken"] is False
    mounted = {one["name"] for one in (*patch["initContainers"], *patch["containers"]) if one.get("volumeMounts")}
    assert mounted == {"init", "wait"}


def test_an_exit_handler_tells_where_the_profile_names_receivers():
    spec = manifest(profile="on-prem")["spec"]
    bodies = {template["name"]: template for template in spec["templates"]}
    (task,) = bodies[spec["onExit"]]["dag"]["tasks"]
    assert task["continueOn"] == {"error": True, "failed": True}, "it never fails the run"
    told = variables(bodies[task["template"]])
    assert told[environment.ADDRESSES] == {"secretKeyRef": {"name": "cxrfold-notify", "key": "addresses"}}
    assert told[environment.WORKFLOW] == "{{workflow.name}} {{workflow.uid}} {{workflow.status}}"
    assert "onExit" not in manifest()["spec"]


def test_only_the_exit_handler_knows_the_receivers():
    others = [template for template in manifest(profile="on-prem")["spec"]["templates"] if "container" in template]
    assert [one["name"] for one in others if environment.ADDRESSES in variables(one)] == ["notify"]


def test_only_pods_that_hold_a_gpu_watch_the_gpu_hours():
    def hours(workflow):
        bodies = {name: body for name, body in templates(workflow).items() if "container" in body}
        told = {name: variables(body).get(environment.MAX_GPU_HOURS) for name, body in bodies.items()}
        return {name: value for name, value in told.items() if value}

    assert hours(manifest(max_gpu_hours=2.5)) == {"train-classifier": "2.5", "train-detector": "2.5"}
    assert hours(manifest()) == {}


def test_every_pod_is_told_when_it_was_created():
    bodies = [body for body in templates(manifest(profile="on-prem")).values() if "container" in body]
    expression = "{{=retries == '' ? '' : string(now().Unix())}}"
    assert {variables(body)[environment.CREATED] for body in bodies} == {expression}

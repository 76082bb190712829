import copy

import pytest

from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows.lint.check import RULES, check
from workflows.manifest.dag import manifest
from workflows.manifest.spec import RunSpec, TestSet
from workflows.settings.files import PROFILES, list_recipes, load_experiment, load_profile

EXPERIMENT = load_experiment("demo")


def order(experiment=EXPERIMENT, profile=None, test_set=None):
    profile = profile or Profile()
    return RunSpec.of(experiment, profile, revision="abc", run="trial", test_set=test_set)


SPEC = order()
WORKFLOW = manifest(SPEC)
TRAIN = 1  # the template train-classifier among the templates


def codes(run_spec=SPEC, workflow=None):
    return {finding.code for finding in check(run_spec, workflow or manifest(run_spec))}


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_recipe_renders_without_errors_and_warnings(recipe):
    run_spec = RunSpec.of(recipe, Profile(), revision="abc")
    assert [finding for finding in check(run_spec, manifest(run_spec)) if finding.level != "note"] == []


@pytest.mark.parametrize("name", sorted(file.stem for file in PROFILES.glob("*.yaml")))
def test_every_profile_passes(name):
    experiment = load_experiment("demo", ["ensemble.min_folds=4"])
    for test_set in (None, TestSet(source="s3://films/test", from_run="demo-1")):
        assert codes(order(experiment, load_profile(name), test_set)) == set()


def template(index, **changes):
    def change(workflow):
        workflow["spec"]["templates"][index].update(changes)

    return change


def container(**changes):
    def change(workflow):
        workflow["spec"]["templates"][TRAIN]["container"].update(changes)

    return change


def spec(**changes):
    return lambda workflow: workflow["spec"].update(changes)


def metadata(**changes):
    return lambda workflow: workflow["metadata"].update(changes)


def retries(**changes):
    return lambda workflow: workflow["spec"]["templates"][TRAIN]["retryStrategy"].update(changes)


def dag_task(index, **changes):
    return lambda workflow: workflow["spec"]["templates"][-1]["dag"]["tasks"][index].update(changes)


def gathering(workflow):
    dag_task(1, withItems=[0, 1])(workflow)
    dag_task(-2, arguments=GATHERED)(workflow)


def parameter(name, value):
    return lambda workflow: workflow["spec"]["arguments"]["parameters"].append({"name": name, "value": value})


UNKNOWN_OUTPUT = {"parameters": [{"name": "x", "value": "{{tasks.a.outputs.parameters.b}}"}]}
ONE_ARGUMENT = {"parameters": [{"name": "model", "value": "tiny"}]}
NO_DEFAULT = {"parameters": [{"name": "score", "valueFrom": {"path": "/tmp/x"}}]}
LARGE_SHM = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}]
ALWAYS_AGAIN = {"expression": "lastRetry.exitCode != '0' || lastRetry.status == 'Error'"}
BY_RUN = {"prometheus": [{"name": "x", "help": "x", "labels": [{"key": "run", "value": "{{workflow.name}}"}]}]}
GATHERED = {"parameters": [{"name": "scores", "value": "{{tasks.tiny-fold-0.outputs.parameters.score}}"}]}
MISTAKES = {
    "misspelt key": ("CXR001", spec(podGC={"stratgy": "OnWorkflowSuccess"})),
    "key of a newer Argo": ("CXR001", template(TRAIN, pendingTimeout="1h")),
    "unknown input": ("CXR002", container(args=["--fold", "{{inputs.parameters.flod}}"])),
    "retries without a retry strategy": ("CXR002", lambda w: w["spec"]["templates"][TRAIN].pop("retryStrategy")),
    "unknown output": ("CXR002", dag_task(-1, arguments=UNKNOWN_OUTPUT)),
    "argument left out": ("CXR003", dag_task(1, arguments=ONE_ARGUMENT)),
    "output without default": ("CXR004", template(TRAIN, outputs=NO_DEFAULT)),
    "maxDuration": ("CXR005", retries(backoff={"duration": "1", "maxDuration": "1h"})),
    "no command": ("CXR006", container(command=[])),
    "shell": ("CXR007", container(command=["sh", "-c"], args=["python -m jobs prepare"])),
    "no shared memory": ("CXR008", container(volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}])),
    "shared memory too large": ("CXR009", template(TRAIN, volumes=LARGE_SHM)),
    "latest": ("CXR010", container(image="registry:5000/cxrfold:latest")),
    "no tag": ("CXR010", container(image="registry:5000/cxrfold")),
    "secret parameter": ("CXR011", parameter("s3-secret-key", "x")),
    "secret variable": ("CXR011", container(env=[{"name": "WANDB_API_KEY", "value": "abc"}])),
    "too large": ("CXR012", lambda w: w["metadata"]["annotations"].update(note="x" * 2**20)),
    "large parameter": ("CXR013", parameter("x", "y" * 2**17)),
    "anti-affinity": ("CXR014", retries(affinity={"nodeAntiAffinity": {}})),
    "progress": ("CXR015", metadata(annotations={"workflows.argoproj.io/progress": "0/100"})),
    "long name": ("CXR016", metadata(generateName="x" * 60)),
    "bad label": ("CXR016", metadata(labels={"cxrfold/run": "a b"})),
    "long task": ("CXR016", dag_task(0, name="p" * 64)),
    "names alike": ("CXR017", dag_task(2, name="tiny_fold_0")),
    "retry of the DAG": ("CXR018", template(-1, retryStrategy={"limit": "3"})),
    "policy": ("CXR019", retries(retryPolicy="OnError")),
    "no expression": ("CXR019", lambda w: w["spec"]["templates"][TRAIN]["retryStrategy"].pop("expression")),
    "retries bugs": ("CXR019", retries(**ALWAYS_AGAIN)),
    "privileges": ("CXR020", container(securityContext={})),
    "no patch": ("CXR020", spec(podSpecPatch="{}")),
    "artifact": ("CXR021", template(TRAIN, outputs={"artifacts": [{"name": "weights", "path": "/tmp/w"}]})),
    "no deadline": ("CXR022", lambda w: w["spec"]["templates"][TRAIN].pop("activeDeadlineSeconds")),
    "pods deleted": ("CXR023", spec(podGC={"strategy": "OnPodCompletion"})),
    "no grace": ("CXR024", spec(podSpecPatch="{}")),
    "no gate": ("CXR025", dag_task(-2, depends="(prepare.Succeeded || prepare.Failed)")),
    "no /tmp": ("CXR026", container(volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}])),
    "memoize": ("CXR027", template(TRAIN, memoize={"key": "x", "cache": {"configMap": {"name": "x"}}})),
    "no memory limit": ("CXR028", container(resources={})),
    "unknown task": ("CXR029", dag_task(-1, depends="ensembel")),
    "value of the wrong kind": ("CXR030", spec(parallelism="many")),
    "unknown template": ("CXR029", dag_task(-1, template="nothing")),
    "hera's image": ("CXR010", container(image="python:3.10")),
    "metric by run": ("CXR031", template(TRAIN, metrics=BY_RUN)),
    "no service account": ("CXR032", lambda w: w["spec"].pop("serviceAccountName")),
    "no token": ("CXR033", spec(automountServiceAccountToken=False)),
    "hook named exit": ("CXR034", spec(hooks={"exit": {"template": "evaluate"}})),
    "timeout": ("CXR035", template(TRAIN, timeout="1h")),
    "container set": ("CXR036", template(TRAIN, containerSet={"containers": []})),
    "fail fast": ("CXR037", lambda w: w["spec"]["templates"][-1]["dag"].pop("failFast")),
    "queue of the workflow": ("CXR038", metadata(labels={"kueue.x-k8s.io/queue-name": "gpus"})),
    "gathered list": ("CXR039", gathering),
    "all failed": ("CXR040", dag_task(-1, depends="ensemble.AllFailed")),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_manifest_is_found_by_its_code(name):
    code, change = MISTAKES[name]
    workflow = copy.deepcopy(WORKFLOW)
    change(workflow)
    assert code in codes(workflow=workflow)
    assert code not in codes()


EXPERIMENTS = {
    "CXR101": ["classifiers.tiny.batch=1"],
    "CXR102": ["detectors.yolo.accumulate=4"],
    "CXR103": ["detectors.yolo.mosaic=1", "detectors.yolo.close_mosaic=12"],
    "CXR110": ["detectors.yolo.evolve.epochs=40"],
    "CXR104": ["classifiers.tiny.inference.size=128"],
    "CXR105": ["classifiers.tiny.warmup=2"],
    "CXR106": ["detectors.yolo.patience=12"],
    "CXR107": ["ensemble.none={boxes: 0, negative: 0}"],
    "CXR108": ["ensemble.fusion.floor=0.01"],
    "CXR109": ["ensemble.weights={yolo: 0}"],
    "CXR112": ["classifiers.tiny.backbone=resnet5O"],
    "CXR113": ["classifiers.tiny.backbone=densenet121", "classifiers.tiny.drop_path=0.2"],
    "CXR114": ["classifiers.tiny.backbone=vit_small_patch14_dinov2.lvd142m"],
    "CXR115": ["detectors.yolo.size=512"],
    "CXR120": ["detectors.yolo.overlap=drop"],
    "CXR124": ["classifiers.tiny.augment=[Cutout]"],
    "CXR125": ["classifiers.tiny.ema_warmup=1"],
    "CXR301": ["data.source=/no/films"],
}


@pytest.mark.parametrize("code", EXPERIMENTS)
def test_a_trap_in_an_experiment_is_found_by_its_code(code):
    assert code in codes(order(load_experiment("demo", EXPERIMENTS[code])))
    assert code not in codes()


PROFILE_MISTAKES = {
    "CXR001": {"tolerations": [{"key": "x", "oprator": "Exists"}]},
    "CXR024": {"grace": 10},
    "CXR201": {"gpu": {"count": 0}},
    "CXR202": {"store": {"endpoint": "http://localhost:9000", "secret": "s3"}},
    "CXR203": {"cache_volume": {"hostPath": {"path": "/mnt/cache"}}},
    "CXR204": {"retry": {"backoff": 60, "cap": 30}},
    "CXR205": {"store": {"endpoint": "http://minio:9000"}},
    "CXR206": {"env": {"CXRFOLD_RUN": "mine"}},
    "CXR207": {"images": {"base": "x:1", "detector": "x:1"}},
    "CXR208": {"gpu": {"count": 2}},
}


@pytest.mark.parametrize("code", PROFILE_MISTAKES)
def test_a_trap_in_a_profile_is_found_by_its_code(code):
    assert code in codes(order(profile=Profile.model_validate(PROFILE_MISTAKES[code])))


def test_an_experiment_that_the_ensemble_would_refuse_is_an_error():
    film = {"backbone": "resnet18", "head": "joint6", "loss_on": "film"}
    none = {"boxes": 0, "film2": 0, "negative": 0.5}
    trained_on_films = Experiment.model_validate(
        {"name": "x", "classifiers": {"joint": film}, "ensemble": {"none": none}}
    )
    assert "CXR107" in codes(order(trained_on_films))
    without_votes = load_experiment("demo", ["ensemble.none={boxes: 0.5, negative: 0}", "ensemble.weights={yolo: 0}"])
    assert "CXR107" in codes(order(without_votes))


def test_every_rule_has_a_test():
    assert {code for code, _ in MISTAKES.values()} | set(EXPERIMENTS) | set(PROFILE_MISTAKES) == {
        rule.code for rule in RULES
    }


def test_codes_are_unique():
    found = [rule.code for rule in RULES]
    assert len(found) == len(set(found))


def test_the_most_severe_finding_comes_first_with_a_message_and_a_fix():
    workflow = copy.deepcopy(WORKFLOW)
    MISTAKES["anti-affinity"][1](workflow)
    MISTAKES["latest"][1](workflow)
    first, second = check(SPEC, workflow)
    assert (first.level, second.level) == ("error", "warning")
    assert first.where == "template train-classifier"
    assert "latest" in first.message
    assert "{revision}" in first.fix

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from jobs.contract.names import Stage
from jobs.contract.profile import Gpu, Images, Profile, Resources, Secret, StoreSettings, Volume
from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.cluster import http
from workflows.cluster.client import Cluster
from workflows.cluster.http import Http
from workflows.cluster.kubernetes import Kubernetes, KubernetesWorkflows
from workflows.commands.doctor.examine import examine, images_of
from workflows.commands.doctor.point import Point
from workflows.settings.files import load_experiment

NODE: dict[str, Any] = {
    "metadata": {"name": "node0", "labels": {"accelerator": "a100"}},
    "spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
    "status": {"allocatable": {"cpu": "16", "memory": "128Gi", "nvidia.com/gpu": "4"}},
}
KUEUE = {"/apis/kueue.x-k8s.io": {"preferredVersion": {"groupVersion": "kueue.x-k8s.io/v1beta2"}}}
QUEUE = "/apis/kueue.x-k8s.io/v1beta2/namespaces/films/localqueues/gpus"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    monkeypatch.setattr(http, "PAUSES", (0.0,))
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    with fake_cluster() as server:
        ready = "/api/v1/namespaces/films"
        server.objects = {
            "/apis/argoproj.io/v1alpha1": {"resources": []},
            ready: {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
            f"{ready}/serviceaccounts/cxrfold": {"metadata": {}},
            f"{ready}/secrets/keys": {"data": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}},
            "/api/v1/nodes": {"items": [NODE, {**NODE, "spec": {}}]},
            f"{ready}/resourcequotas": {"items": []},
            f"{ready}/limitranges": {"items": []},
            "/films": {},
        }
        yield server


def profile_of(fake: FakeCluster, **changes: Any) -> Profile:
    store = StoreSettings(url="s3://films", endpoint=f"http://{fake.address}", secret="keys")
    return Profile(namespace="films", store=store).model_copy(update=changes)


def points(fake: FakeCluster, pulled: tuple[str, ...] = (), **changes: Any) -> dict[str, Point]:
    return {point.name: point for point in examine_all(fake, pulled, **changes)}


def examine_all(fake: FakeCluster, pulled: tuple[str, ...] = (), **changes: Any) -> list[Point]:
    profile = profile_of(fake, **changes)
    kubernetes = Kubernetes(Http(f"http://{fake.address}", "Kubernetes", "", requests.Session()))
    cluster = Cluster(KubernetesWorkflows(kubernetes), kubernetes, profile.namespace)
    return examine(cluster, profile, pulled, store=False)


def test_a_cluster_that_is_ready_is_all_good(fake: FakeCluster) -> None:
    found = points(fake)
    assert {point.state for point in found.values()} == {"good"}
    assert set(found) == {"argo", "rights", "service account", "bucket", "namespace", "secret", "gpus", "room"}


@pytest.mark.parametrize(
    ("missing", "point", "remedy"),
    [
        ("/api/v1/namespaces/films", "namespace", "--create-namespace"),
        ("/api/v1/namespaces/films/serviceaccounts/cxrfold", "service account", "helm install"),
        ("/api/v1/namespaces/films/secrets/keys", "secret", "kubectl -n films create secret generic keys"),
        ("/films", "bucket", "store.url"),
    ],
)
def test_what_is_missing_is_named_with_the_way_to_make_it(
    fake: FakeCluster, missing: str, point: str, remedy: str
) -> None:
    del fake.objects[missing]
    found = points(fake)[point]
    assert (found.state, remedy in found.remedy) == ("bad", True)


def test_a_secret_without_a_key_is_told_from_one_that_is_not_there(fake: FakeCluster) -> None:
    env = {"WANDB_API_KEY": Secret(name="keys", key="wandb")}
    assert points(fake, env=env)["secret"].says == "keys lacks wandb"
    assert points(fake, notify=Secret(name="hooks", key="addresses"))["secret"].says == "hooks does not exist"


@pytest.mark.parametrize(
    ("change", "point", "says"),
    [
        ({"gpu": Gpu(resource="amd.com/gpu")}, "gpus", "no node offers 1 amd.com/gpu"),
        ({"gpu_node_selector": {"accelerator": "h100"}}, "gpus", "gpu_node_selector or a taint"),
        ({"resources": {"prepare": Resources(memory="512Gi")}}, "room", "no node has 4 CPU and 512Gi for prepare"),
    ],
    ids=["no such gpu", "no such node", "too much memory"],
)
def test_what_no_node_has_now_is_open_as_nodes_may_come(
    fake: FakeCluster, change: dict[str, Any], point: str, says: str
) -> None:
    found = points(fake, **change)[point]
    assert (found.state, says in found.says) == ("unsure", True)


def labelled(name: str, release: str) -> dict[str, Any]:
    return {**NODE, "metadata": {"name": name, "labels": {"nvidia.com/cuda.driver-version.major": release}}}


@pytest.mark.parametrize(
    ("releases", "state", "says"),
    [
        (("580", "590"), "good", "release 580 or newer"),
        (("550", "580"), "unsure", "node0 has 550; CUDA 13 needs 580"),
        (("550", "535"), "unsure", "node0 has 550, node1 has 535; CUDA 13 needs 580"),
    ],
)
def test_the_driver_of_labelled_nodes_is_held_against_what_pytorch_needs(
    fake: FakeCluster, releases: tuple[str, ...], state: str, says: str
) -> None:
    nodes = [labelled(f"node{number}", release) for number, release in enumerate(releases)]
    fake.objects["/api/v1/nodes"] = {"items": nodes}
    found = points(fake)["driver"]
    assert (found.state, says in found.says) == (state, True)


def test_a_mig_slice_lies_behind_the_taint_of_whole_gpus(fake: FakeCluster) -> None:
    slices = {"cpu": "16", "memory": "128Gi", "nvidia.com/mig-3g.40gb": "2"}
    fake.objects["/api/v1/nodes"] = {"items": [{**NODE, "status": {"allocatable": slices}}]}
    assert points(fake, gpu=Gpu(resource="nvidia.com/mig-3g.40gb"))["gpus"].state == "good"


def test_a_host_path_in_a_restricted_namespace_is_found(fake: FakeCluster) -> None:
    volume = Volume(name="films", mount_path="/films", source={"hostPath": {"path": "/mnt"}})
    found = points(fake, volumes=(volume,))["namespace"]
    assert (found.state, "hostPath volume films" in found.says) == ("bad", True)


def test_a_bucket_that_is_out_of_reach_from_here_may_be_in_reach_of_pods(fake: FakeCluster) -> None:
    store = StoreSettings(endpoint="http://minio.minio.invalid:9000", secret="keys")
    assert points(fake, store=store)["bucket"].state == "unsure"


def test_a_person_may_submit_without_the_right_to_remove(fake: FakeCluster) -> None:
    fake.refused = {("delete", "workflows")}
    found = points(fake)["rights"]
    assert (found.state, found.says) == ("unsure", "you may submit, but not delete workflows")
    fake.refused = {("create", "workflows")}
    found = points(fake)["rights"]
    assert (found.state, found.says) == ("bad", "you may not create workflows")


@pytest.mark.slow
def test_a_queue_is_looked_for_in_the_version_that_kueue_has(fake: FakeCluster) -> None:
    assert points(fake, queue="gpus")["queue"].says == "Kueue is not installed"
    fake.objects |= KUEUE
    assert points(fake, queue="gpus")["queue"].says == "gpus does not exist"
    fake.objects[QUEUE] = {}
    assert points(fake, queue="gpus")["queue"].state == "good"


def test_an_image_is_looked_for_in_its_registry(fake: FakeCluster) -> None:
    there, gone = f"{fake.address}/team/cxrfold:v1", f"{fake.address}/team/cxrfold:v2"
    fake.objects["/v2/team/cxrfold/manifests/v1"] = {}
    assert points(fake, pulled=(there,))["image"].state == "good"
    assert points(fake, pulled=(gone,))["image"].says == f"{gone} is not in its registry"
    assert points(fake, pulled=("cxrfold:v1",))["image"].state == "unsure"
    fake.answers = [401] * 40
    assert points(fake, pulled=(there,))["image"].state == "unsure"


def test_worthless_credentials_are_one_point(fake: FakeCluster) -> None:
    fake.answers = [401] * 60
    found = [point for point in examine_all(fake) if point.name not in ("bucket", "image")]
    assert [(point.name, point.state) for point in found] == [("cluster", "bad")]
    assert "does not accept the credentials" in found[0].says


def test_a_pull_secret_is_created_in_its_own_way(fake: FakeCluster) -> None:
    images = Images(pull_secrets=("registry",))
    assert "create secret docker-registry registry --docker-server" in points(fake, images=images)["secret"].remedy
    fake.objects["/api/v1/namespaces/films/secrets/registry"] = {"type": "Opaque"}
    assert points(fake, images=images)["secret"].says == "registry is of type Opaque, and no pull secret"


def test_labels_that_no_node_has_are_not_a_lack_of_room(fake: FakeCluster) -> None:
    found = points(fake, node_selector={"disk": "ssd"})["room"]
    assert (found.state, found.says) == ("unsure", "no node has the labels of node_selector: disk=ssd")


@pytest.mark.parametrize(
    ("hard", "default", "cpu_limit", "state"),
    [
        ({"limits.cpu": "8"}, {}, None, "bad"),
        ({"limits.cpu": "8"}, {}, "4", "unsure"),
        ({"limits.memory": "8Gi"}, {}, None, "unsure"),
        ({"limits.cpu": "8"}, {"cpu": "1"}, None, "good"),
        ({"requests.cpu": "8"}, {}, None, "good"),
    ],
)
def test_a_quota_that_refuses_pods_without_limits_is_found_beforehand(
    fake: FakeCluster, hard: dict[str, str], default: dict[str, str], cpu_limit: str | None, state: str
) -> None:
    base = "/api/v1/namespaces/films"
    fake.objects[f"{base}/resourcequotas"] = {"items": [{"metadata": {"name": "all"}, "spec": {"hard": hard}}]}
    limits = [{"type": "Container", "default": default}]
    fake.objects[f"{base}/limitranges"] = {"items": [{"spec": {"limits": limits}}]}
    resources = {stage: Resources(cpu_limit=cpu_limit, cpu="1", memory="1Gi") for stage in Stage}
    assert points(fake, resources=resources)["quota"].state == state


def test_only_the_images_an_experiment_needs_are_asked_for() -> None:
    assert images_of(Profile(), "v1", load_experiment("yolo-01")) == ["cxrfold-small:v1", "cxrfold-detector:v1"]
    assert images_of(Profile(), "v1", load_experiment("study-01")) == ["cxrfold-small:v1", "cxrfold:v1"]
    assert len(images_of(Profile(), "v1")) == 3

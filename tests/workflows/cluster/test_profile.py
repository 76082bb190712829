import json

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.profile import Profile
from tests.workflows.fake_cluster import FakeCluster, fake_cluster
from workflows.commands._options import profile_of

CONFIG_MAP = "/api/v1/namespaces/films/configmaps/{}-profile"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    with fake_cluster() as fake:
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "namespace": "films"}}],
            "clusters": [{"name": "here", "cluster": {"server": f"http://{fake.address}"}}],
        }
        (tmp_path / "config").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        yield fake


def test_the_profile_cluster_is_the_one_that_the_chart_wrote(cluster: FakeCluster):
    cluster.objects[CONFIG_MAP.format("cxrfold")] = {"data": {"profile.yaml": "namespace: films\nmemory_cap: 32Gi\n"}}
    cluster.objects[CONFIG_MAP.format("other")] = {"data": {"profile.yaml": "namespace: elsewhere\n"}}
    assert profile_of("cluster") == Profile(namespace="films", memory_cap="32Gi")
    assert profile_of("cluster:other") == Profile(namespace="elsewhere")


def test_a_mistake_in_it_names_the_config_map_and_the_line(cluster: FakeCluster):
    cluster.objects[CONFIG_MAP.format("cxrfold")] = {"data": {"profile.yaml": "namespace: films\nmemory_cup: 32Gi\n"}}
    with pytest.raises(BadInput, match=r"ConfigMap films/cxrfold-profile:2: memory_cup: unknown key; did you mean mem"):
        profile_of("cluster")


def test_without_the_chart_it_says_what_to_do(cluster: FakeCluster):
    with pytest.raises(BadInput, match=r"no ConfigMap films/cxrfold-profile .* install it there"):
        profile_of("cluster")

import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from charts import profile_schema
from jobs.contract.profile import Profile
from tests.charts.conftest import CHART, Render, Values
from tests.charts.pod_security import violations

GOLDEN = Path(__file__).parent / "golden"
# What Kubernetes itself has no schema for.
CUSTOM = {"LocalQueue", "ClusterQueue", "ResourceFlavor", "PodMonitor", "PrometheusRule"}
EVERYTHING: Values = {
    "store": {"accessKeyId": "key", "secretAccessKey": "word", "endpoint": "http://s3.example:8333"},
    "images": {"tag": "v1"},
    "queue": {"enabled": True, "clusterQueue": "gpus"},
    "podMonitor": {"enabled": True},
    "dashboard": {"enabled": True},
    "rules": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "pushgateway": "http://push.example:9091",
}


def named(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [each for each in objects if each["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def profile_of(objects: list[dict[str, Any]]) -> Profile:
    texts = [each["data"]["profile.yaml"] for each in objects if "profile.yaml" in each.get("data", {})]
    assert len(texts) == 1
    return Profile.model_validate(yaml.safe_load(texts[0]))


def test_examples_render_as_before(example: tuple[str, Values], texts: Any) -> None:
    name, values = example
    files = texts(values)
    files.pop("dashboard.yaml", None)  # it is the file dashboards/cxrfold.json, word for word
    now = "".join(f"#### {file}\n{text.strip()}\n" for file, text in files.items())
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("CXRFOLD_REGENERATE"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(now)
    assert now == golden.read_text(), "if this is intended, run: make golden"


@pytest.mark.parametrize("version", ["1.29", "1.36"])
def test_objects_are_valid_kubernetes(example: tuple[str, Values], version: str, render: Render) -> None:
    for each in render(example[1]):
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_everything_at_once_is_valid_kubernetes(render: Render) -> None:
    objects = render(EVERYTHING)
    assert CUSTOM - {"ClusterQueue", "ResourceFlavor"} < {each["kind"] for each in objects}
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, "1.36", strict=True)


@pytest.mark.parametrize(
    "values",
    [
        {"stroe": {}},
        {"store": {"bucket": "films"}},
        {"store": {"url": "films"}},
        {"store": {"endpoint": "minio:9000"}},
        {"images": {"registry": "https://registry.example"}},
        {"profile": {"tolerration": []}},
        {"profile": {"namespace": "elsewhere"}},
        {"profile": {"retry": {"limit": -1}}},
        {"networkPolicy": {"apiPorts": ["https"]}},
        {"rules": {"stalledAfter": 0}},
    ],
    ids=lambda values: json.dumps(values),
)
def test_schema_refuses(values: Values, chart: Any) -> None:
    from helm_python import HelmValuesError

    with pytest.raises(HelmValuesError, match=next(iter(values))):
        chart.validate_schema(values)


def test_every_object_of_the_schema_is_closed() -> None:
    def walk(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            if "properties" in schema and schema.get("type") == "object":
                assert schema.get("additionalProperties") is False, path
            for key, value in schema.items():
                walk(value, f"{path}/{key}")

    walk(json.loads((CHART / "values.schema.json").read_text()), "")


def test_schema_knows_every_value_and_the_profile_as_it_is_now() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema == profile_schema.with_profile(schema), "run: make golden"
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}
    for name, section in values.items():
        if isinstance(section, dict) and name != "profile":
            assert section.keys() == schema["properties"][name]["properties"].keys(), name


def test_written_profile_is_one_and_says_what_the_values_say(example: tuple[str, Values], render: Render) -> None:
    _, values = example
    objects = render(values)
    profile = profile_of(objects)
    assert profile.namespace == "films"
    assert profile.service_account == named(objects, "ServiceAccount")["metadata"]["name"]
    assert profile.store.url == values["store"]["url"]
    assert profile.store.secret == values["store"].get("existingSecret")
    assert profile.images.base.startswith(values["images"]["registry"])
    assert profile.pushgateway == values.get("pushgateway")
    for field, value in values.get("profile", {}).items():
        expected = Profile.model_validate({field: value})
        assert getattr(profile, field) == getattr(expected, field), field


def test_profile_keeps_the_revision_open_until_the_images_have_a_tag(render: Render) -> None:
    assert profile_of(render({})).images.detector == "cxrfold-detector:{revision}"
    tagged = render({"images": {"registry": "localhost:5000/", "tag": "v1"}})
    assert profile_of(tagged).images.detector == "localhost:5000/cxrfold-detector:v1"


def test_queue_reaches_the_profile(render: Render) -> None:
    objects = render({"queue": {"enabled": True, "clusterQueue": "gpus", "name": "mine"}})
    assert named(objects, "LocalQueue")["metadata"]["name"] == profile_of(objects).queue == "mine"


def test_service_account_may_write_task_results_and_nothing_else(render: Render) -> None:
    objects = render(EVERYTHING)
    role = named(objects, "Role")
    assert role["rules"] == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]
    assert not [each for each in objects if each["kind"].startswith("ClusterRole")]
    binding = named(objects, "RoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == ["cxrfold"]


def test_pods_pass_the_restricted_standard(render: Render) -> None:
    pod = named(render(EVERYTHING), "Pod")
    assert violations(pod["spec"]) == []
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_the_check_of_the_standard_sees_what_is_missing() -> None:
    assert "main: runAsNonRoot" in violations({"containers": [{"name": "main"}]})
    assert "volume films" in violations({"volumes": [{"name": "films", "hostPath": {}}], "containers": []})


def test_keys_lie_in_a_secret_only(render: Render) -> None:
    objects = render(EVERYTHING)
    secret = named(objects, "Secret")
    assert secret["stringData"] == {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word"}
    assert profile_of(objects).store.secret == secret["metadata"]["name"]
    assert "word" not in json.dumps([each for each in objects if each["kind"] != "Secret"])


def test_no_secret_where_one_is_there_or_none_is_needed(render: Render) -> None:
    for store in ({"existingSecret": "mine"}, {}):
        assert "Secret" not in {each["kind"] for each in render({"store": store})}


def test_half_a_key_is_refused(chart: Any) -> None:
    from helm_python import HelmRenderError

    with pytest.raises(HelmRenderError, match="secretAccessKey belongs to"):
        chart.render(values={"store": {"accessKeyId": "key"}}, name="cxrfold", namespace="films")


def test_network_policy_opens_the_ports_of_the_addresses(render: Render) -> None:
    policy = named(render(EVERYTHING), "NetworkPolicy")["spec"]
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 8333, 443, 6443, 9091]
    assert "ingress" not in policy
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_network_policy_limits_where_the_store_and_the_pushgateway_may_be(render: Render) -> None:
    inside = {"store": {"endpoint": "http://minio.storage.svc:9000"}, "networkPolicy": {"enabled": True}}
    given = {"networkPolicy": {"enabled": True, "to": {"store": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}}}
    rules = [named(render(values), "NetworkPolicy")["spec"]["egress"] for values in (EVERYTHING, inside, given)]
    anywhere, namespaced, blocked = (rule[1]["to"] for rule in rules)
    assert {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}} in anywhere
    assert namespaced == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}]
    assert blocked == [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert rules[0][-1]["to"] == anywhere


def test_only_the_exit_handler_reaches_the_receivers(render: Render) -> None:
    values = {"networkPolicy": {"enabled": True}, "profile": {"notify": {"name": "hooks", "key": "addresses"}}}
    policies = [each["spec"] for each in render(values) if each["kind"] == "NetworkPolicy"]
    (notify,) = [spec for spec in policies if spec["podSelector"].get("matchLabels") == {"cxrfold/stage": "notify"}]
    assert [port["port"] for port in notify["egress"][0]["ports"]] == [443, 465, 587]
    assert len(policies) == 2


def test_submitters_may_submit_and_read_no_secret(render: Render) -> None:
    ana = {"kind": "User", "name": "ana", "apiGroup": "rbac.authorization.k8s.io"}
    objects = render({"submitters": {"create": True, "subjects": [ana]}})
    role = next(one for one in objects if one["kind"] == "Role" and one["metadata"]["name"].endswith("-submitter"))
    allowed = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert {("workflows", "create"), ("workflows", "patch"), ("pods/log", "get"), ("configmaps", "get")} <= allowed
    assert not any(resource in ("secrets", "nodes") for resource, _ in allowed)
    binding = next(one for one in objects if one["kind"] == "RoleBinding" and "submitter" in one["metadata"]["name"])
    assert binding["subjects"] == [ana]
    assert not any("submitter" in one["metadata"]["name"] for one in render(EVERYTHING))


def test_notes_name_the_next_commands(texts: Any) -> None:
    notes = texts({"images": {"tag": "v1"}, "store": {"existingSecret": "keys"}})["NOTES.txt"]
    for command in (
        "helm -n films test cxrfold",
        "kubectl -n films create secret generic keys",
        "kubectl config set-context --current --namespace=films",
        "cv.py submit -e demo --profile cluster --watch",
    ):
        assert command in notes


@pytest.mark.usefixtures("chart")
def test_chart_passes_helms_own_lint() -> None:
    from helm_python import lint

    found = lint(CHART, strict=True)
    assert found["total_charts_linted"] == 1
    assert [each["error"] for each in found["messages"]] == ["icon is recommended"]

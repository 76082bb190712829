"""A namespace that enforces the restricted standard, images, bucket and chart: set up once, as the README says."""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.runtime.store import Store
from tests.cluster.kit import ROOT, Place, call, kubectl

NEEDED = ("KUBECONFIG", "CLUSTER_REGISTRY", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
CODE = ("jobs", "images")
SUBMITTER = "ana"  # a service account with nothing but the chart's role for people who submit


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """Skip what cannot run here, and say why."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no cluster: {', '.join(missing)} not set; see tests/cluster/README.md")
    for tool in ("kubectl", "helm", "argo"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} in PATH")


@pytest.fixture(scope="session")
def revision() -> str:
    """The images under test, built from this checkout and pushed; their tag is a hash of their content."""
    files = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*") if path.is_file())
    content = hashlib.sha256()
    for path in files:
        if path.suffix != ".pyc":
            content.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    tag = f"test-{content.hexdigest()[:12]}"
    build = ["--registry", os.environ["CLUSTER_REGISTRY"], "--tag", tag]
    build += ["--with", with_command] if (with_command := os.environ.get("CXRFOLD_BUILD")) else ["--push"]
    done = subprocess.run(["python3", "images/build.py", *build], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return tag


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """A namespace of this session's own."""
    name = f"cxrfold-test-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    if not os.environ.get("CXRFOLD_KEEP"):
        kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def bucket(namespace: str) -> Iterator[Store]:
    """A bucket of this session's own."""
    store = Store.open(f"s3://{namespace}", endpoint=os.environ["AWS_ENDPOINT_URL_S3"], addressing="path")
    store.create_bucket()
    yield store
    if not os.environ.get("CXRFOLD_KEEP"):
        store.delete_prefix("")
        store.client.delete_bucket(Bucket=store.bucket)


@pytest.fixture(scope="session")
def place(namespace: str, bucket: Store, revision: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The chart installed, and the profile that it wrote."""
    folder = tmp_path_factory.mktemp("cluster")
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(_values(bucket, namespace)))
    values.chmod(0o600)
    call("helm", "install", "cxrfold", str(ROOT / "charts" / "cxrfold"), "-n", namespace, "-f", str(values), "--wait")
    profile = folder / "profile.yaml"
    written = ("get", "configmap", "cxrfold-profile", "-n", namespace, "-o", "jsonpath={.data.profile\\.yaml}")
    profile.write_text(kubectl(*written))
    return Place(profile, namespace, bucket, revision, _submitter(namespace, folder), {"CXRFOLD_STORE": bucket.url})


def _submitter(namespace: str, folder: Path) -> Path:
    """The kubeconfig of somebody who may submit and no more."""
    kubectl("create", "serviceaccount", SUBMITTER, "-n", namespace)
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    token = kubectl("create", "token", SUBMITTER, "-n", namespace, "--duration=3h").strip()
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["context"]["namespace"] = namespace
    path = folder / "submitter.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


def _values(bucket: Store, namespace: str) -> dict[str, Any]:
    """The kit's profile, with this session's store. It requests no GPU, so that many runs execute at once."""
    values: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("kit.yaml").read_text())
    values["store"] = {
        "url": bucket.url, "endpoint": os.environ["AWS_ENDPOINT_URL_S3"], "addressing": "path",
        "accessKeyId": os.environ["AWS_ACCESS_KEY_ID"], "secretAccessKey": os.environ["AWS_SECRET_ACCESS_KEY"],
    }  # fmt: skip
    values["images"] = {"registry": os.environ["CLUSTER_REGISTRY"]}
    values["pushgateway"] = os.environ.get("CLUSTER_PUSHGATEWAY", "")
    subject = {"kind": "ServiceAccount", "name": SUBMITTER, "namespace": namespace}
    values["submitters"] = {"create": True, "subjects": [subject]}
    values["profile"] |= {"gpu": {"count": 0, "allow_cpu": True}, "env": {"CXRFOLD_CHECKPOINT_SECONDS": "2"}}
    return values


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For profiles."""
    return tmp_path_factory.mktemp("profiles")

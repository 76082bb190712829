"""Check services outside the cluster from this machine: registries, the store, the Pushgateway."""

import os
from collections.abc import Iterator, Sequence
from typing import Final

import requests

from jobs.contract import environment
from jobs.contract.exits import ServiceAway, StageError
from jobs.contract.profile import Profile
from workflows.cluster.client import Cluster
from workflows.cluster.http import Forbidden, Http, NotThere, Unauthorized, new_session
from workflows.commands.doctor.point import Point
from workflows.store.opening import open_store

BUCKET_SECONDS: Final = 2.0  # short, because a person waits


def images(images: Sequence[str], cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Look up images in their registries. Unsure if a registry requires a login or cannot be reached from here."""
    for image in images:
        name, _, tag = image.rpartition(":")
        registry, _, path = name.partition("/")
        if not path or not ("." in registry or ":" in registry):
            yield Point(
                "image",
                "unsure",
                f"{image} names no registry, so only the nodes can check it",
                "write registry/name:tag",
            )
            continue
        scheme = "http" if registry.startswith(("localhost", "127.")) else "https"
        server = Http(f"{scheme}://{registry}", f"The registry {registry}", "", new_session(f"{scheme}://{registry}"))
        server.session.headers["Accept"] = (
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        )
        try:
            server.get(f"/v2/{path}/manifests/{tag}")
            yield Point("image", "good", image)
        except (Unauthorized, Forbidden):
            yield Point("image", "unsure", f"{image}: the registry requires a login, so only the nodes can check it")
        except NotThere:
            remedy = "push it with make images, or name another under images in the profile"
            yield Point("image", "bad", f"{image} is not in its registry", remedy)
        except ServiceAway as error:
            yield Point("image", "unsure", f"{image}: {error}")


def bucket(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that the bucket exists, with the environment's keys if set: S3 reports a missing bucket to anybody."""
    settings = profile.store
    name = settings.url.removeprefix("s3://").split("/")[0]
    server = os.environ.get(environment.ENDPOINT) or settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    try:
        status = _head(f"{server.rstrip('/')}/{name}", settings.region)
    except requests.RequestException:
        yield Point("bucket", "unsure", f"{server} cannot be reached from here; pods may reach it")
        return
    if status == 404:
        remedy = "create it, or correct store.url in the profile"
        yield Point("bucket", "bad", f"{server} has no bucket {name}", remedy)
    else:
        yield Point("bucket", "good", f"{server} has bucket {name}")


def _head(url: str, region: str) -> int:
    """Return the status of a HEAD request, without boto3, whose import takes ten times as long."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("HEAD", url)
    keys = [os.environ.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
    if keys[0] and keys[1]:
        S3SigV4Auth(Credentials(*keys), "s3", region).add_auth(request)
    return new_session(url).head(url, headers=dict(request.headers), timeout=BUCKET_SECONDS).status_code


def store(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check every operation that a run needs of the store, with this machine's keys."""
    from jobs.runtime.store_check import check

    store = open_store(profile.store)
    lines = list(check(store))
    yield Point("store", "good", f"{store.url}: write, read, list and delete work")
    if any("not honoured" in line for line in lines):
        says = "the server ignores If-None-Match: two pods that finish the same work may overwrite each other's record"
        yield Point(
            "store", "unsure", says, "harmless, because objects are named by their content; a newer server supports it"
        )


def pushgateway(cluster: Cluster, profile: Profile) -> Iterator[Point]:
    """Check that the Pushgateway of the profile answers."""
    if not profile.pushgateway:
        return
    address = profile.pushgateway if "://" in profile.pushgateway else f"http://{profile.pushgateway}"
    remedy = "Its address may be reachable only from pods; runs do not need it."
    server = Http(address.rstrip("/"), "The Pushgateway", remedy, new_session(address))
    try:
        server.get("/api/v1/status")
        yield Point("pushgateway", "good", address)
    except StageError as error:
        yield Point("pushgateway", "unsure", str(error))

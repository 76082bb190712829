"""boto3's client of a store: its settings, and the server's clock, read from each answer."""

import os
import time
from functools import cache, partial
from typing import Any, Final

import boto3
import botocore.session
from botocore import exceptions as aws
from botocore.config import Config
from botocore.loaders import Loader, create_loader

from jobs.contract import environment
from jobs.contract.clock import ServerClock
from jobs.contract.exits import BadInput
from jobs.contract.profile import check_endpoint
from jobs.runtime.s3.retries import READ_TIMEOUT, Retries

CONNECT_TIMEOUT: Final = 5.0


def open_client(
    url: str, endpoint: str | None, region: str | None, addressing: str, retries: Retries, clock: ServerClock
) -> Any:
    """Return a client with the credentials that boto3 finds. Nothing is sent yet.

    Args:
        url: the store's, for messages.
        endpoint: the server; None for AWS.
        region: the environment's if not given.
        addressing: ``auto``, ``path`` or ``virtual``.
        retries: what sends and repeats the client's requests.
        clock: what reads the server's time.

    Raises:
        BadInput: a setting is not valid.
    """
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        config = Config(
            retries={"mode": "legacy"},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=32,
            s3={"addressing_style": addressing},
            # Servers other than AWS refuse or ignore the checksums that boto3 adds by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        server = check_endpoint(endpoint or "") or None
        client = _session().client("s3", endpoint_url=server, region_name=region, config=config)
    except (ValueError, aws.BotoCoreError) as error:
        text = str(error).rstrip(".")
        raise BadInput(
            f"The store {url} at {endpoint or 'AWS S3'}, region {region}, cannot be opened: {text}. Check the "
            f"profile's store, {environment.ENDPOINT}, {environment.ADDRESSING}, AWS_REGION, AWS_PROFILE and "
            "AWS's configuration file."
        ) from error
    retries.attach(client)
    client.meta.events.register("after-call.s3", partial(_read_clock, clock))
    return client


def _session() -> boto3.session.Session:
    """Return a session of its own configuration and credentials, but with the process's descriptions of services."""
    core = botocore.session.get_session()
    core.register_component("data_loader", _descriptions(core.get_config_variable("data_path")))
    return boto3.session.Session(botocore_session=core)


@cache
def _descriptions(data_path: str | None) -> Loader:
    """Return botocore's descriptions of AWS's services. To parse them takes four fifths of the time of a client."""
    return create_loader(data_path)


def _read_clock(clock: ServerClock, parsed: dict[str, Any], **_: Any) -> None:
    """Read the server's time from an answer. When its request was sent is not known: some seconds before."""
    now = time.time()
    clock.read(parsed["ResponseMetadata"]["HTTPHeaders"].get("date"), now - 10, now)

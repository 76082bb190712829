"""A run's store, as it is reached from where a person sits."""

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobs.contract import environment
from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.profile import StoreSettings

if TYPE_CHECKING:
    from jobs.runtime.store import Store

CONNECT_SECONDS = 2.0


def open_store(settings: StoreSettings | None) -> "Store":
    """The store of a profile, else the environment's. An endpoint in the environment goes before the one of the pods.

    Raises:
        BadInput: where neither names a store.
        ServiceAway: where its server does not answer; asked once, as a person waits.
    """
    from jobs.runtime.store import Store  # boto3 takes a while to import

    url = settings.url if settings else os.environ.get(environment.STORE)
    if not url:
        raise BadInput(f"No store is known for this run: give --profile, or set {environment.STORE}.")
    endpoint = os.environ.get(environment.ENDPOINT) or (settings.endpoint if settings else None)
    if endpoint:
        _knock(endpoint)
    addressing = settings.addressing if settings else os.environ.get(environment.ADDRESSING, "auto")
    return Store.open(url, endpoint=endpoint, region=settings.region if settings else None, addressing=addressing)


def _knock(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ServiceAway(
            f"The S3 server {endpoint} is not reached from here ({error}). If it has another address outside the "
            f"cluster, set {environment.ENDPOINT} to that."
        ) from error

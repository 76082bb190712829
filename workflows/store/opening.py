"""Which store a command works with: the profile's, else the environment's, else this machine's embedded server."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from jobs.contract import environment
from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.profile import StoreSettings
from workflows.store.embedded import BUCKET, default_folder, embedded_s3

if TYPE_CHECKING:
    from jobs.runtime.store import Store

CONNECT_SECONDS: Final = 2.0
# The variables that say where the store is. Keys are inherited like any other variable.
NAMED_BY: Final = (environment.STORE, environment.ENDPOINT, environment.ADDRESSING, "AWS_REGION")


def open_store(settings: StoreSettings | None = None) -> "Store":
    """Open a profile's store, or the environment's where no settings are given.

    An endpoint in the environment takes precedence over the profile's, which may be an address that only pods reach.

    Raises:
        BadInput: neither names a store.
        ServiceAway: its server does not answer; it is asked once, because a person waits.
    """
    from jobs.runtime.store import Store  # boto3 takes a while to import

    url = settings.url if settings else os.environ.get(environment.STORE)
    if not url:
        raise BadInput(f"No store is known for this run: give --profile, or set {environment.STORE}.")
    endpoint = os.environ.get(environment.ENDPOINT) or (settings.endpoint if settings else None)
    if endpoint:
        _check_reachable(endpoint)
    addressing = settings.addressing if settings else os.environ.get(environment.ADDRESSING, "auto")
    return Store.open(url, endpoint=endpoint, region=settings.region if settings else None, addressing=addressing)


@dataclass(frozen=True)
class LocalStore:
    """The store of the commands on this machine."""

    environment: Mapping[str, str | None]  # for processes; None: a variable that must not be set
    embedded: bool


@contextmanager
def local_store() -> Iterator[LocalStore]:
    """The configured store, else the embedded server's while the context lasts.

    This process' own environment is set accordingly, so that :func:`open_store` opens it.
    """
    if os.environ.get(environment.STORE) or os.environ.get(environment.ENDPOINT):
        os.environ.setdefault(environment.STORE, f"s3://{BUCKET}")
        yield LocalStore({name: os.environ.get(name) for name in NAMED_BY}, embedded=False)
        return
    with embedded_s3(default_folder()) as server:
        variables = server.environment()
        before = dict(os.environ)
        os.environ.update(variables)
        try:
            yield LocalStore(variables, embedded=True)
        finally:
            for variable in variables:
                os.environ.pop(variable)
            os.environ.update(before)


def _check_reachable(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ServiceAway(
            f"The S3 server {endpoint} is not reached from here ({error}). If it has another address outside the "
            f"cluster, set {environment.ENDPOINT} to that."
        ) from error

"""Open the store of a command: the profile's, else the environment's, else the embedded server's."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from jobs.contract import environment
from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.profile import StoreSettings, check_endpoint
from workflows.store.embedded import (
    BUCKET,
    Server,
    as_store,
    default_folder,
    embedded_s3,
    ensure_running,
    find_embedded,
)

if TYPE_CHECKING:
    from jobs.runtime.store import Store

CONNECT_SECONDS: Final = 2.0
# The variables that locate the store. Keys are inherited like any other variable.
STORE_VARIABLES: Final = (environment.STORE, environment.ENDPOINT, environment.ADDRESSING, "AWS_REGION")
# Libraries cache compiled code and fonts there. A pod loses these caches; a process on this machine keeps them.
LIBRARY_CACHES: Final = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}


def open_store(settings: StoreSettings | None = None) -> "Store":
    """Open a profile's store, or the environment's for None.

    An endpoint in the environment takes precedence over the profile's, which may be reachable for pods only.

    Raises:
        BadInput: neither names a store.
        ServiceAway: its server does not answer. There is one attempt, because a person is waiting.
    """
    from jobs.runtime.store import Store  # boto3 is slow to import

    url = settings.url if settings else os.environ.get(environment.STORE)
    if not url:
        raise BadInput(f"No store is configured for this run: give --profile, or set {environment.STORE}.")
    endpoint = os.environ.get(environment.ENDPOINT) or (settings.endpoint if settings else None)
    if endpoint:
        _check_reachable(endpoint)
    addressing = settings.addressing if settings else os.environ.get(environment.ADDRESSING, "auto")
    return Store.open(url, endpoint=endpoint, region=settings.region if settings else None, addressing=addressing)


def store_variables(settings: StoreSettings | None = None) -> dict[str, str]:
    """Return the variables that make a process open the store of :func:`open_store`; for None the environment's."""
    if settings is None:
        return {name: os.environ[name] for name in STORE_VARIABLES if name in os.environ}
    endpoint = os.environ.get(environment.ENDPOINT) or settings.endpoint
    given = {environment.ENDPOINT: endpoint, "AWS_REGION": settings.region}
    known = {name: value for name, value in given.items() if value}
    return {environment.STORE: settings.url, environment.ADDRESSING: settings.addressing, **known}


def cache_variables() -> dict[str, str]:
    """Return the variables that let processes on this machine share downloads and their libraries' caches."""
    cache = default_folder().parent
    caches = {variable: str(cache / folder) for variable, folder in LIBRARY_CACHES.items()}
    for folder in caches.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    return {**caches, environment.CACHE: str(cache / "packs")}


@dataclass(frozen=True)
class LocalStore:
    """The store that commands on this machine use.

    Attributes:
        environment: variables for processes; None means the variable must not be set.
        embedded: whether it is the embedded server's.
        ensure_running: starts the embedded server again if it was killed; does nothing for other stores.
    """

    environment: Mapping[str, str | None]
    embedded: bool
    ensure_running: Callable[[], None] = lambda: None


@contextmanager
def local_store() -> Iterator[LocalStore]:
    """Use the configured store, or run the embedded server inside the context if there is none.

    Sets this process' environment, so that :func:`open_store` opens that store.
    """
    if os.environ.get(environment.STORE) or os.environ.get(environment.ENDPOINT):
        os.environ.setdefault(environment.STORE, f"s3://{BUCKET}")
        # Inside a study, or a command that the embedded server runs, the configured store is the embedded one.
        variables = {name: os.environ.get(name) for name in STORE_VARIABLES}
        server = find_embedded(os.environ.get(environment.ENDPOINT))
        yield _embedded(variables, server) if server else LocalStore(variables, embedded=False)
        return
    with embedded_s3(default_folder()) as server, as_store(server):
        yield _embedded(server.environment(), server)


def _embedded(variables: Mapping[str, str | None], server: Server) -> LocalStore:
    return LocalStore(variables, embedded=True, ensure_running=partial(ensure_running, default_folder(), server))


def _check_reachable(endpoint: str) -> None:
    try:
        parts = urlsplit(check_endpoint(endpoint))
    except ValueError as error:
        raise BadInput(f"{environment.ENDPOINT}={endpoint}: {error}") from error
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ServiceAway(
            f"The S3 server {endpoint} cannot be reached from here ({error}). If it has another address outside the "
            f"cluster, set {environment.ENDPOINT} to it."
        ) from error

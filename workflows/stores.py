"""The store a command on this machine works with: the configured one, else the embedded server's."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.contract import environment
from workflows.s3_server import BUCKET, default_folder, embedded_s3

if TYPE_CHECKING:
    from jobs.runtime.store import Store


# All that says where the store is. Keys are inherited like any other variable.
NAMED_BY = (environment.STORE, environment.ENDPOINT, environment.ADDRESSING, "AWS_REGION")


@dataclass(frozen=True)
class LocalStore:
    """The store of the commands on this machine."""

    environment: Mapping[str, str | None]  # for processes; None: a variable that must not be there
    embedded: bool


@contextmanager
def local_store() -> Iterator[LocalStore]:
    """The configured store, else the embedded server's while the context lasts.

    This process' own environment is set accordingly, so that ``Store.from_environment`` opens it.
    """
    if os.environ.get(environment.STORE) or os.environ.get(environment.ENDPOINT):
        os.environ.setdefault(environment.STORE, f"s3://{BUCKET}")
        yield LocalStore({name: os.environ.get(name) for name in NAMED_BY}, embedded=False)
        return
    with embedded_s3(default_folder()) as server:
        told = server.environment()
        before = dict(os.environ)
        os.environ.update(told)
        try:
            yield LocalStore(told, embedded=True)
        finally:
            for variable in told:
                os.environ.pop(variable)
            os.environ.update(before)


def open_store() -> "Store":
    """The store that the environment names."""
    from jobs.runtime.store import Store  # boto3 takes a while to import

    return Store.from_environment()

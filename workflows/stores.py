"""The store a command on this machine works with: the configured one, else the embedded server's."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs.contract import environment
from workflows.s3_server import BUCKET, default_folder, embedded_s3

if TYPE_CHECKING:
    from jobs.runtime.store import Store


@contextmanager
def local_store() -> Iterator[Mapping[str, str]]:
    """The environment of a store: empty where one is configured, else of the embedded server while the context lasts.

    This process' own environment is set accordingly, so that ``Store.from_environment`` opens it.
    """
    if os.environ.get(environment.STORE):
        yield {}
        return
    if os.environ.get(environment.ENDPOINT):
        os.environ[environment.STORE] = f"s3://{BUCKET}"
        yield {}
        return
    with embedded_s3(default_folder()) as server:
        told = server.environment()
        before = dict(os.environ)
        os.environ.update(told)
        try:
            yield told
        finally:
            for variable in told:
                os.environ.pop(variable)
            os.environ.update(before)


def open_store() -> "Store":
    """The store that the environment names."""
    from jobs.runtime.store import Store  # boto3 takes a while to import

    return Store.from_environment()

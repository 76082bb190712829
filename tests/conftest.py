"""What several rooms' tests stand on."""

import os
import secrets
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from jobs.contract import environment
from jobs.runtime.libraries import loading
from jobs.runtime.store import Store
from workflows.store.embedded import Server, embedded_s3


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Load what the tests import out of the garbage collector's sight: a full collection takes half a second."""
    with loading():
        return (yield)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real S3 server on loopback, one for the whole session."""
    with embedded_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_environment(s3_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a process that uses a store of its own: set here, and returned for child processes."""
    given = s3_server.environment()
    given[environment.STORE] += f"/test-{secrets.token_hex(4)}"
    given[environment.SCRATCH] = str(tmp_path / "scratch")
    given[environment.CACHE] = str(tmp_path / "cache")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **given}


@pytest.fixture
def s3_store(s3_environment: dict[str, str]) -> Store:
    """An empty store of a test's own."""
    return Store.from_environment()

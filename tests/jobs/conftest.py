"""A store in which trainings are done, one for the tests of a file."""

from collections.abc import Iterator

import pytest

from tests.jobs.ensemble.world import World, made_up_world
from workflows.store.embedded import Server


@pytest.fixture(scope="module")
def trained(s3_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A run whose trainings are done."""
    with made_up_world(s3_server, tmp_path_factory.mktemp("trained")) as world:
        yield world

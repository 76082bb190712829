"""The demo as a spec, for tests of workflows and of runs."""

import pytest

from jobs.contract.profile import Profile
from workflows.manifest.spec import RunSpec
from workflows.settings.files import load_experiment


@pytest.fixture(scope="module")
def demo() -> RunSpec:
    """The demo under the name demo-1."""
    return RunSpec.of(load_experiment("demo"), Profile(), revision="v1", run="demo-1")

"""What ``cv.py run`` prints at its end."""

import io

import pytest
from rich.console import Console

from jobs.contract.exits import Exit
from jobs.contract.experiment import Experiment
from jobs.contract.profile import Profile
from workflows.local.engine import Result
from workflows.local.summary import say_end
from workflows.manifest.spec import RunSpec, TestSet


def said(source: str, test_set: TestSet | None = None) -> str:
    """The end of a run that had films of a source."""
    experiment = Experiment.model_validate({"name": "x", "classifiers": {"b": {}}, "data": {"source": source}})
    spec = RunSpec.of(experiment, Profile(), revision="v1", run="mine", test_set=test_set)
    console = Console(file=io.StringIO(), width=500)
    say_end(console, spec, Result((), Exit.DONE, 61.0), [], embedded=False)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("source", "command"), [("phantom:patients=8", "run -e NAME --data DIR"), ("/films", "predict FILM… --from mine")]
)
def test_the_next_command_fits_the_films(source: str, command: str) -> None:
    assert command in said(source)


def test_after_a_prediction_there_is_no_next_command() -> None:
    end = said("/films", TestSet(source="/films/test", from_run="mine"))
    assert "1m01s" in end
    assert "next" not in end

"""The command itself, on runs that are in a store."""

import json
from pathlib import Path

import pytest

from jobs.contract.exits import BadInput, Exit
from jobs.contract.profile import Profile
from tests.workflows.study.stored import store_run
from workflows.cv import app
from workflows.local import execute
from workflows.local.machine import Machine
from workflows.manifest.spec import RunSpec
from workflows.study.execution import orders, run_all
from workflows.study.selection import Changes, select


def study(*options: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["study", *options])
    return int(ended.value.code or 0)


def test_runs_that_are_there_are_collected_and_those_that_are_not_have_a_row(s3_store, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CXRFOLD_PROFILE", raising=False)
    for one in select("study-03", Changes()):
        store_run(s3_store, one, [0.6, 0.61])
    out = tmp_path / "log"
    assert study("-e", "study-03,study-05", "--collect-only", "--out", str(out), "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["experiment"], row["fold"], row["score"]) for row in rows] == [
        ("study-03", 2, 0.61), *(("study-05", fold, None) for fold in (0, 1, 3, 4)),
    ]  # fmt: skip
    assert {file.name for file in out.iterdir()} == {"study.md", "study.csv", "study.html"}


def test_sending_and_collecting_at_once_is_refused():
    with pytest.raises(BadInput, match="first send"):
        app(["study", "-e", "demo", "--submit", "--collect-only"], standalone_mode=False)


def test_a_folder_of_films_is_refused_before_anything_is_sent(tmp_path: Path):
    with pytest.raises(BadInput, match="give the address"):
        orders(select("demo", Changes(data=str(tmp_path))), Profile())


def test_an_experiment_that_fails_keeps_none_of_the_others_from_running_and_a_stop_does(monkeypatch):
    from rich.console import Console

    ends = {"study-01": Exit.BUG, "study-02": Exit.BAD_INPUT, "study-03": Exit.DONE, "study-04": Exit.CHECKPOINTED}

    def end(spec: RunSpec, *_):
        if ends[spec.experiment.name] is Exit.BAD_INPUT:
            raise BadInput("it is running already")
        return ends[spec.experiment.name]

    monkeypatch.setattr(execute, "execute", end)
    studied = select("study-01,study-02,study-03,study-04,study-05", Changes())
    ended = run_all(studied, Profile(), Machine(1, (), 1), Console(quiet=True))
    assert [ended.get(one.run) for one in studied] == [*ends.values(), None]

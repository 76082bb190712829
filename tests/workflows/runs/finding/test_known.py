"""Names of runs for completion in the shell."""

import time

from jobs.contract.stored import layout
from workflows.commands._options import run_names, run_pairs
from workflows.runs.finding import known


def test_names_come_from_folder_store_and_cluster(fake, s3_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo-1").mkdir(parents=True)
    s3_store.put(layout.run_experiment("demo-2"), b"{}")
    labels = {"cxrfold/run": "demo-3"}
    fake.workflows["w"] = {"metadata": {"name": "w", "labels": labels}, "spec": {}}
    assert known.known_runs() == ["demo-1", "demo-2", "demo-3"]
    assert run_names("demo-2") == ["demo-2"]
    assert run_pairs("demo-1,demo-") == ["demo-1,demo-1", "demo-1,demo-2", "demo-1,demo-3"]


def test_what_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    def late():
        time.sleep(3)
        return {"late"}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(known, "SECONDS", 0.1)
    monkeypatch.setattr(known, "_in_store", late)
    monkeypatch.setattr(known, "_on_cluster", set)
    began = time.monotonic()
    assert known.known_runs() == []
    assert time.monotonic() - began < 2

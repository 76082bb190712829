"""``cv.py deploy``: into a cluster, or as plain files."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from jobs.contract.exits import BadInput
from tests.workflows.fake_cluster import fake_cluster
from workflows import cv


def test_files_for_gitops_need_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    options = ["-e", "demo", "--name", "nightly", "--cron", "@daily", "--to", str(tmp_path / "files")]
    assert CliRunner().invoke(cv.app, ["deploy", *options]).exit_code == 0
    found = {file.name: yaml.safe_load(file.read_text()) for file in (tmp_path / "files").iterdir()}
    assert {name: one["kind"] for name, one in found.items()} == {
        "nightly-workflowtemplate.yaml": "WorkflowTemplate", "nightly-cronworkflow.yaml": "CronWorkflow",
    }  # fmt: skip


def test_a_cluster_gets_both_and_the_command_says_how_to_start_and_remove_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_cluster() as fake:
        monkeypatch.setenv("ARGO_SERVER", fake.address)
        monkeypatch.setenv("ARGO_SECURE", "false")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
        shown = CliRunner().invoke(cv.app, ["deploy", "-e", "demo", "--cron", "0 3 * * 1"])
    assert shown.exit_code == 0, shown.output
    assert set(fake.lasting) == {("WorkflowTemplate", "demo"), ("CronWorkflow", "demo")}
    assert "argo submit -n cxrfold --from workflowtemplate/demo" in shown.stdout
    assert "delete workflowtemplate,cronworkflow demo" in shown.stdout


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--timezone", "Europe/Paris"], "--cron, which is missing"),
        (["--cron", "often"], "five fields"),
        (["--name", "Not A Name"], "cannot name a run"),
    ],
)
def test_bad_options_end_in_a_sentence_and_write_nothing(options: list[str], problem: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cv.app, ["deploy", "-e", "demo", "--to", str(tmp_path / "files"), *options])
    assert isinstance(result.exception, BadInput)
    assert problem in str(result.exception)
    assert not (tmp_path / "files").exists()

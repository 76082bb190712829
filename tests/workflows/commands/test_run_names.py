"""Every command refuses a name that cannot be a run's, with the same sentence."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.contract.exits import BadInput
from jobs.contract.names import check_run_name
from workflows.cv import app

TEST_SET = ["--predict", "phantom:patients=3,seed=1"]


@pytest.mark.parametrize("name", ["../x", "", "a{{workflow.name}}", "Demo", "a" * 54])
@pytest.mark.parametrize(
    "command",
    [
        ["render", "--run"], ["lint", "--run"], ["run", "--run"], ["submit", "--run"],
        ["render", *TEST_SET, "--from"], ["run", *TEST_SET, "--from"], ["submit", *TEST_SET, "--from"],
        ["status"], ["logs"], ["explain"], ["stop"], ["resume"], ["purge", "--yes"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_bad_name_is_refused_with_one_sentence(
    command: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "/none")
    with pytest.raises(BadInput) as refused:
        check_run_name(name)
    result = CliRunner().invoke(app, [*command, name])
    assert isinstance(result.exception, BadInput)
    assert str(result.exception) == str(refused.value)
    assert not list(tmp_path.iterdir())

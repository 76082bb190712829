"""Where compiled code is kept."""

import os
from pathlib import Path

import pytest

from jobs.nets.device.compilation import keep_compiled
from workflows.manifest import pods


def test_a_pod_keeps_compiled_code_in_the_cache_that_its_node_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "environ", dict(pods._HOMES))
    keep_compiled(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "inductor")
    assert os.environ["TRITON_CACHE_DIR"] == str(tmp_path / "triton")

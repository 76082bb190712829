"""The names that lint knows are timm's. With CXRFOLD_REGENERATE=1 this test writes them."""

import os

import pytest

from workflows.lint.experiment import BACKBONES


@pytest.mark.slow
def test_lint_knows_the_models_of_the_locked_timm() -> None:
    import timm

    text = "".join(f"{name}\n" for name in timm.list_models())
    if os.environ.get("CXRFOLD_REGENERATE"):
        BACKBONES.write_text(text, encoding="utf-8")
    assert BACKBONES.read_text(encoding="utf-8") == text

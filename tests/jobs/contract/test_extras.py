"""A package of an extra that is not installed."""

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.extras import check_installed


def test_all_that_is_missing_is_named_with_the_extra_that_has_it():
    with pytest.raises(BadInput, match=r"^--onnx needs none_a and none_b, .*: pip install cxrfold\[onnx\]\.$"):
        check_installed("--onnx", "none_a", "pytest", "none_b", extra="onnx")


def test_what_is_installed_passes():
    check_installed("--onnx", "pytest", extra="onnx")


def test_where_nothing_can_be_installed_another_remedy_is_named():
    with pytest.raises(BadInput, match=r"pip install cxrfold\[x\], or build the images again\.$"):
        check_installed("tracker: x", "none_x", extra="x", otherwise="build the images again")

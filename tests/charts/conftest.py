"""The chart, rendered by Helm's own library: no cluster, no helm on the machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "cxrfold"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))

Values = dict[str, Any]
Render = Callable[[Values], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def chart() -> Any:
    with helm_python.Chart.load(CHART) as chart:
        yield chart


@pytest.fixture(scope="session")
def texts(chart: Any) -> Callable[[Values], dict[str, str]]:
    """Values → file of the chart → what Helm makes of it, as an install would: the schema is asked first."""

    def rendered(values: Values) -> dict[str, str]:
        chart.validate_schema(values)
        files = chart.render(values=values, name="cxrfold", namespace="films")
        return {Path(file).name: text for file, text in sorted(files.items()) if text.strip()}

    return rendered


@pytest.fixture(scope="session")
def render(texts: Callable[[Values], dict[str, str]]) -> Render:
    """Values → the objects that Helm would create."""

    def rendered(values: Values) -> list[dict[str, Any]]:
        objects = []
        for file, text in texts(values).items():
            if file != "NOTES.txt":
                objects += [each for each in yaml.safe_load_all(text) if each]
        return objects

    return rendered


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> tuple[str, Values]:
    """Name and values of each example that the chart ships."""
    return request.param.stem, yaml.safe_load(request.param.read_text())

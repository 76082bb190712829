import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from jobs.contract.names import Stage
from jobs.contract.task import TaskId
from jobs.runtime.store import Moved
from jobs.runtime.telemetry.metrics import Metrics, push_outcome
from tests.charts.conftest import Render
from tests.charts.prometheus import DASHBOARD, free_port, prometheus, queries, server, wait_for

SCORES = {
    ("cxrfold_score", "metric", "map6"): 0.51,
    ("cxrfold_score_low", "metric", "map6"): 0.49,
    ("cxrfold_score_high", "metric", "map6"): 0.53,
    ("cxrfold_class_ap", "class", "opacity"): 0.4,
}
needs_prometheus = pytest.mark.skipif(
    not all(map(shutil.which, ("prometheus", "promtool", "prometheus-pushgateway"))),
    reason="needs Debian's prometheus and prometheus-pushgateway",
)


def test_panels_have_ids_of_their_own_and_fill_24_columns() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert {x for x, _ in cells} == set(range(24))


def test_queries_use_no_variable_that_is_not_defined() -> None:
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= defined


def test_rendered_dashboard_is_the_file(render: Render) -> None:
    maps = [each for each in render({"dashboard": {"enabled": True}}) if "cxrfold.json" in each.get("data", {})]
    assert [json.loads(each["data"]["cxrfold.json"]) for each in maps] == [DASHBOARD]
    assert maps[0]["metadata"]["labels"]["grafana_dashboard"] == "1"


def rules_file(render: Render, folder: Path) -> Path:
    """The chart's alerts as a file that Prometheus reads."""
    rule = next(each for each in render({"rules": {"enabled": True}}) if each["kind"] == "PrometheusRule")
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump(rule["spec"]))
    return path


@pytest.mark.slow
@needs_prometheus
def test_every_query_is_answered_by_a_real_prometheus(render: Render, tmp_path: Path) -> None:
    metrics_port, gateway_port = free_port(), free_port()
    metrics, moved = Metrics(TaskId(Stage.TRAIN_CLASSIFIER, "b3", 2)), Moved()
    metrics.heartbeat.set_to_current_time()
    metrics.films.inc(8)
    metrics.serve(metrics_port, moved)
    config = {
        "global": {"scrape_interval": "1s"},
        "rule_files": [str(rules_file(render, tmp_path))],
        "scrape_configs": [
            {
                "job_name": "pods",
                "static_configs": [
                    {
                        "targets": [f"127.0.0.1:{metrics_port}"],
                        "labels": {"namespace": "films", "run": "demo-4f3a", "pod": "demo-0"},
                    }
                ],
            },
            {
                "job_name": "pushgateway",
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{gateway_port}"]}],
            },
        ],
    }
    gateway = f"http://127.0.0.1:{gateway_port}"
    with (
        server("prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{gateway_port}", ready=f"{gateway}/-/ready"),
        prometheus(config, tmp_path) as ask,
    ):
        push_outcome(gateway, "demo", "4f3a", "demo-4f3a", "abc", failed=False, seconds=12.0, gauges=SCORES)
        push_outcome(gateway, "demo", "4f3a", "demo-77ab", "abc", failed=True, seconds=1.0)
        wait_for(lambda: bool(ask("rate(cxrfold_films_total[1m])") and ask("cxrfold_run_failed")))
        assert {panel: expr for panel, expr in queries() if not ask(expr)} == {}
        assert ask("cxrfold_score")[0]["metric"]["experiment"] == "demo"
        assert ask("cxrfold_run_failed == 1")
        assert ask("cxrfold_last_success_timestamp_seconds"), "a failure does not forget the last success"
        assert {rule["health"] for rule in ask.rules()} <= {"ok", "unknown"}


FOLD = '{namespace="films", run="demo-4f3a", stage="train-classifier", model="b3", fold="2"}'


def series(name: str, values: str, labels: str = FOLD) -> dict[str, str]:
    return {"series": name + labels, "values": values}


@needs_prometheus
def test_alerts_fire_when_they_should_and_only_then(render: Render, tmp_path: Path) -> None:
    beat, improved = "cxrfold_heartbeat_timestamp_seconds", "cxrfold_best_improved_timestamp_seconds"
    outcome = '{experiment="demo", dataset="4f3a"}'
    cases = [
        ("CxrfoldFoldStalled", "alive", [series(beat, "0+60x60")], "30m", 0),
        ("CxrfoldFoldStalled", "stalled since minute 10", [series(beat, "0+60x10 600x60")], "30m", 1),
        ("CxrfoldFoldStalled", "never beat", [series(beat, "0x60")], "30m", 0),
        ("CxrfoldFoldStalled", "pod gone", [series(beat, "60x2 stale")], "30m", 0),
        ("CxrfoldRunFailed", "failed", [series("cxrfold_run_failed", "1x5", outcome)], "2m", 1),
        ("CxrfoldRunFailed", "mended by resume", [series("cxrfold_run_failed", "1x2 0x5", outcome)], "5m", 0),
        ("CxrfoldNoImprovement", "better lately", [series(improved, "0+60x500")], "7h", 0),
        ("CxrfoldNoImprovement", "flat for six hours", [series(improved, "60x500")], "7h", 1),
        ("CxrfoldNoImprovement", "no score yet", [series(improved, "0x500")], "7h", 0),
    ]
    tests = {
        "rule_files": [str(rules_file(render, tmp_path))],
        "tests": [
            {
                "name": f"{alert}: {case}",
                "interval": "1m",
                "input_series": given,
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                        "eval_time": at,
                        "exp_samples": [{"value": firing}],
                    }
                ],
            }
            for alert, case, given, at, firing in cases
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "tests.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

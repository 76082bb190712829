"""The report's tables of time and memory, and of what the attempts cost."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from jobs.contract.costs.attempt import PARTS, attempt_cost
from jobs.contract.costs.table import CostRow, task_costs, totals
from jobs.contract.durations import duration
from jobs.contract.exits import Damaged, OtherVersion
from jobs.contract.names import Stage
from jobs.contract.profile import Prices
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from jobs.evaluate.formatting import memory
from jobs.evaluate.history import TaskHistory, by_model
from jobs.evaluate.metrics_json import ReportedRun
from jobs.runtime.store import Missing, Store


def cost_rows(tasks: Sequence[TaskHistory]) -> list[dict[str, Any]]:
    """Return a row per stage and model."""
    rows: list[dict[str, Any]] = []
    most = 0.0
    for stage, model in dict.fromkeys((task.id.stage, task.id.model) for task in tasks):
        own = [task for task in tasks if (task.id.stage, task.id.model) == (stage, model)]
        total = sum(task.seconds for task in own)
        most = max(most, total)
        rows.append(
            {
                "stage": stage,
                "model": model or "",
                "tasks": len(own),
                "total": total,
                "time": duration(total),
                "longest": duration(max(task.seconds for task in own)),
                "spent": time_shares(own),
                "memory": memory(max(task.peak_memory for task in own)),
                "gpu_memory": memory(max(task.peak_gpu_memory for task in own)),
                "device": ", ".join(sorted({task.device for task in own})),
                "precision": ", ".join(sorted({task.precision for task in own} - {""})),
            }
        )
    return [{**row, "share": round(100 * row["total"] / most, 1) if most else 0} for row in rows]


def read_attempts(store: Store, run: str) -> tuple[list[CostRow], str]:
    """Return what the attempts at a run's tasks cost so far, and the currency of the order's prices; else empty."""
    now, costs = store.clock.now(), []
    for key in sorted(entry.key for entry in store.list(f"{layout.run(run)}/")):
        if layout.is_attempt_record(key):
            with suppress(Damaged, Missing, OtherVersion):
                costs.append(attempt_cost(store.get_record(key, Heartbeat), now))
    given = ((store.find_json(layout.run_order(run)) or {}).get("profile") or {}).get("prices")
    prices = Prices.model_validate(given) if given else None
    return task_costs(costs, prices), prices.currency if prices else ""


def attempt_rows(run: ReportedRun) -> list[dict[str, str]]:
    """Return the table of hours: a row per device over all tasks, then those of the tasks that lost time."""
    sums = totals(run.attempts)
    unlucky = [row for row in run.attempts if row.ends and row.what != Stage.EVALUATE]  # evaluate still runs
    return [
        {
            "what": row.what, "device": row.device, "attempts": str(row.attempts), "hours": f"{row.total:.2f}",
            **{part: f"{row.hours[part]:.2f}" for part in PARTS}, "pending": f"{row.pending:.2f}",
            "money": "" if row.money is None else f"{row.money:.2f} {run.currency}", "ends": row.ends,
        }
        for row in [*sums, *unlucky]
    ]  # fmt: skip


def time_shares(tasks: Sequence[TaskHistory]) -> str:
    """What trainings spent their time on, e.g. ``training 82 %, evaluating 15 %, waiting 2 %``; the largest first."""
    sums: dict[str, float] = {}
    for task in tasks:
        for what, seconds in task.spent.items():
            sums[what] = sums.get(what, 0.0) + seconds
    whole = sum(sums.values())
    largest_first = sorted(sums.items(), key=lambda item: -item[1])
    return ", ".join(f"{what} {100 * seconds / whole:.0f} %" for what, seconds in largest_first if seconds)


def mixed_precision(trained: Sequence[TaskHistory]) -> list[str]:
    """A sentence for each model whose folds were trained in different precisions, on different kinds of GPU."""
    sentences = []
    for model, tasks in by_model(trained).items():
        folds: dict[str, list[str]] = {}
        for task in tasks:
            folds.setdefault(task.precision, []).append(str(task.id.fold))
        if len(folds) > 1:
            parts = [f"{precision} (folds {', '.join(numbers)})" for precision, numbers in sorted(folds.items())]
            sentences.append(
                f"{model} was trained in {' and '.join(parts)}: part of the folds' difference may come from that; "
                "gpu_node_selector, or precision in the experiment, makes them alike."
            )
    return sentences

"""Read what runs cost: the records of their attempts in the store, and the prices of the profile."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from jobs.contract.costs.attempt import PARTS, AttemptCost, attempt_cost
from jobs.contract.costs.table import NO_GPU, CostRow, task_costs, totals
from jobs.contract.exits import Damaged, OtherVersion
from jobs.contract.profile import Prices
from jobs.contract.stored import layout
from jobs.contract.stored.records import Heartbeat
from workflows.runs.run import Run

if TYPE_CHECKING:
    from jobs.runtime.store import Store

AT_ONCE: Final = 16
HEAD: Final = ("task", "attempts", "device", "hours", *PARTS, "pending", "money", "ended")


@dataclass(frozen=True)
class RunCost:
    """What a run cost: a row per task and device, and the sums of each device over all tasks."""

    run: str
    rows: list[CostRow]
    currency: str  # empty without prices
    unrecorded: int  # attempts that have a log but no record, of an earlier version

    @property
    def sums(self) -> list[CostRow]:
        """A row per device."""
        return totals(self.rows)

    @property
    def notes(self) -> list[str]:
        """What the numbers leave out."""
        notes = []
        if self.unrecorded:
            notes.append(f"{self.unrecorded} attempts of run {self.run} are left out: an earlier version ran them.")
        if not self.currency:
            return notes
        unpriced = sorted({row.device for row in self.rows if row.money is None})
        fields = {device: "pod_hour" if device == NO_GPU else "gpu_hour" for device in unpriced}
        return notes + [
            f"prices.{field} of the profile gives no price for {device}." for device, field in fields.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """The value that ``cost --json`` prints."""
        return {
            "run": self.run, "currency": self.currency, "tasks": [_as_json(row) for row in self.rows],
            "totals": [_as_json(row) for row in self.sums], "notes": self.notes,
        }  # fmt: skip


def run_cost(run: Run) -> RunCost:
    """Read what a run cost so far, at the prices of the profile given or else of its order.

    Raises:
        BadInput: the run does not exist.
        ServiceAway: the store does not answer.
    """
    names = [task.name for task in run.tasks]  # also says that the run does not exist
    attempts, unrecorded = read_attempts(run.store, run.name)
    known = run.profile or (run.spec.profile if run.spec else None)
    prices: Prices | None = known.prices if known else None
    order = {name: number for number, name in enumerate(names)}
    rows = sorted(task_costs(attempts, prices), key=lambda row: order.get(row.what, len(order)))
    return RunCost(run.name, rows, prices.currency if prices else "", unrecorded)


def read_attempts(store: "Store", run: str) -> tuple[list[AttemptCost], int]:
    """Return the attempts of a run by their start, and the number of those without a record."""
    keys = sorted(entry.key for entry in store.list(f"{layout.run(run)}/"))
    records = [key for key in keys if layout.is_attempt_record(key)]
    logs = [key for key in keys if layout.read_log(key)]
    now = store.clock.now()

    def read(key: str) -> AttemptCost | None:
        try:
            return attempt_cost(store.get_record(key, Heartbeat), now)
        except (Damaged, OtherVersion):
            return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        costs = [cost for cost in pool.map(read, records) if cost]
    return costs, sum(key.removesuffix(".log") + ".json" not in records for key in logs)


def cells(row: CostRow, currency: str) -> tuple[str, ...]:
    """The cells of a row, under :data:`HEAD`."""
    money = "" if row.money is None else f"{row.money:.2f} {currency}"
    hours = [f"{hours:.2f}" for hours in (row.total, *(row.hours[part] for part in PARTS), row.pending)]
    return row.what, str(row.attempts), row.device, *hours, money, row.ends


def _as_json(row: CostRow) -> dict[str, Any]:
    return {**asdict(row), "total": row.total, "wasted": row.wasted}

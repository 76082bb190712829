"""What the attempts at a run's tasks cost together: rows by task and device, their sums, and money."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.contract.costs.attempt import PARTS, AttemptCost
from jobs.contract.profile import Prices


@dataclass(frozen=True)
class CostRow:
    """The attempts at one task, or at several, on one kind of device.

    Attributes:
        what: the task's name, or a description of the sum.
        attempts: their number.
        device: the GPU's model, ``GPU`` where no attempt got as far as to name it, or ``no GPU``.
        ends: the ends that were not good, each with its number, e.g. ``2 killed``.
        pending: hours until the pods had a node; nothing was held.
        hours: GPU hours by :data:`~jobs.contract.costs.attempt.PARTS`; hours of pods where there is no GPU.
        money: in the currency of the prices; None without prices, or where one is missing.
    """

    what: str
    attempts: int
    device: str
    ends: str
    pending: float
    hours: Mapping[str, float]
    money: float | None

    @property
    def total(self) -> float:
        """Hours, useful and wasted."""
        return sum(self.hours.values())

    @property
    def wasted(self) -> float:
        """Hours that made nothing."""
        return self.total - self.hours["useful"]


NO_GPU: Final = "no GPU"


def task_costs(attempts: Sequence[AttemptCost], prices: Prices | None) -> list[CostRow]:
    """A row per task and device, in the order of the attempts."""
    groups: dict[tuple[str, str], list[AttemptCost]] = {}
    named = {one.task: one.gpu for one in attempts if one.gpu}
    for one in attempts:
        groups.setdefault((one.task, _device(one, named)), []).append(one)
    return [_row(task, device, group, prices) for (task, device), group in groups.items()]


def totals(rows: Iterable[CostRow]) -> list[CostRow]:
    """A row per device over all tasks, GPUs first."""
    groups: dict[str, list[CostRow]] = {}
    for row in rows:
        groups.setdefault(row.device, []).append(row)
    return [_sum(device, groups[device]) for device in sorted(groups, key=lambda name: (name == NO_GPU, name))]


def _device(attempt: AttemptCost, named: Mapping[str, str]) -> str:
    """An attempt that ended before it looked at its GPU most likely had that of the task's other attempts."""
    return (attempt.gpu or named.get(attempt.task, "GPU")) if attempt.gpus else NO_GPU


def _row(task: str, device: str, group: Sequence[AttemptCost], prices: Prices | None) -> CostRow:
    hours = {part: sum(one.seconds[part] * max(1, one.gpus) for one in group) / 3600 for part in PARTS}
    price = price_of(device, prices)
    ends = [one.end for one in group if one.end != "done"]
    text = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
    pending = sum(one.pending for one in group) / 3600
    money = None if price is None else price * sum(hours.values())
    return CostRow(task, len(group), device, text, pending, hours, money)


def _sum(device: str, rows: Sequence[CostRow]) -> CostRow:
    money = [row.money for row in rows]
    return CostRow(
        "all tasks", sum(row.attempts for row in rows), device, "", sum(row.pending for row in rows),
        {part: sum(row.hours[part] for row in rows) for part in PARTS},
        None if None in money else sum(one for one in money if one is not None),
    )  # fmt: skip


def price_of(device: str, prices: Prices | None) -> float | None:
    """The price of an hour; None where it is not known."""
    if prices is None:
        return None
    return prices.pod_hour if device == NO_GPU else prices.gpu_hour_of.get(device, prices.gpu_hour)

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.contract.costs.attempt import attempt_cost, gpu_seconds
from jobs.contract.costs.table import NO_GPU, price_of, task_costs, totals
from jobs.contract.exits import Exit
from jobs.contract.names import Stage
from jobs.contract.profile import Prices, Profile
from jobs.contract.stored.records import Heartbeat

START = datetime(2026, 11, 28, 12, tzinfo=UTC)
LATER = START + timedelta(hours=9)
PRICES = Prices(gpu_hour=2.0, gpu_hour_of={"NVIDIA L40S": 1.0}, pod_hour=0.1)


def beat(ran: float = 1000, saved: float | None = None, exit_code: int | None = 0, **changes: Any) -> Heartbeat:
    """An attempt that took so many seconds, and whose last checkpoint was stored after so many."""
    given = {
        "stage": Stage.TRAIN_CLASSIFIER, "model": "b3", "fold": 0, "phase": "training", "attempt": 0, "started": START,
        "at": START + timedelta(seconds=ran), "exit_code": exit_code, "pending": 50, "pulling": 20, "importing": 10,
        "gpus": 1, "saved": None if saved is None else START + timedelta(seconds=saved),
    }  # fmt: skip
    return Heartbeat(**{**given, **changes})


def test_an_attempt_that_ends_well_loses_nothing() -> None:
    cost = attempt_cost(beat(spent={"waiting": 100, "training": 800}), LATER)
    assert cost.seconds == {"useful": 900, "pulling": 20, "starting": 10, "waiting": 100, "lost": 0}
    assert (cost.end, cost.pending, cost.held) == ("done", 50, 1030)


@pytest.mark.parametrize(
    ("exit_code", "end"),
    [(None, "killed"), (137, "killed"), (75, "stopped"), (76, "stopped"), (70, "failed"), (2, "failed")],
)
def test_any_other_end_loses_what_came_after_the_last_checkpoint(exit_code: int | None, end: str) -> None:
    cost = attempt_cost(beat(saved=600, exit_code=exit_code, spent={"waiting": 100}), LATER)
    assert (cost.end, cost.seconds["lost"]) == (end, 400)
    assert cost.seconds["waiting"] == pytest.approx(60), "only of the part that was kept"
    assert cost.held == pytest.approx(1030), "no second is counted twice"


def test_an_attempt_without_a_checkpoint_loses_everything_and_a_running_one_nothing() -> None:
    assert attempt_cost(beat(exit_code=70), LATER).seconds["lost"] == 1000
    running = attempt_cost(beat(exit_code=None), START + timedelta(seconds=1010))
    assert (running.end, running.seconds["lost"], running.seconds["useful"]) == ("running", 0, 1000)


def test_gpu_seconds_are_those_that_the_pod_held() -> None:
    assert gpu_seconds(beat()) == 1030
    assert gpu_seconds(beat(gpus=0)) == 0


def test_a_task_is_summed_over_its_attempts_by_device() -> None:
    attempts = [
        attempt_cost(one, LATER)
        for one in (
            beat(exit_code=None, saved=800),  # killed before it named its GPU
            beat(gpu="NVIDIA L40S"),
            beat(stage=Stage.PREPARE, model=None, fold=None, gpus=0),
        )
    ]
    fold, prepare = task_costs(attempts, PRICES)
    assert (fold.what, fold.attempts, fold.device, fold.ends) == ("b3-fold-0", 2, "NVIDIA L40S", "1 killed")
    assert fold.total == pytest.approx(2060 / 3600)
    assert fold.wasted == pytest.approx((200 + 60) / 3600)
    assert fold.money == pytest.approx(2060 / 3600 * 1.0)
    assert (prepare.device, prepare.money) == (NO_GPU, pytest.approx(1030 / 3600 * 0.1))
    assert [row.device for row in totals([prepare, fold])] == ["NVIDIA L40S", NO_GPU]


def test_money_needs_a_price_for_everything_it_sums() -> None:
    assert price_of("NVIDIA A100", PRICES) == 2.0
    assert price_of("NVIDIA A100", Prices(gpu_hour_of={"NVIDIA L40S": 1.0})) is None
    rows = task_costs([attempt_cost(beat(), LATER), attempt_cost(beat(fold=1, gpu="x"), LATER)], Prices(gpu_hour=1))
    assert all(row.money is not None for row in totals(rows))
    assert task_costs([attempt_cost(beat(), LATER)], None)[0].money is None


@pytest.mark.parametrize("prices", [{"gpu_minute": 1}, {"currency": "euros"}, {"gpu_hour": -1}, {"gpu_hour": "inf"}])
def test_unknown_units_of_a_price_are_refused(prices: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(prices))):
        Profile.model_validate({"prices": prices})


def test_a_spent_budget_is_not_retried() -> None:
    from jobs.contract.exits import TABLE

    assert not TABLE[Exit.BUDGET_SPENT].retry

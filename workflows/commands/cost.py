"""The command ``cost``."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.contract.exits import BadInput
from workflows.commands._options import AsJson, ClusterProfile, profile_of, run_names
from workflows.commands._output import print_columns, print_json

if TYPE_CHECKING:
    from workflows.runs.costs.spent import RunCost

Named = Annotated[
    list[str],
    typer.Argument(
        help="names of runs, or the folder of a study log, e.g. runs/study", metavar="RUN|STUDY…",
        autocompletion=run_names,
    ),
]  # fmt: skip


def cost(names: Named, profile: ClusterProfile = None, as_json: AsJson = False) -> None:
    """Show the GPU hours that runs took, useful and wasted, by task and reason, and the money at the profile's prices.

    Hours of pods without a GPU are counted apart. Wasted are pulling images, starting, waiting for films, and what was
    lost since the last checkpoint when an attempt did not end well.
    """
    from workflows.runs.costs.spent import HEAD, cells, run_cost
    from workflows.runs.finding.find import find_run

    costs = []
    for name in _runs(names):
        with find_run(name, profile_of(profile)) as run:
            costs.append(run_cost(run))
    if as_json:
        print_json([one.as_json() for one in costs])
        return
    if len(costs) == 1:
        rows = [*costs[0].rows, *costs[0].sums]
        print_columns(HEAD, [cells(row, costs[0].currency) for row in rows])
    else:
        print_columns(("run", *HEAD[1:]), _of_runs(costs))
    for note in (note for one in costs for note in one.notes):
        typer.echo(note, err=True)


def _runs(names: list[str]) -> list[str]:
    """The runs that are named, those of a study log among them."""
    runs: list[str] = []
    for name in names:
        if not Path(name).is_dir():
            runs.append(name)
            continue
        log = Path(name) / "study.csv"
        if not log.is_file():
            raise BadInput(f"{name} is a folder without study.csv: name a run, or the folder that cv.py study wrote")
        with log.open(newline="", encoding="utf-8") as file:
            runs += [row["run"] for row in csv.DictReader(file)]
    return list(dict.fromkeys(runs))


def _of_runs(costs: "list[RunCost]") -> list[tuple[str, ...]]:
    """A row per run and device, and the sums over all runs."""
    from dataclasses import replace

    from jobs.contract.costs.table import totals
    from workflows.runs.costs.spent import cells

    rows = [(replace(row, what=one.run), one.currency) for one in costs for row in one.sums]
    currencies = {currency for _, currency in rows if currency}
    sums = [replace(row, what="all runs") for row in totals(row for row, _ in rows)]
    if len(currencies) > 1:  # money of two currencies has no sum
        sums = [replace(row, money=None) for row in sums]
    return [cells(row, currency) for row, currency in [*rows, *((row, "".join(currencies)) for row in sums)]]

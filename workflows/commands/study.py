"""The command ``study``: its options, and in which order things are done."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.contract.exits import BadInput, Exit
from workflows.commands._options import (
    AsJson,
    ClusterProfile,
    DataSource,
    FoldList,
    Gpus,
    Jobs,
    Settings,
    Smoke,
    fold_numbers,
    profile_or_default,
    source_of,
)  # fmt: skip
from workflows.commands._output import console, print_json
from workflows.commands.submit import send

Named = Annotated[
    str, typer.Option("--experiment", "-e", help="experiments, with commas between; * stands for any text: 'yolo-*'")
]


def study(
    experiments: Named,
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    smoke: Smoke = False,
    against: Annotated[
        str | None, typer.Option(help="compare with this one; with the nearest it extends where not given")
    ] = None,
    out: Annotated[Path, typer.Option(help="the folder of the log")] = Path("runs/study"),
    collect_only: Annotated[bool, typer.Option("--collect-only", help="run nothing, write down what there is")] = False,
    submit: Annotated[bool, typer.Option("--submit", help="send them to a cluster; collect them later")] = False,
    profile: ClusterProfile = None,
    jobs: Jobs = None,
    gpus: Gpus = None,
    as_json: AsJson = False,
) -> None:
    """Run or collect several experiments and write the study log: Markdown, CSV and a page.

    What several experiments share is trained once. The same command goes on where it was stopped.
    """
    from workflows.local.machine import this_machine
    from workflows.settings.files import load_profile
    from workflows.study.execution import orders, run_all
    from workflows.study.log import study_store, write_log
    from workflows.study.selection import Changes, select
    from workflows.study.table import records

    if submit and collect_only:
        raise BadInput("--submit and --collect-only: first send the experiments, later collect them")
    studied = select(experiments, Changes(source_of(data), fold_numbers(folds), settings or (), smoke), against)
    if submit:
        for spec in orders(studied, profile_or_default(profile)):
            send(spec, watch=False, as_json=False)
        typer.echo("When they are done, the same command with --collect-only in place of --submit writes the log.")
        return
    exits: dict[str, Exit] = {}
    with study_store(profile_or_default(profile) if collect_only and profile else None) as store:
        if not collect_only:
            exits = run_all(studied, load_profile("local"), this_machine(jobs, gpus), console())
        entries, comparisons = write_log(studied, store, exits, out, lambda text: typer.echo(text, err=as_json))
    if as_json:
        print_json(records(entries, comparisons))
    raise typer.Exit(next((code for code in exits.values() if code is not Exit.DONE), Exit.DONE))

"""The command ``status``."""

from dataclasses import asdict

import typer

from workflows.commands._options import AsJson, ClusterProfile, OneRun, Watch, profile_of
from workflows.commands._output import console, print_json


def status(name: OneRun = None, profile: ClusterProfile = None, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show the state of each task: phase, attempt, epoch, best score, ETA and why it waits."""
    from workflows.runs import watching
    from workflows.runs.finding.find import find_run

    with find_run(name, profile_of(profile)) as run:
        if as_json:
            rows = [asdict(row) for row in run.status()]
            print_json({"run": run.name, "phase": run.phase, "note": run.note, "tasks": rows})
        elif watch:
            raise typer.Exit(watching.watch(run, console()))
        else:
            watching.show(run, console())

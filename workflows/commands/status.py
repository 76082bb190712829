"""The command ``status``."""

from dataclasses import asdict

import typer

from workflows.commands._options import AsJson, ClusterProfile, OneRun, Watch, profile_of
from workflows.commands._output import console, print_json


def status(run: OneRun = None, profile: ClusterProfile = None, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show the state of each task: phase, attempt, epoch, best score, time left, and why it waits."""
    from workflows.runs import watching
    from workflows.runs.run import find_run

    with find_run(run, profile_of(profile)) as found:
        if as_json:
            rows = [asdict(row) for row in found.status()]
            print_json({"run": found.name, "phase": found.phase, "note": found.note, "tasks": rows})
        elif watch:
            raise typer.Exit(watching.watch(found, console()))
        else:
            watching.show(found, console())

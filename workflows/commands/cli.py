"""The commands that send runs to a cluster, look at them and steer them; those that look work without one, too."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.contract.exits import BadInput
from jobs.contract.names import Stage
from workflows.arguments import (
    AsJson,
    ClusterProfile,
    DataSource,
    ExperimentName,
    FoldList,
    FromRun,
    OfRun,
    PredictSource,
    RunName,
    Settings,
    Smoke,
    console,
    default_run,
    print_columns,
    print_json,
    resolve,
    test_set,
)  # fmt: skip

if TYPE_CHECKING:
    from jobs.contract.profile import Profile

commands = typer.Typer()

OneRun = Annotated[str | None, typer.Argument(help="the run's name; the cluster's newest where not given")]
OfStage = Annotated[Stage | None, typer.Option("--stage", "-s", help="of this stage only")]
OfModel = Annotated[str | None, typer.Option("--model", "-m", help="of this model only")]
OfFold = Annotated[int | None, typer.Option("--fold", "-k", help="of this fold only")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="stay with the board until the run ends")]
Revision = Annotated[str | None, typer.Option(help="the images' revision, in place of this checkout's or the run's")]


@commands.command()
def submit(
    experiment: ExperimentName = "demo",
    data: DataSource = None,
    folds: FoldList = None,
    settings: Settings = None,
    run: RunName = None,
    smoke: Smoke = False,
    profile: ClusterProfile = None,
    predict: PredictSource = None,
    from_run: FromRun = None,
    watch: Watch = False,
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Send an experiment to a cluster, after a look at both. The same again goes on with the same run."""
    from jobs.runtime.provenance import revision as this_revision
    from workflows.cluster.submission import Submission
    from workflows.commands.send import send
    from workflows.files import load_profile

    resolved, test = resolve(experiment, data, folds, settings, smoke=smoke), test_set(predict, from_run)
    submission = Submission(
        run=run or default_run(resolved, test), experiment=resolved, profile=load_profile(profile),
        revision=revision or this_revision(), predict=test,
    )  # fmt: skip
    send(submission, watch=watch, as_json=as_json)


@commands.command()
def resume(
    run: OfRun, profile: ClusterProfile = None, watch: Watch = False, revision: Revision = None, as_json: AsJson = False
) -> None:
    """Send a run again after a stop or a failure: only what is missing is done."""
    from workflows.cluster.run import found_run
    from workflows.commands.resume import resubmission
    from workflows.commands.send import send

    with found_run(run, _profile(profile)) as found:
        submission, said = resubmission(found, revision)
    for line in said:
        typer.echo(line, err=True)
    send(submission, watch=watch, as_json=as_json)


@commands.command()
def status(run: OneRun = None, profile: ClusterProfile = None, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show one line a task: phase, attempt, epoch, best score, time left, and why it waits."""
    from dataclasses import asdict

    from workflows.cluster.run import found_run
    from workflows.commands import status as board

    with found_run(run, _profile(profile)) as found:
        if as_json:
            rows = [asdict(row) for row in found.status()]
            print_json({"run": found.name, "phase": found.phase, "note": found.note, "tasks": rows})
        elif watch:
            raise typer.Exit(board.watch(found, console()))
        else:
            board.show(found, console())


@commands.command()
def logs(
    run: OneRun = None,
    stage: OfStage = None,
    model: OfModel = None,
    fold: OfFold = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as more comes, until the run ends")] = False,
    since: Annotated[str | None, typer.Option(help="no older than 90s, 10m, 2h, 1d")] = None,
    grep: Annotated[str | None, typer.Option(help="lines that match a regular expression")] = None,
    profile: ClusterProfile = None,
    as_json: AsJson = False,
) -> None:
    """Print what the tasks say: from their pods while they live, from the store afterwards."""
    from workflows.cluster.logs import wanted
    from workflows.cluster.run import found_run
    from workflows.commands.logs import Pick, Printer, there_now
    from workflows.commands.logs import follow as follow_lines

    pick, chosen = Pick(stage, model, fold), wanted(since, grep)
    with found_run(run, _profile(profile)) as found:
        printer = Printer(console(), pick.of(found), as_json=as_json)
        if follow:
            follow_lines(found, pick, chosen, printer)
        else:
            for line in there_now(found, pick, chosen):
                printer(line)


@commands.command()
def stop(
    run: OfRun, profile: ClusterProfile = None,
    wait: Annotated[bool, typer.Option(help="until every pod has ended")] = True, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Stop a run on a cluster: every pod writes a checkpoint first."""
    from workflows.cluster import workflow as wf
    from workflows.cluster.run import found_run
    from workflows.commands.stop import stop as stop_run

    with found_run(run, _profile(profile)) as found:
        stop_run(found, lambda text: typer.echo(text, err=as_json), wait=wait)
        if as_json and found.workflow:
            print_json({"run": found.name, "workflow": wf.name(found.workflow), "phase": found.phase})


@commands.command()
def explain(
    run: OneRun = None, stage: OfStage = None, model: OfModel = None, fold: OfFold = None,
    profile: ClusterProfile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say what became of a run's tasks, and what to do: of those picked, else of those that are in trouble."""
    from dataclasses import asdict

    from workflows.cluster.run import found_run
    from workflows.commands.explain import explain as explained
    from workflows.commands.logs import Pick

    with found_run(run, _profile(profile)) as found:
        stories = explained(found, Pick(stage, model, fold))
    if as_json:
        print_json([asdict(story) for story in stories])
        return
    for story in stories:
        typer.echo("\n".join(story.text()) + "\n")
    if not stories:
        typer.echo(f"No task of run {found.name} is in trouble.")


@commands.command()
def purge(
    run: OfRun, profile: ClusterProfile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Remove a run, after asking: workflows, results, pushed metrics, and work that no other run refers to."""
    from dataclasses import asdict

    from workflows.cluster.run import found_run
    from workflows.commands.purge import leftovers
    from workflows.commands.purge import purge as remove

    with found_run(run, _profile(profile)) as found:
        what = leftovers(found)
        for line in what.lines():
            typer.echo(line, err=True)
        if not yes and not sys.stdin.isatty():
            raise BadInput("Nothing was removed: there is nobody to ask. --yes removes it.")
        if not yes:
            typer.confirm("Remove it?", abort=True, err=True)
        remove(found, what)
    typer.echo("Removed.", err=True)
    if as_json:
        print_json(asdict(what))


@commands.command()
def doctor(profile: ClusterProfile = None, revision: Revision = None, as_json: AsJson = False) -> None:
    """Check a cluster point by point, with the remedy for each."""
    from dataclasses import asdict

    from jobs.runtime.provenance import revision as this_revision
    from workflows.cluster.client import Cluster
    from workflows.commands.doctor import examine, images_of
    from workflows.files import load_profile

    chosen = load_profile(profile)
    points = examine(Cluster.connect(chosen), chosen, images_of(chosen, revision or this_revision()))
    if as_json:
        print_json([asdict(point) for point in points])
    else:
        for point in points:
            typer.echo(point.line())
    if any(point.state == "bad" for point in points):
        raise typer.Exit(BadInput.exit)


@commands.command()
def runs(profile: ClusterProfile = None, as_json: AsJson = False) -> None:
    """List what has run and what runs, with scores."""
    from dataclasses import asdict

    from workflows.commands.runs import listing

    found, note = listing(_profile(profile))
    if note:
        typer.echo(note, err=True)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    head = ("run", "title", "state", "done", "figure", "score", "changed (UTC)")
    print_columns(head, [one.cells() for one in found])


def _profile(name: str | None) -> "Profile | None":
    from workflows.files import load_profile

    return load_profile(name) if name else None

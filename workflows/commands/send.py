"""Submit and resume on the command line: look first, send, say where it is, stay with it where wanted."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import typer

from jobs.contract.exits import BadInput
from workflows.arguments import console, print_json
from workflows.cluster.client import Cluster
from workflows.cluster.run import found_run
from workflows.cluster.store import open_store
from workflows.cluster.submission import Submission, check_run_name
from workflows.commands import status
from workflows.commands.doctor import examine, images_of
from workflows.commands.doctor.point import Point
from workflows.commands.submit import Submitted, running, submit
from workflows.commands.upload import upload
from workflows.plan import Predict


def send(submission: Submission, *, watch: bool, as_json: bool) -> None:
    """Check, submit, print, watch; what runs already is only printed and watched.

    Raises:
        BadInput: where the workflow or the cluster would not do.
        ServiceAway: where the cluster does not answer.
    """
    check_run_name(submission.run)
    cluster = Cluster.connect(submission.profile)
    submission = _uploaded(submission)
    submitted = running(submission, cluster) or _checked_and_sent(submission, cluster)
    if as_json:
        print_json(asdict(submitted))
    else:
        for line in submitted.lines():
            typer.echo(line)
    sys.stdout.flush()
    if watch:
        with found_run(submission.run, submission.profile) as run:
            raise typer.Exit(status.watch(run, console()))


def _checked_and_sent(submission: Submission, cluster: Cluster) -> Submitted:
    with ThreadPoolExecutor(1) as pool:  # the cluster is looked at while hera is imported
        images = images_of(submission.profile, submission.revision, submission.experiment)
        looking = pool.submit(examine, cluster, submission.profile, images, store=False)
        manifest = submission.manifest()
        _lint(submission, manifest)
        _report(looking.result())
    return submit(submission, cluster, manifest)


def _uploaded(submission: Submission) -> Submission:
    """With folders of films replaced by where they were uploaded to."""
    experiment, predict = submission.experiment, submission.predict
    source = predict.source if predict else experiment.data.source
    if not Path(source).is_dir():
        return submission
    address = upload(Path(source), open_store(submission.profile.store), lambda text: typer.echo(text, err=True))
    if predict:
        return submission.model_copy(update={"predict": Predict(address, predict.from_run)})
    data = experiment.data.model_copy(update={"source": address})
    moved = experiment.model_copy(update={"data": data})
    # The run's name follows the films, not the folder they were in.
    run = moved.default_run if submission.run == experiment.default_run else submission.run
    return submission.model_copy(update={"experiment": moved, "run": run})


def _lint(submission: Submission, manifest: dict[str, object]) -> None:
    from workflows.lint import lint

    findings = lint(manifest, submission.experiment, submission.profile)
    for finding in findings:
        if finding.level != "note":
            typer.echo(
                f"{finding.code} {finding.level}  {finding.where}: {finding.says}\n    fix: {finding.fix}", err=True
            )
    if errors := sum(finding.level == "error" for finding in findings):
        raise BadInput(f"Nothing was submitted: {errors} mistake{'s' if errors > 1 else ''} above.")


def _report(points: list[Point]) -> None:
    """Say what can be mended before pods wait for it: GPUs that no node has are no end, as nodes may come."""
    for point in points:
        if point.state == "bad" or point.remedy:
            typer.echo(point.line(), err=True)
    if any(point.state == "bad" for point in points):
        raise BadInput("Nothing was submitted: the cluster is not ready for it. cv.py doctor looks again.")

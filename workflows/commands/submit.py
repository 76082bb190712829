"""The command ``submit``: check, upload films, create the workflow, print where it is."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jobs.contract.exits import BadInput
from workflows.commands._options import (
    AsJson,
    ClusterProfile,
    DataSource,
    ExperimentName,
    FoldList,
    FromRun,
    MaxGpuHours,
    Overlap,
    PredictSource,
    Replace,
    Revision,
    RunName,
    Settings,
    Smoke,
    Watch,
    confirm_replacement,
    profile_or_default,
    resolve,
    test_set,
)  # fmt: skip
from workflows.commands._output import console, print_json

if TYPE_CHECKING:
    from workflows.cluster.client import Cluster
    from workflows.commands.doctor.point import Point
    from workflows.manifest.spec import RunSpec
    from workflows.runs.create import CreatedWorkflow


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
    overlap: Overlap = None,
    watch: Watch = False,
    revision: Revision = None,
    replace: Replace = False,
    max_gpu_hours: MaxGpuHours = None,
    as_json: AsJson = False,
) -> None:
    """Submit an experiment to a cluster after checking both. The same command continues the same run."""
    from jobs.runtime.provenance import revision as this_revision
    from workflows.manifest.spec import RunSpec

    spec = RunSpec.of(
        resolve(experiment, data, folds, settings, smoke=smoke), profile_or_default(profile),
        revision=revision or this_revision(), run=run, test_set=test_set(predict, from_run, overlap),
        max_gpu_hours=max_gpu_hours,
    )  # fmt: skip
    send(spec, watch=watch, as_json=as_json, replace=replace)


def send(spec: "RunSpec", *, watch: bool, as_json: bool, replace: bool = False) -> None:
    """Check the spec and the cluster, create the workflow, print and watch it. Does not check a running run again.

    Raises:
        BadInput: lint finds errors, the cluster is not ready, or the run's name is taken and ``replace`` is not set.
        ServiceAway: the cluster does not answer.
    """
    from workflows.runs.finding.find import find_run
    from workflows.runs.watching import watch as watch_board

    created = create_run(spec, (lambda taken: None) if replace else confirm_replacement)
    if as_json:
        print_json(asdict(created))
    else:
        for line in created.lines():
            typer.echo(line)
    sys.stdout.flush()
    if watch:
        with find_run(created.run, spec.profile) as run:
            raise typer.Exit(watch_board(run, console()))


def create_run(spec: "RunSpec", name_is_taken: Callable[[str], None]) -> "CreatedWorkflow":
    """Check the spec and the cluster and create the workflow. Does not check a running run again.

    Args:
        spec: the run; films in a local folder are uploaded first.
        name_is_taken: called with a sentence where an ended run of another experiment has the name; raises to stop.

    Raises:
        BadInput: lint finds errors, or the cluster is not ready.
        ServiceAway: the cluster does not answer.
    """
    from workflows.cluster.client import Cluster
    from workflows.runs.create import replaced, running

    cluster = Cluster.connect(spec.profile)
    spec = _uploaded(spec)
    if created := running(spec, cluster):
        return created
    if taken := replaced(spec, cluster):
        name_is_taken(taken)
    return _check_and_create(spec, cluster)


def _check_and_create(spec: "RunSpec", cluster: "Cluster") -> "CreatedWorkflow":
    from concurrent.futures import ThreadPoolExecutor

    from workflows.commands.doctor.examine import examine, images_of
    from workflows.lint.check import check, refuse_errors
    from workflows.manifest.dag import manifest
    from workflows.runs.create import create

    with ThreadPoolExecutor(2) as pool:  # check the cluster while hera is imported
        images = images_of(spec.profile, spec.revision, spec.experiment)
        points = pool.submit(examine, cluster, spec.profile, images, store=False)
        weights = pool.submit(_check_pretrained, spec)
        expected = pool.submit(_estimates, spec)
        workflow = manifest(spec)
        refuse_errors(check(spec, workflow), lambda text: typer.echo(text, err=True), "submitted")
        weights.result()
        for line in expected.result():
            typer.echo(line, err=True)
        _report(points.result())
    return create(spec, cluster, workflow)


def _check_pretrained(spec: "RunSpec") -> None:
    """Refuse weights that the store does not have, where it can be read from here; prepare checks in any case.

    Raises:
        BadInput: weights are missing, or of another architecture.
    """
    from jobs.contract.exits import ServiceAway
    from jobs.contract.needs.teachers import check_stored
    from workflows.store.opening import open_store

    experiment = spec.experiment
    weights = [model.weights for model in experiment.models.values() if model.weights]
    if spec.predicts or not (weights or experiment.data.extra or experiment.folds.frozen):
        return
    try:
        store = open_store(spec.profile.store)
    except (BadInput, ServiceAway):
        return  # submit needs no access to the store

    def read(key: str) -> object:
        try:
            return store.find_json(key)
        except (BadInput, ServiceAway) as error:
            raise _NoAccess from error

    with suppress(_NoAccess):
        check_stored(experiment, read, store.url)


class _NoAccess(Exception):
    """The store cannot be read from here."""


def _estimates(spec: "RunSpec") -> list[str]:
    """What earlier runs of like tasks took, where the store can be read from here."""
    from jobs.contract.exits import ServiceAway
    from workflows.runs.costs import estimate
    from workflows.store.opening import open_store

    if spec.predicts:
        return []
    try:
        found = estimate.estimates(open_store(spec.profile.store), spec.experiment)
    except (BadInput, ServiceAway):
        return []  # submit needs no access to the store
    return list(estimate.lines(found, len(spec.experiment.models)))


def _uploaded(spec: "RunSpec") -> "RunSpec":
    """Upload the spec's films if they are a local folder, and return the spec with their S3 address.

    Raises:
        BadInput: lint finds errors, for which nobody wants to wait until the films are sent.
    """
    from workflows.lint.check import check_here, refuse_errors
    from workflows.manifest.spec import RunSpec
    from workflows.store.opening import open_store
    from workflows.store.upload import upload

    experiment, test = spec.experiment, spec.test_set
    source = test.source if test else experiment.data.source
    beside = () if test else experiment.data.extra
    if not any(Path(one).is_dir() for one in (source, *(extra.source for extra in beside))):
        return spec
    errors = [finding for finding in check_here(spec) if finding.level == "error"]
    refuse_errors(errors, lambda text: typer.echo(text, err=True), "submitted")
    store = open_store(spec.profile.store)

    def uploaded(given: str) -> str:
        if not Path(given).is_dir():
            return given
        return upload(Path(given), store, lambda text: typer.echo(text, err=True))

    if test:
        return spec.model_copy(update={"test_set": test.model_copy(update={"source": uploaded(source)})})
    extra = tuple(one.model_copy(update={"source": uploaded(one.source)}) for one in beside)
    data = experiment.data.model_copy(update={"source": uploaded(source), "extra": extra})
    moved = experiment.model_copy(update={"data": data})
    # A default name depends on the films, not on the folder they were in.
    name = moved.default_run if spec.run == experiment.default_run else spec.run
    return RunSpec(
        run=name, experiment=moved, profile=spec.profile, revision=spec.revision, memory=spec.memory,
        max_gpu_hours=spec.max_gpu_hours,
    )  # fmt: skip


def _report(points: "list[Point]") -> None:
    """Print failed and uncertain checks. Missing GPUs are not an error: an autoscaler may add nodes."""
    for point in points:
        if point.state == "bad" or point.remedy:
            typer.echo(point.line(), err=True)
    if any(point.state == "bad" for point in points):
        raise BadInput("Nothing was submitted: the cluster is not ready. cv.py doctor checks again.")

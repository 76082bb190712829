"""Overhead of a cluster: a run compared with its tasks alone, and with the same workflow of empty pods.

A finished run submitted again does nothing but pass through Argo, level by level, as empty pods do; so their ratio is
what importing and looking up DONE costs. Needs a cluster, and CXRFOLD_PROFILE naming a profile whose images are there:

    CXRFOLD_PROFILE=profile.yaml python tests/benchmarks/bench_cluster.py [REVISION]
"""

import copy
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from jobs.contract.names import Stage  # noqa: E402
from jobs.contract.profile import Profile  # noqa: E402
from jobs.runtime.provenance import revision  # noqa: E402
from workflows.cluster import workflow_json  # noqa: E402
from workflows.cluster.client import Cluster  # noqa: E402
from workflows.cluster.http import Json  # noqa: E402
from workflows.manifest.dag import manifest as manifest_of  # noqa: E402
from workflows.manifest.spec import RunSpec, named  # noqa: E402
from workflows.runs import stored  # noqa: E402
from workflows.runs.create import create  # noqa: E402
from workflows.runs.finding.find import find_run  # noqa: E402
from workflows.runs.purge import plan_purge, purge  # noqa: E402
from workflows.runs.run import workflows_of  # noqa: E402
from workflows.settings.files import load_experiment, load_profile  # noqa: E402


def emptied(manifest: Json, name: str) -> Json:
    """The same shape, images and pods, with nothing to do."""
    empty = copy.deepcopy(named(manifest, name))
    empty["metadata"]["labels"]["cxrfold/run"] = empty["spec"]["podMetadata"]["labels"]["cxrfold/run"] = name
    for template in empty["spec"]["templates"]:
        if "container" in template:
            template["container"] |= {"command": ["true"], "args": []}
    return empty


def timed(cluster: Cluster, run: str, start: Callable[[], object]) -> float:
    """Seconds from a submission to the end of the run's workflow."""
    before = len(workflows_of(cluster, run))
    began = time.monotonic()
    start()
    while True:
        there = workflows_of(cluster, run)
        if len(there) > before and not any(workflow_json.live(workflow) for workflow in there):
            break
        time.sleep(0.5)
    if workflow_json.phase(workflow_json.current(there) or {}) != workflow_json.SUCCEEDED:
        raise SystemExit(f"{run} did not succeed; cv.py explain {run} says why")
    return time.monotonic() - began


def alone(run: str, profile: Profile) -> list[float]:
    """Seconds that each level took by itself: those of its slowest task, as its heartbeat tells."""
    levels: dict[Stage, float] = {}
    with find_run(run, profile) as found:
        stages = {task.name: task.id.stage for task in found.tasks}
        for row in stored.status(found.store, run):
            stage = stages[row.task]
            levels[stage] = max(levels.get(stage, 0.0), row.seconds or 0.0)
    return list(levels.values())


def main() -> None:
    """Run it once to have it finished, again, and empty; then remove all of it."""
    if "CXRFOLD_PROFILE" not in os.environ:
        print("skipped: CXRFOLD_PROFILE names no cluster's profile")
        return
    profile = load_profile(os.environ["CXRFOLD_PROFILE"])
    cluster = Cluster.connect(profile)
    tag = sys.argv[1] if len(sys.argv) > 1 else revision()
    now = int(time.time())
    run, empty_run = f"bench-{now}", f"bench-empty-{now}"
    # A seed of its own, so that nothing of it was trained before.
    experiment = load_experiment(ROOT / "tests" / "cluster" / "tiny.yaml", [f"seed={now}"])
    spec = RunSpec.of(experiment, profile, revision=tag, run=run)
    manifest = manifest_of(spec)
    first = timed(cluster, run, lambda: create(spec, cluster, manifest))
    levels = alone(run, profile)
    again = timed(cluster, run, lambda: create(spec, cluster, manifest))
    empty = timed(cluster, empty_run, lambda: cluster.workflows.create(profile.namespace, emptied(manifest, empty_run)))
    added, a_level = first - sum(levels), (first - sum(levels)) / len(levels)
    print(f"the run, first time     {first:6.1f} s   its tasks alone {sum(levels):.1f} s")
    print(f"what the cluster adds   {added:6.1f} s   {a_level:.1f} s a level, {added / empty:.2f} × empty pods")
    print(f"the run, once finished  {again:6.1f} s   {again / empty:.2f} × empty pods")
    print(f"empty pods, same shape  {empty:6.1f} s   {empty / len(levels):.1f} s a level")
    with find_run(run, profile) as found:
        purge(found, plan_purge(found))
    cluster.workflows.delete(profile.namespace, empty_run)


if __name__ == "__main__":
    main()

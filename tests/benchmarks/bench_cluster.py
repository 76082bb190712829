"""What a cluster adds to a run: a finished run submitted again, beside a workflow of the same shape with empty pods.

Both do nothing but pass through Argo, level by level, so their ratio is what importing and looking up DONE costs. Needs
a cluster, and CXRFOLD_PROFILE naming a profile whose images are there:

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

from jobs.runtime.provenance import revision  # noqa: E402
from workflows.cluster import workflow as wf  # noqa: E402
from workflows.cluster.client import Cluster  # noqa: E402
from workflows.cluster.http import Json  # noqa: E402
from workflows.cluster.run import workflows_of  # noqa: E402
from workflows.cluster.submission import Submission, named  # noqa: E402
from workflows.commands.submit import submit  # noqa: E402
from workflows.files import load_experiment, load_profile  # noqa: E402

LEVELS = 4  # prepare, train, ensemble, evaluate


def emptied(manifest: Json, name: str) -> Json:
    """The same shape, images and pods, with nothing to do."""
    empty = copy.deepcopy(named(manifest, name))
    empty["metadata"]["labels"]["cxrfold/run"] = empty["spec"]["podMetadata"]["labels"]["cxrfold/run"] = "bench-empty"
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
        if len(there) > before and not any(wf.live(workflow) for workflow in there):
            break
        time.sleep(0.5)
    if wf.phase(wf.latest(there) or {}) != wf.SUCCEEDED:
        raise SystemExit(f"{run} did not succeed; cv.py explain {run} says why")
    return time.monotonic() - began


def main() -> None:
    """Run it once to have it finished, then time both."""
    if "CXRFOLD_PROFILE" not in os.environ:
        print("skipped: CXRFOLD_PROFILE names no cluster's profile")
        return
    profile = load_profile(os.environ["CXRFOLD_PROFILE"])
    cluster = Cluster.connect(profile)
    tag = sys.argv[1] if len(sys.argv) > 1 else revision()
    experiment = load_experiment(ROOT / "tests" / "cluster" / "tiny.yaml")
    submission = Submission(run="bench", experiment=experiment, profile=profile, revision=tag)
    manifest = submission.manifest()
    first = timed(cluster, "bench", lambda: submit(submission, cluster, manifest))
    again = timed(cluster, "bench", lambda: submit(submission, cluster, manifest))
    name = f"bench-empty-{int(time.time())}"
    empty = timed(cluster, "bench-empty", lambda: cluster.workflows.create(profile.namespace, emptied(manifest, name)))
    print(f"the run, first time     {first:6.1f} s")
    print(f"the same, finished      {again:6.1f} s   {again / empty:.2f} × empty pods")
    print(f"empty pods, same shape  {empty:6.1f} s   {empty / LEVELS:.1f} s a level")


if __name__ == "__main__":
    main()

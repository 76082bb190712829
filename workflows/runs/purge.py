"""Remove a run: its workflows, its objects in the store, its pushed metrics, and work that no other run uses."""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic import ValidationError

from jobs.contract import layout
from jobs.contract.exits import BadInput
from jobs.contract.records import Done, Heartbeat, Reference
from workflows.cluster import workflow_json
from workflows.cluster.http import Http, new_session
from workflows.manifest.spec import kept_profile
from workflows.runs.run import Run

if TYPE_CHECKING:
    from jobs.runtime.store import Store

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PurgePlan:
    """What a purge removes."""

    run: str
    workflows: tuple[str, ...]
    work: tuple[str, ...]  # prefixes of work that no other run uses
    shared: int  # number of works that other runs use too: they are kept
    objects: int
    size: int  # bytes
    metrics: tuple[str, ...]  # URLs of groups on the Pushgateway

    def lines(self) -> list[str]:
        """The text that ``purge`` prints before it asks."""
        return [
            f"Run {self.run}: {self.objects} objects, {self.size / 1e6:.1f} MB in the store; "
            f"{len(self.work)} pieces of work that no other run uses; {self.shared} that others use are kept.",
            f"Workflows: {', '.join(self.workflows) or 'none'}. Pushed metrics: {', '.join(self.metrics) or 'none'}.",
        ]


def plan_purge(run: Run) -> PurgePlan:
    """Find what to remove. Removes nothing.

    Raises:
        BadInput: the run is running, or does not exist.
    """
    if run.unreachable:  # it may be running
        raise run.unreachable
    if run.live:
        raise BadInput(f"Run {run.name} is running: cv.py stop {run.name} first.")
    store = run.store
    works = _works(store)
    mine = _closure(store, works.pop(run.name, set()))
    kept = set(_closure(store, set().union(*works.values())))
    free = [work for work in reversed(mine) if work not in kept]  # dependents before what they were made from
    entries = list(store.list(f"{layout.run(run.name)}/"))
    if not entries and not run.workflows:
        raise BadInput(f"Run {run.name} does not exist in {store.url}. cv.py runs lists all runs.")
    entries += [entry for work in free for entry in store.list(f"{work}/")]
    gateway = _gateway_of(run)
    return PurgePlan(
        run.name, tuple(map(workflow_json.name, run.workflows)), tuple(free), len(mine) - len(free), len(entries),
        sum(entry.size for entry in entries), tuple(_pushed(gateway, run.name)) if gateway else (),
    )  # fmt: skip


def purge(run: Run, plan: PurgePlan) -> None:
    """Remove what the plan lists. The run's own objects go last, so that an interrupted purge can be repeated."""
    if run.cluster:
        for workflow in plan.workflows:
            run.cluster.workflows.delete(run.cluster.namespace, workflow)
    for address in plan.metrics:
        _gateway(address).call("DELETE", "")
    for work in plan.work:
        run.store.delete([layout.done(work)])  # first: half-deleted work must not look finished
        run.store.delete_prefix(f"{work}/")
    run.store.delete_prefix(f"{layout.run(run.name)}/")


def _works(store: "Store") -> dict[str, set[str]]:
    """Prefixes of the work of each run: referenced by its tasks, or started and not finished."""
    keys = [entry.key for entry in store.list(layout.RUNS) if entry.key.endswith(".json")]
    with ThreadPoolExecutor(16) as pool:
        prefixes = pool.map(lambda key: _work_in(store, key), keys)
        works: dict[str, set[str]] = {}
        for key, of_key in zip(keys, prefixes, strict=True):
            works.setdefault(key.split("/")[1], set()).update(of_key)
    return works


def _work_in(store: "Store", key: str) -> Iterable[str]:
    """Prefixes of the work that a reference or heartbeat names; none for any other file."""
    from jobs.runtime.store import Missing

    try:
        if key.endswith("/heartbeat.json"):
            return Heartbeat.model_validate(store.get_json(key)).works
        reference = Reference.model_validate(store.get_json(key))
        return [layout.work(reference.stage, digest) for digest in reference.works.values()]
    except (ValidationError, Missing):  # another kind of file, or deleted since it was listed
        return ()


def _closure(store: "Store", works: Iterable[str]) -> list[str]:
    """The given work with all work that it was made from or whose objects it refers to."""
    from jobs.runtime.store import Missing

    by_digest = {prefix.rsplit("/", 1)[-1]: prefix for prefix in _all_work(store)}
    closure: dict[str, None] = {}
    waiting = list(works)
    while waiting:
        work = waiting.pop()
        if work in closure:
            continue
        closure[work] = None
        try:
            done = Done.model_validate(store.get_json(layout.done(work)))
        except Missing:
            continue
        waiting += [by_digest[digest[:32]] for digest in _digests(done.inputs) if digest[:32] in by_digest]
        waiting += [output.key.rsplit("/", 1)[0] for output in done.outputs.values()]
    return list(closure)


def _all_work(store: "Store") -> Iterator[str]:
    for stage in store.folders(layout.WORK):
        for digest in store.folders(f"{layout.WORK}{stage}/"):
            yield f"{layout.WORK}{stage}/{digest}"


def _digests(value: Any) -> Iterator[str]:
    """Every digest in the inputs of a piece of work, at any depth."""
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _digests(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _digests(inner)


def _gateway_of(run: Run) -> str | None:
    """The Pushgateway of a run's profile, even if its workflow was made by hand or by another version."""
    if run.settings:
        return run.settings.pushgateway
    try:
        return run.spec.profile.pushgateway if run.spec else None
    except BadInput:
        return kept_profile(run.workflow or {}).get("pushgateway")


def _pushed(gateway: str, run: str) -> Iterator[str]:
    """URLs of the groups whose latest result is of this run."""
    server = _gateway(gateway if "://" in gateway else f"http://{gateway}")
    for group in server.get("/api/v1/metrics").get("data") or ():
        samples = (group.get("cxrfold_run_info") or {}).get("metrics") or ()
        if any(sample["labels"].get("run") == run for sample in samples):
            labels = {name: value for name, value in group["labels"].items() if name != "job"}
            path = "".join(f"/{name}/{quote(value, safe='')}" for name, value in sorted(labels.items()))
            yield f"{server.base}/metrics/job/{quote(group['labels']['job'], safe='')}{path}"


def _gateway(address: str) -> Http:
    return Http(address.rstrip("/"), "The Pushgateway", "Check the profile's pushgateway.", new_session(address))

"""Remove a run: its workflows, its tree in the store, its pushed metrics, and the work that no other run refers to."""

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
from workflows.cluster import workflow as wf
from workflows.cluster.http import Http, new_session
from workflows.runs.run import Run

if TYPE_CHECKING:
    from jobs.runtime.store import Store

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Leftovers:
    """What a purge removes."""

    run: str
    workflows: tuple[str, ...]
    work: tuple[str, ...]  # prefixes
    shared: int  # works of this run that others refer to: they stay
    objects: int
    size: int  # bytes
    metrics: tuple[str, ...]  # addresses of groups on the Pushgateway

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"Run {self.run}: {self.objects} objects, {self.size / 1e6:.1f} MB in the store; "
            f"{len(self.work)} works that no other run refers to go, {self.shared} that others share stay.",
            f"Workflows: {', '.join(self.workflows) or 'none'}. Pushed metrics: {', '.join(self.metrics) or 'none'}.",
        ]


def leftovers(run: Run) -> Leftovers:
    """What there is to remove. Nothing is removed yet.

    Raises:
        BadInput: where the run is running, or there is no such run.
    """
    if run.live:
        raise BadInput(f"Run {run.name} is running: cv.py stop {run.name} first.")
    store = run.store
    works = _works(store)
    mine = _closure(store, works.pop(run.name, set()))
    kept = set(_closure(store, set().union(*works.values())))
    free = [work for work in reversed(mine) if work not in kept]  # what was found through another goes before it
    entries = list(store.list(f"{layout.run(run.name)}/"))
    if not entries and not run.workflows:
        raise BadInput(f"No run is named {run.name} in {store.url}. cv.py runs lists those there are.")
    entries += [entry for work in free for entry in store.list(f"{work}/")]
    gateway = run.spec.profile.pushgateway if run.spec else None
    return Leftovers(
        run.name, tuple(wf.name(one) for one in run.workflows), tuple(free), len(mine) - len(free), len(entries),
        sum(entry.size for entry in entries), tuple(_pushed(gateway, run.name)) if gateway else (),
    )  # fmt: skip


def purge(run: Run, what: Leftovers) -> None:
    """Remove it. The run's tree goes last, so that a purge cut short can be given again."""
    if run.cluster:
        for workflow in what.workflows:
            run.cluster.workflows.delete(run.cluster.namespace, workflow)
    for address in what.metrics:
        _gateway(address).call("DELETE", "")
    for work in what.work:
        run.store.delete([layout.done(work)])  # first: what is half gone must not look finished
        run.store.delete_prefix(f"{work}/")
    run.store.delete_prefix(f"{layout.run(run.name)}/")


def _works(store: "Store") -> dict[str, set[str]]:
    """The work that each run has to do with: what its tasks stand for, and what they began and did not finish."""
    keys = [entry.key for entry in store.list(layout.RUNS) if entry.key.endswith(".json")]
    with ThreadPoolExecutor(16) as pool:
        named = pool.map(lambda key: _named(store, key), keys)
        works: dict[str, set[str]] = {}
        for key, found in zip(keys, named, strict=True):
            works.setdefault(key.split("/")[1], set()).update(found)
    return works


def _named(store: "Store", key: str) -> Iterable[str]:
    """The work that a file in a run's tree names; none, where it is neither a reference nor a heartbeat."""
    from jobs.runtime.store import Missing

    try:
        if key.endswith("/heartbeat.json"):
            return Heartbeat.model_validate(store.get_json(key)).works
        reference = Reference.model_validate(store.get_json(key))
        return [layout.work(reference.stage, digest) for digest in reference.works.values()]
    except (ValidationError, Missing):  # another version's, another file; or gone since it was listed
        return ()


def _closure(store: "Store", works: Iterable[str]) -> list[str]:
    """Work, and all work that it was made from or whose objects it stands for, as it is found."""
    from jobs.runtime.store import Missing

    by_digest = {prefix.rsplit("/", 1)[-1]: prefix for prefix in _all_work(store)}
    found: dict[str, None] = {}
    waiting = list(works)
    while waiting:
        work = waiting.pop()
        if work in found:
            continue
        found[work] = None
        try:
            done = Done.model_validate(store.get_json(layout.done(work)))
        except Missing:
            continue
        waiting += [by_digest[digest[:32]] for digest in _digests(done.inputs) if digest[:32] in by_digest]
        waiting += [output.key.rsplit("/", 1)[0] for output in done.outputs.values()]
    return list(found)


def _all_work(store: "Store") -> Iterator[str]:
    for stage in store.folders(layout.WORK):
        for digest in store.folders(f"{layout.WORK}{stage}/"):
            yield f"{layout.WORK}{stage}/{digest}"


def _digests(value: Any) -> Iterator[str]:
    """Every digest in the inputs of a work, however deep."""
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _digests(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _digests(inner)


def _pushed(gateway: str, run: str) -> Iterator[str]:
    """The groups whose latest outcome is this run's."""
    server = _gateway(gateway if "://" in gateway else f"http://{gateway}")
    for group in server.get("/api/v1/metrics").get("data") or ():
        samples = (group.get("cxrfold_run_info") or {}).get("metrics") or ()
        if any(sample["labels"].get("run") == run for sample in samples):
            labels = {name: value for name, value in group["labels"].items() if name != "job"}
            path = "".join(f"/{name}/{quote(value, safe='')}" for name, value in sorted(labels.items()))
            yield f"{server.base}/metrics/job/{quote(group['labels']['job'], safe='')}{path}"


def _gateway(address: str) -> Http:
    return Http(address.rstrip("/"), "The Pushgateway", "Check the profile's pushgateway.", new_session(address))

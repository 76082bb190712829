"""Remove a run: its workflows, its objects in the store, its pushed metrics, and work that no other run uses."""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.experiment import Experiment
from jobs.contract.names import Stage
from jobs.contract.needs.pretrained import PromotedRecord
from jobs.contract.stored import layout
from jobs.contract.stored.records import Done, Heartbeat, Reference
from workflows.cluster import workflow_json
from workflows.cluster.http import Http, new_session
from workflows.manifest.spec import kept_profile
from workflows.runs.run import Run
from workflows.runs.stored import SILENT_AFTER, alive

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
    films: tuple[str, ...] = ()  # prefixes of uploaded films that no other run uses

    def lines(self) -> list[str]:
        """The text that ``purge`` prints before it asks."""
        return [
            f"Run {self.run}: {self.objects} objects, {self.size / 1e6:.1f} MB in the store; "
            f"{len(self.work)} pieces of work that no other run uses; {self.shared} that others use are kept.",
            f"Workflows: {', '.join(self.workflows) or 'none'}. Pushed metrics: {', '.join(self.metrics) or 'none'}.",
            *(f"Uploaded films that no other run uses: {films}; --films removes them." for films in self.films),
        ]


@dataclass
class WorkInUse:
    """The work of a run.

    Attributes:
        works: prefixes of work that its tasks refer to, or have begun.
        running: tasks that sent a heartbeat just now and have not ended.
        starting: those of them that do not name their work yet.
        unknown: what is wrong with a reference that cannot be read; empty: all could be.
    """

    works: set[str] = field(default_factory=set)
    running: list[str] = field(default_factory=list)
    starting: list[str] = field(default_factory=list)
    unknown: str = ""


def plan_purge(run: Run) -> PurgePlan:
    """Find what to remove. Removes nothing.

    Raises:
        BadInput: the run is running, or does not exist; or another run has just begun, or cannot be read.
    """
    if run.unreachable:  # it may be running
        raise run.unreachable
    if run.live:
        raise BadInput(f"Run {run.name} is running: cv.py stop {run.name} first.")
    store = run.store
    others = _work_in_use(store)
    own = others.pop(run.name, WorkInUse())
    if own.running:
        raise BadInput(
            f"Run {run.name} is running: {own.running[0]} sent a heartbeat less than {SILENT_AFTER:.0f} s ago. Stop "
            "it (Ctrl-C where it runs), or wait so long after it was killed."
        )
    if starting := [name for name, use in others.items() if use.starting]:
        raise BadInput(f"Run {starting[0]} is starting and does not tell yet which work it uses: purge again later.")
    for name, use in others.items():
        if use.unknown:
            raise BadInput(
                f"{use.unknown} So it is not known which work run {name} uses, and nothing was removed: resume run "
                f"{name}, or purge it first."
            )
    mine = _closure(store, own.works)
    kept = set(_closure(store, set().union(promoted_work(store), *(use.works for use in others.values()))))
    free = [work for work in reversed(mine) if work not in kept]  # dependents before what they were made from
    entries = list(store.list(f"{layout.run(run.name)}/"))
    if not entries and not run.workflows:
        raise BadInput(f"Run {run.name} does not exist in {store.url}. cv.py runs lists all runs.")
    entries += [entry for work in free for entry in store.list(f"{work}/")]
    gateway = _gateway_of(run)
    return PurgePlan(
        run.name, tuple(map(workflow_json.name, run.workflows)), tuple(free), len(mine) - len(free), len(entries),
        sum(entry.size for entry in entries), tuple(_pushed(gateway, run.name)) if gateway else (),
        _uploaded_films(store, run.name, others),
    )  # fmt: skip


def purge(run: Run, plan: PurgePlan, *, films: bool = False) -> None:
    """Remove what the plan lists, except work that another run has begun to use since.

    The run's own objects go last, so that an interrupted purge can be repeated.

    Args:
        run: the run.
        plan: what was confirmed.
        films: whether to remove the uploaded films as well.

    Raises:
        BadInput: the run has been started since.
    """
    now = plan_purge(run)
    if run.cluster:
        for workflow in plan.workflows:
            run.cluster.workflows.delete(run.cluster.namespace, workflow)
    for address in plan.metrics:
        _gateway(address).call("DELETE", "")
    for work in (work for work in plan.work if work in now.work):
        run.store.delete([layout.done(work)])  # first: half-deleted work must not look finished
        run.store.delete_prefix(f"{work}/")
    for uploaded in set(plan.films) & set(now.films) if films else ():
        run.store.delete_prefix(f"{uploaded}/")
    run.store.delete_prefix(f"{layout.run(run.name)}/")


def _work_in_use(store: "Store") -> dict[str, WorkInUse]:
    """The work of each run, from the references and heartbeats of its tasks."""
    keys = [entry.key for entry in store.list(layout.RUNS) if entry.key.endswith(".json")]
    in_use: dict[str, WorkInUse] = {}
    now = store.clock.now()
    with ThreadPoolExecutor(16) as pool:
        for key, record in zip(keys, pool.map(lambda key: _record(store, key), keys), strict=True):
            use = in_use.setdefault(key.split("/")[1], WorkInUse())
            if isinstance(record, Damaged):
                use.unknown = str(record)
            elif isinstance(record, Reference):
                use.works.update(layout.work(record.stage, digest) for digest in record.works.values())
            elif record is not None:
                use.works.update(record.works)
                if alive(record, now):
                    (use.running if record.works else use.starting).append(record.stage)
    for use in in_use.values():
        use.running += use.starting
    return in_use


def promoted_work(store: "Store") -> set[str]:
    """The work behind promoted weights, which stays until their name is removed."""
    works = set()
    for entry in store.list(layout.WEIGHTS):
        if entry.key.endswith(".json") and "folds" in (stored := store.find_json(entry.key) or {}):
            for trained in PromotedRecord.model_validate(stored).folds.values():
                works |= {layout.work(trained.stage, trained.weights), layout.work(Stage.PREPARE, trained.index)}
    return works


def _record(store: "Store", key: str) -> Reference | Heartbeat | Damaged | None:
    """Read a reference or heartbeat, or return what is wrong with a reference.

    None for any other file, a damaged heartbeat, which a live task soon replaces, or what was deleted since it was
    listed.
    """
    from jobs.runtime.store import Missing

    is_beat = key.endswith("/heartbeat.json")
    of_task = key.split("/")[2].removesuffix(".json") in set(Stage)
    if not is_beat and (not of_task or layout.is_attempt_record(key)):
        return None
    try:
        return store.get_record(key, Heartbeat) if is_beat else store.get_record(key, Reference)
    except Missing:
        return None
    except Damaged as error:
        return None if is_beat else error


def _uploaded_films(store: "Store", run: str, others: Iterable[str]) -> tuple[str, ...]:
    """Prefixes of the films that ``submit`` uploaded for a run and no other run names."""
    needed = {source for name in others for source in _sources(store, name)}
    return tuple(
        source.removeprefix(f"{store.url}/")
        for source in dict.fromkeys(_sources(store, run))
        if source.startswith(f"{store.url}/{layout.SOURCES}") and source not in needed
    )


def _sources(store: "Store", run: str) -> list[str]:
    """Where a run's films come from: its own, then those beside the folds."""
    from jobs.runtime.store import Missing

    try:
        data = store.get_record(layout.run_experiment(run), Experiment).data
    except (Damaged, Missing):
        return []
    return [data.source, *(extra.source for extra in data.extra)]


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
            done = store.get_record(layout.done(work), Done)
        except (Damaged, Missing):
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

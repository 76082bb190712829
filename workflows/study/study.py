"""``cv.py study``: experiments run one after the other or only collected, and the log of what came of them."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract import environment
from jobs.contract.exits import TABLE, BadInput, Exit
from jobs.contract.profile import Profile
from jobs.runtime.provenance import revision
from workflows.local.machine import Machine
from workflows.manifest.spec import RunSpec
from workflows.store.opening import local_store, open_store
from workflows.study import page, table
from workflows.study.collect import Entry, collect
from workflows.study.compare import Difference, differences
from workflows.study.selection import Studied

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.runtime.store import Store


def run_all(studied: Sequence[Studied], profile: Profile, machine: Machine, console: "Console") -> dict[str, Exit]:
    """Run experiments here, one after the other. One that fails keeps none of the others from running.

    Args:
        studied: the experiments.
        profile: where pods would run.
        machine: what there is to deal out.
        console: where people read.

    Returns:
        Run → what came of it. After Ctrl-C those that were not begun are missing.
    """
    from workflows.local.execute import execute

    ended: dict[str, Exit] = {}
    for number, one in enumerate(studied, 1):
        console.rule(f"{number} of {len(studied)}: {one.experiment.name}", align="left")
        try:
            spec = RunSpec.of(one.experiment, profile, revision=revision(), run=one.run)
            ended[one.run] = execute(spec, machine, console)
        except BadInput as error:
            console.print(str(error), style="bold red", markup=False, soft_wrap=True)
            ended[one.run] = error.exit
        if ended[one.run] is Exit.CHECKPOINTED:
            break
    return ended


def orders(studied: Sequence[Studied], profile: Profile) -> list[RunSpec]:
    """The order of each experiment's run, for a cluster.

    Raises:
        BadInput: the films are a folder: uploading renames the runs, so that collecting would not find them.
    """
    if folder := next((one.experiment.data.source for one in studied if Path(one.experiment.data.source).is_dir()), ""):
        raise BadInput(
            f"--data {folder}: a study on a cluster reads films from its store. cv.py submit --data {folder} uploads "
            "them and prints their address; give that."
        )
    return [RunSpec.of(one.experiment, profile, revision=revision(), run=one.run) for one in studied]


@contextmanager
def study_store(profile: Profile | None) -> Iterator["Store"]:
    """The store that the runs are in: the profile's, else the configured one, else this machine's own.

    The environment names it while the context lasts, so that ``jobs compare`` opens the same.
    """
    if profile is None:
        with local_store():
            yield open_store()
        return
    store, before = open_store(profile.store), dict(os.environ)
    told = {environment.STORE: profile.store.url, environment.ADDRESSING: profile.store.addressing}
    os.environ.update(told | ({environment.ENDPOINT: store.endpoint} if store.endpoint else {}))
    try:
        yield store
    finally:
        os.environ.clear()
        os.environ.update(before)


def write_log(
    studied: Sequence[Studied], store: "Store", ended: dict[str, Exit], folder: Path, say: Callable[[str], None]
) -> tuple[list[Entry], dict[str, Difference]]:
    """Collect what the store knows and write ``study.md``, ``study.csv`` and ``study.html``.

    Args:
        studied: the experiments.
        store: where their runs are.
        ended: how runs of this session ended, for those that left no word in the store.
        folder: where the log goes.
        say: is told where it lies.

    Returns:
        What was collected, and run → its difference from its parent.
    """
    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda one: collect(store, one, _said(ended.get(one.run))), studied))
    apart = differences(entries)
    texts = {
        "study.md": table.as_markdown(entries, apart),
        "study.csv": table.as_csv(table.records(entries, apart)),
        "study.html": page.page(entries, apart),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        say(str(folder / name))
    return entries, apart


def _said(end: Exit | None) -> str:
    return "" if end in (None, Exit.DONE) else f"failed, exit code {int(end)}: {TABLE[end].says}"

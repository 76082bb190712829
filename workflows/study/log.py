"""Write the study log: collect each run from the store and write ``study.md``, ``study.csv`` and ``study.html``."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract import environment
from jobs.contract.exits import TABLE, Exit
from jobs.contract.profile import Profile
from workflows.store.opening import local_store, open_store
from workflows.study import page, table
from workflows.study.collect import LogEntry, collect
from workflows.study.comparison import Comparison, compare_with_parents
from workflows.study.selection import StudyExperiment

if TYPE_CHECKING:
    from jobs.runtime.store import Store


@contextmanager
def study_store(profile: Profile | None) -> Iterator["Store"]:
    """Open the store that has the runs: the profile's, else the configured one, else this machine's own.

    Inside the block the environment names this store, so that ``python -m jobs compare`` opens the same one.
    """
    if profile is None:
        with local_store():
            yield open_store()
        return
    store, before = open_store(profile.store), dict(os.environ)
    variables = {environment.STORE: profile.store.url, environment.ADDRESSING: profile.store.addressing}
    os.environ.update(variables | ({environment.ENDPOINT: store.endpoint} if store.endpoint else {}))
    try:
        yield store
    finally:
        os.environ.clear()
        os.environ.update(before)


def write_log(
    studied: Sequence[StudyExperiment],
    store: "Store",
    exits: Mapping[str, Exit],
    folder: Path,
    report: Callable[[str], None],
) -> tuple[list[LogEntry], dict[str, Comparison]]:
    """Collect the runs and write the log as Markdown, CSV and a page.

    Args:
        studied: the experiments.
        store: where their runs are.
        exits: exit codes of the runs that this command ran, to explain those that stored nothing.
        folder: where the log is written.
        report: called with the path of each file.

    Returns:
        The collected entries, and run → its comparison with its parent.
    """
    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda item: collect(store, item, _failure(exits.get(item.run))), studied))
    comparisons = compare_with_parents(entries)
    texts = {
        "study.md": table.as_markdown(entries, comparisons),
        "study.csv": table.as_csv(table.records(entries, comparisons)),
        "study.html": page.page(entries, comparisons),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        report(str(folder / name))
    return entries, comparisons


def _failure(exit_code: Exit | None) -> str:
    return "" if exit_code in (None, Exit.DONE) else f"failed, exit code {int(exit_code)}: {TABLE[exit_code].says}"

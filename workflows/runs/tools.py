"""Run a tool of the work side: a process that has a run's store, because the control side loads no torch."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.contract.extras import check_installed
from jobs.contract.profile import StoreSettings
from workflows.store.opening import cache_variables, open_store, store_variables
from workflows.store.process import dies_with_parent

if TYPE_CHECKING:
    from workflows.runs.run import Run


def run_tool(run: "Run", tool: str, arguments: Sequence[str]) -> int:
    """Run ``python -m jobs TOOL ARGUMENTS`` with the run's store; return its exit code.

    Raises:
        BadInput: only the control side is installed here.
        ServiceAway: the store does not answer.
    """
    return run_on_store(run.settings.store if run.settings else None, tool, arguments)


def run_on_store(settings: StoreSettings | None, tool: str, arguments: Sequence[str]) -> int:
    """Run a tool as :func:`run_tool` does, with a profile's store, or for None the environment's."""
    check_installed("This command", "torch", extra="jobs,detector")
    open_store(settings)  # opened here first: it says at once where a store cannot be reached
    return subprocess.run(
        [sys.executable, "-m", "jobs", tool, *arguments],
        env={**os.environ, **store_variables(settings), **cache_variables()},
        preexec_fn=dies_with_parent(),
        check=False,
    ).returncode

"""Run the experiments of a study here, one after the other, or order their runs for a cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.contract.exits import BadInput, Exit
from jobs.contract.profile import Profile
from jobs.runtime.provenance import revision
from workflows.local.machine import Machine
from workflows.manifest.spec import RunSpec
from workflows.study.selection import StudyExperiment

if TYPE_CHECKING:
    from rich.console import Console


def run_all(
    studied: Sequence[StudyExperiment], profile: Profile, machine: Machine, console: "Console"
) -> dict[str, Exit]:
    """Run experiments here, one after the other. A failed one does not stop the rest; Ctrl-C does.

    Args:
        studied: the experiments.
        profile: where pods would run.
        machine: the cores and GPUs to use.
        console: where progress is shown.

    Returns:
        Run → exit code. Runs that Ctrl-C kept from starting are missing.
    """
    from workflows.local.execute import execute

    exits: dict[str, Exit] = {}
    for number, item in enumerate(studied, 1):
        console.rule(f"{number} of {len(studied)}: {item.experiment.name}", align="left")
        try:
            exits[item.run] = execute(_order(item, profile), machine, console)
        except BadInput as error:
            console.print(str(error), style="bold red", markup=False, soft_wrap=True)
            exits[item.run] = error.exit
        if exits[item.run] is Exit.CHECKPOINTED:
            break
    return exits


def orders(studied: Sequence[StudyExperiment], profile: Profile) -> list[RunSpec]:
    """The order of each experiment's run, for a cluster.

    Raises:
        BadInput: the films are a folder: uploading them would change the runs' names, so collecting would not find
            the runs.
    """
    films = [item.experiment.data for item in studied]
    sources = [source for data in films for source in (data.source, *(extra.source for extra in data.extra))]
    folders = (source for source in sources if Path(source).is_dir())
    if folder := next(folders, None):
        raise BadInput(
            f"--data {folder}: a study on a cluster reads films from its store. Upload them with cv.py submit "
            f"--data {folder}, and give the address that it prints."
        )
    return [_order(item, profile) for item in studied]


def _order(item: StudyExperiment, profile: Profile) -> RunSpec:
    return RunSpec.of(item.experiment, profile, revision=revision(), run=item.run)

"""The order of the tasks: when one may start, when it never will, and what the whole came to."""

import re
from collections.abc import Mapping
from enum import StrEnum

from jobs.contract.exits import BadInput
from workflows.local.program import Program, Step
from workflows.manifest.expression import evaluate

_NAME = re.compile(r"[A-Za-z0-9_-]+(?=[.\s)&|]|$)")
_ENDS = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned")


class State(StrEnum):
    """What became of a task."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OMITTED = "omitted"  # what it depends on did not come true
    STOPPED = "stopped"  # by the user, before its end

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self not in (State.WAITING, State.RUNNING)


def upstream(program: Program) -> dict[str, tuple[str, ...]]:
    """The tasks that each task's ``depends`` names.

    Raises:
        BadInput: where one is not there, or a task waits for itself by way of others.
    """
    names = {step.name for step in program.steps}
    found: dict[str, tuple[str, ...]] = {}
    for step in program.steps:
        words = [word for word in _NAME.findall(re.sub(r"\.\w+", "", step.depends)) if word]
        if unknown := [word for word in words if word not in names]:
            raise BadInput(f"task {step.name}.depends: there is no task {unknown[0]}")
        found[step.name] = tuple(dict.fromkeys(words))
    for name in found:
        if name in ancestors(name, found):
            raise BadInput(f"task {name}.depends: it waits for itself")
    return found


def ancestors(name: str, above: Mapping[str, tuple[str, ...]]) -> set[str]:
    """All tasks that must end before one starts."""
    found: set[str] = set()
    queue = list(above[name])
    while queue:
        if (one := queue.pop()) not in found:
            found.add(one)
            queue += above[one]
    return found


def beside(name: str, above: Mapping[str, tuple[str, ...]]) -> int:
    """How many tasks may run at the same time as one, itself included: neither before nor after it."""
    before = ancestors(name, above)
    return sum(1 for other in above if other not in before and name not in ancestors(other, above))


def may_start(step: Step, above: tuple[str, ...], states: Mapping[str, State]) -> bool | None:
    """Whether a waiting task starts now: yes, never (False), or not known yet (None).

    Raises:
        BadInput: where the ``depends`` is outside what can be evaluated here.
    """
    if any(not states[name].ended for name in above):
        return None  # Argo, too, decides once everything named has ended
    if not step.depends:
        return True
    values: dict[str, bool] = {}
    for name in above:
        # Argo itself replaces dashes before it evaluates.
        key = name.replace("-", "_")
        came = states[name].value.capitalize()
        values |= {f"{key}.{end}": end == came for end in _ENDS}
        values[key] = states[name] is State.SUCCEEDED
    try:
        return evaluate(step.depends.replace("-", "_"), values)
    except ValueError as error:
        raise BadInput(f"task {step.name}.depends: {error}") from error


def last_tasks(above: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The tasks that no other waits for."""
    needed = {name for names in above.values() for name in names}
    return tuple(name for name in above if name not in needed)


def needed(targets: tuple[str, ...], above: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The targets and all they wait for: what a run executes.

    Raises:
        BadInput: where a target is no task.
    """
    if unknown := [name for name in targets if name not in above]:
        raise BadInput(f"dag.target: there is no task {unknown[0]}")
    return {one for name in targets for one in (name, *ancestors(name, above))}


def failed(targets: tuple[str, ...], above: Mapping[str, tuple[str, ...]], states: Mapping[str, State]) -> bool:
    """Whether the DAG failed: by its targets, as Argo has it. One left out counts by what it waited for."""
    for name in targets:
        if states[name] in (State.FAILED, State.STOPPED):
            return True
        if states[name] is State.OMITTED and any(states[one] is State.FAILED for one in ancestors(name, above)):
            return True
    return False

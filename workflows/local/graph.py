"""The order of a program's steps: when a step may start or is omitted, and whether the DAG failed."""

import re
from collections.abc import Mapping
from enum import StrEnum

from jobs.contract.exits import BadInput
from workflows.local.program import Program, Step
from workflows.manifest.expression import evaluate

_NAME = re.compile(r"[A-Za-z0-9_-]+(?=[.\s)&|]|$)")
_ENDS = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned")


class State(StrEnum):
    """The state of a step."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OMITTED = "omitted"  # its ``depends`` evaluated to false
    STOPPED = "stopped"  # by the user or the run's deadline, before its end

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self not in (State.WAITING, State.RUNNING)


def find_parents(program: Program) -> dict[str, tuple[str, ...]]:
    """Return the steps that each step's ``depends`` names: its parents.

    Raises:
        BadInput: a parent does not exist, or the dependencies have a cycle.
    """
    names = {step.name for step in program.steps}
    parents: dict[str, tuple[str, ...]] = {}
    for step in program.steps:
        words = [word for word in _NAME.findall(re.sub(r"\.\w+", "", step.depends)) if word]
        if unknown := [word for word in words if word not in names]:
            raise BadInput(f"task {step.name}.depends: there is no task {unknown[0]}")
        parents[step.name] = tuple(dict.fromkeys(words))
    for name in parents:
        if name in ancestors(name, parents):
            raise BadInput(f"task {name}.depends: it depends on itself")
    return parents


def ancestors(name: str, parents: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return all steps that must end before a step starts."""
    found: set[str] = set()
    queue = list(parents[name])
    while queue:
        if (parent := queue.pop()) not in found:
            found.add(parent)
            queue += parents[parent]
    return found


def concurrent_steps(name: str, parents: Mapping[str, tuple[str, ...]]) -> int:
    """Return how many steps may run at the same time as a step, itself included: neither ancestor nor descendant."""
    before = ancestors(name, parents)
    return sum(1 for other in parents if other not in before and name not in ancestors(other, parents))


def may_start(step: Step, parents: tuple[str, ...], states: Mapping[str, State]) -> bool | None:
    """Return whether a waiting step may start: True, never (False), or undecided (None) while a parent still runs.

    Raises:
        BadInput: the engine cannot evaluate ``depends``.
    """
    if any(not states[name].ended for name in parents):
        return None  # like Argo, decide once all parents have ended
    if not step.depends:
        return True
    values: dict[str, bool] = {}
    for name in parents:
        # Argo replaces dashes before it evaluates, too.
        key = name.replace("-", "_")
        result = states[name].value.capitalize()
        values |= {f"{key}.{name_of_end}": name_of_end == result for name_of_end in _ENDS}
        values[key] = states[name] is State.SUCCEEDED
    try:
        return evaluate(step.depends.replace("-", "_"), values)
    except ValueError as error:
        raise BadInput(f"task {step.name}.depends: {error}") from error


def last_steps(parents: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the steps that no other step depends on."""
    depended_on = {name for names in parents.values() for name in names}
    return tuple(name for name in parents if name not in depended_on)


def with_ancestors(targets: tuple[str, ...], parents: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return the targets and all their ancestors: the steps that a run executes.

    Raises:
        BadInput: a target does not exist.
    """
    if unknown := [name for name in targets if name not in parents]:
        raise BadInput(f"dag.target: there is no task {unknown[0]}")
    return {step for name in targets for step in (name, *ancestors(name, parents))}


def reached_end(parents: Mapping[str, tuple[str, ...]], states: Mapping[str, State]) -> bool:
    """Return whether every last step succeeded: the run has its result, whatever else failed."""
    return all(states.get(name) is State.SUCCEEDED for name in last_steps(parents))


def failed(targets: tuple[str, ...], parents: Mapping[str, tuple[str, ...]], states: Mapping[str, State]) -> bool:
    """Return whether the DAG failed, judged by its targets as in Argo; an omitted one failed if an ancestor did."""
    for name in targets:
        if states[name] in (State.FAILED, State.STOPPED):
            return True
        if states[name] is State.OMITTED and any(states[step] is State.FAILED for step in ancestors(name, parents)):
            return True
    return False

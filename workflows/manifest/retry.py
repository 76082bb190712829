"""When a task is tried again: Argo's retry expression, written from the table of exit codes, and its evaluation."""

from dataclasses import dataclass
from typing import Final

from jobs.contract.exits import TABLE, Exit
from workflows.manifest.expression import evaluate

OOM_KILLED: Final = "OOMKilled"

# What Argo reports as exit code where it saw none: 0 of a deleted pod, -1 of an evicted or refused one.
UNSEEN: Final = ("0", "-1")

# Pods that were refused or evicted for what they are: the next one would be, too.
HOPELESS: Final = "forbidden|[Ii]nvalid|exceeds the limit"


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended, in the words of Argo's ``lastRetry``."""

    exit_code: str
    status: str = "Failed"
    message: str = ""
    retries: int = 0  # attempts before this one


def expression() -> str:
    """The condition for another attempt, for Argo's ``retryStrategy.expression``.

    Argo has no count of OOM kills alone, so the one retry after an OOM kill is given to a task's first attempt.
    """
    again = [str(code.value) for code, meaning in TABLE.items() if meaning.retry and code is not Exit.KILLED]
    parts = [f"lastRetry.exitCode in {_list(again)}"]
    if TABLE[Exit.KILLED].retry:
        oom = f"lastRetry.message contains '{OOM_KILLED}'"
        parts.append(f"lastRetry.exitCode == '{Exit.KILLED.value}' && (!({oom}) || asInt(retries) < 1)")
    parts.append(f"lastRetry.exitCode in {_list(UNSEEN)} && !(lastRetry.message matches '{HOPELESS}')")
    return " || ".join(f"({part})" for part in parts)


def tries_again(expression: str, end: AttemptEnd) -> bool:
    """Whether a retry expression, as built into a workflow, asks for another attempt.

    Raises:
        ValueError: where the expression is outside what ``workflows.manifest.expression`` understands.
    """
    return evaluate(
        expression,
        {
            "retries": str(end.retries),
            "lastRetry.exitCode": end.exit_code,
            "lastRetry.status": end.status,
            "lastRetry.message": end.message,
        },
    )


def _list(values: list[str] | tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"

"""Argo's retry expression, generated from the table of exit codes, and its evaluation."""

from dataclasses import dataclass
from typing import Final

from jobs.contract.exits import TABLE, Exit
from workflows.manifest.expression import evaluate

OOM_KILLED: Final = "OOMKilled"

# Argo's exit codes of pods without an own one: 0 of a deleted pod, -1 of an evicted or rejected one.
UNSEEN: Final = ("0", "-1")

# Argo's expression for the time at which it creates the pod of an attempt. It names retries, so that it is evaluated
# then, not when the workflow starts.
CREATION_TIME: Final = "=retries == '' ? '' : string(now().Unix())"

# Messages of rejections and evictions that would happen to the next pod, too.
PERMANENT: Final = "forbidden|[Ii]nvalid|exceeds the limit"


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended: the fields of Argo's ``lastRetry``."""

    exit_code: str
    status: str = "Failed"
    message: str = ""
    retries: int = 0  # attempts before this one


def expression() -> str:
    """The condition for another attempt, for Argo's ``retryStrategy.expression``.

    Argo does not count OOM kills, so only a task's first attempt is retried after one.
    """
    again = [str(code.value) for code, meaning in TABLE.items() if meaning.retry and code is not Exit.KILLED]
    parts = [f"lastRetry.exitCode in {_list(again)}"]
    if TABLE[Exit.KILLED].retry:
        oom = f"lastRetry.message contains '{OOM_KILLED}'"
        parts.append(f"lastRetry.exitCode == '{Exit.KILLED.value}' && (!({oom}) || asInt(retries) < 1)")
    parts.append(f"lastRetry.exitCode in {_list(UNSEEN)} && !(lastRetry.message matches '{PERMANENT}')")
    return " || ".join(f"({part})" for part in parts)


def tries_again(expression: str, end: AttemptEnd) -> bool:
    """Whether a retry expression, as built into a workflow, asks for another attempt.

    Raises:
        ValueError: ``workflows.manifest.expression`` does not support the expression.
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

"""Sending and repeating S3 requests: about a minute for each, and less once the stage is asked to stop.

botocore's own retries are replaced: they do not repeat a request whose error body is cut, nor 408, 409 and 429, and
they believe an answer that ends within its head.
"""

import logging
import random
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from jobs.runtime.preemption import Stop
from jobs.runtime.s3.errors import NO_ANSWER, BrokenAnswer, Redirected, answer_text, transient_answer

log = logging.getLogger(__name__)

ATTEMPTS: Final = 9
FIRST_PAUSE: Final = 0.25  # seconds; doubles, so that eight pauses last about a minute
PATIENCE: Final = 60.0  # seconds from its beginning in which a request is repeated
STOPPING_PATIENCE: Final = 10.0  # the same once the stage is asked to stop
BEGAN: Final = "cxrfold-began"  # in a call's context
READ_TIMEOUT: Final = 20.0  # seconds without a byte


class Retries:
    """How one client sends its requests.

    Attributes:
        stop: set by a stage, so that a server that does not answer cannot outlast its wish to stop.
    """

    def __init__(self) -> None:
        self.stop = Stop()

    def attach(self, client: Any) -> None:
        """Send and repeat the requests of a boto3 client."""
        session, events = client._endpoint.http_session, client.meta.events
        events.unregister("needs-retry.s3", unique_id="retry-config-s3")
        events.register("needs-retry.s3", self._needs_retry)
        events.register("before-call.s3", _note_begin)
        events.register("before-send.s3", lambda request, **_: _send(session, request))

    def read(self, request: Callable[[], dict[str, Any]]) -> tuple[bytes, dict[str, Any]]:
        """Return the body of an answer that a function requests, and the answer; request it again where it is cut."""
        attempts, began = 0, time.monotonic()
        while True:
            answer = request()
            try:
                return bytes(answer["Body"].read()), answer
            except NO_ANSWER:
                attempts += 1
                if not self._pause(attempts, began):
                    raise

    def _needs_retry(
        self, response: Any, attempts: int, caught_exception: Exception | None, request_dict: dict[str, Any], **_: Any
    ) -> int | None:
        """Handle botocore's event after each attempt: return 0 to repeat the request at once, None to leave it."""
        if caught_exception is None:
            code = str(response[1].get("Error", {}).get("Code", ""))
            status = response[0].status_code
            if status < HTTPStatus.MULTIPLE_CHOICES or not transient_answer(status, code):
                return None
            problem = answer_text(status, code)
        elif isinstance(caught_exception, NO_ANSWER):
            problem = str(caught_exception)
        else:
            return None
        began = request_dict["context"][BEGAN]
        if attempts == 2:  # once per request, before the pauses grow long
            log.warning("S3 does not answer; retrying for about a minute: %s", problem)
        return 0 if self._pause(attempts, began) else None

    def _pause(self, attempts: int, began: float) -> bool:
        """Wait before the next attempt; False where there were enough."""
        patience = STOPPING_PATIENCE if self.stop.requested else PATIENCE
        if attempts >= ATTEMPTS or time.monotonic() - began > patience:
            return False
        seconds = FIRST_PAUSE * 2 ** (attempts - 1) * random.uniform(0.7, 1.3)  # noqa: S311 - no cryptography
        if self.stop.requested:
            time.sleep(min(seconds, 1.0))
        else:
            self.stop.wait(seconds)
        return True


def _note_begin(context: dict[str, Any], **_: Any) -> None:
    """Note in a call's context when it began: a server that never answers uses up all patience with one attempt."""
    context[BEGAN] = time.monotonic()


def _send(session: Any, request: Any) -> Any:
    """Send a request; an answer that is refused is closed, or its socket would wait for the garbage collector.

    Raises:
        BrokenAnswer: the answer is cut, or a temporary redirect to nowhere.
        Redirected: the server refers to another URL.
    """
    answer = session.send(request)
    try:
        _check(answer, request)
    except (BrokenAnswer, Redirected):
        answer.raw.close()
        raise
    return answer


def _check(answer: Any, request: Any) -> None:
    """Check an answer; an error's body is read here, where a failure to read it counts as a failed attempt."""
    status, headers = answer.status_code, answer.headers
    length = headers.get("Content-Length")
    if status != HTTPStatus.NO_CONTENT and length is None and "Transfer-Encoding" not in headers:
        raise BrokenAnswer(f"{request.method} was answered by {status} and a head without Content-Length")
    if status in (301, 302, 307) and "x-amz-bucket-region" not in headers:  # botocore would ask for it for ever
        target = f"{status} to {headers.get('Location', 'nowhere')}"
        raise (BrokenAnswer if status == HTTPStatus.TEMPORARY_REDIRECT else Redirected)(target)
    if status >= HTTPStatus.MULTIPLE_CHOICES or not request.stream_output:
        received = len(answer.content)
        if length is not None and request.method != "HEAD" and received < int(length):
            raise BrokenAnswer(f"{request.method} was answered by {status} and {received} of {length} bytes")

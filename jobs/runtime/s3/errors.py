"""Failures of S3 requests: which may pass, so that the request is repeated, and what the others mean.

One table serves every call. An error that may pass becomes :class:`ServiceAway` once retries are used up.
"""

import time
from http import HTTPStatus
from http.client import HTTPException
from typing import Final

import urllib3
from boto3.exceptions import Boto3Error
from botocore import exceptions as aws
from botocore.parsers import ResponseParserError

from jobs.contract import environment
from jobs.contract.clock import ServerClock
from jobs.contract.exits import BadInput, ServiceAway

# Answers that another attempt may not get. Servers give the codes with statuses of their own choice.
TRANSIENT_CODES: Final = {
    "SlowDown", "SlowDownRead", "SlowDownWrite", "ServerBusy", "Throttling", "ThrottlingException", "TooManyRequests",
    "RequestLimitExceeded", "BandwidthLimitExceeded", "RequestTimeout", "RequestTimeTooSkewed", "InternalError",
    "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict", "TemporaryRedirect", "IncompleteBody",
    "BadDigest", "XAmzContentSHA256Mismatch",
}  # fmt: skip
TRANSIENT_STATUSES: Final = {
    HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS,
}  # fmt: skip
WRONG_KEYS: Final = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403", "InvalidToken", "ExpiredToken",
}  # fmt: skip
WRONG_CLOCK: Final = {"RequestTimeTooSkewed", "RequestExpired"}
SKEW_SECONDS: Final = 900.0  # S3 refuses from here on, and an answer without a body does not say why
NOT_THERE: Final = {"404", "NoSuchKey", "NotFound"}
NO_FIRST_BYTE: Final = {"416", "InvalidRange"}  # of an empty object
# No answer, or one that ends early.
NO_ANSWER: Final = (
    aws.ConnectionError, aws.HTTPClientError, aws.ResponseStreamingError, aws.IncompleteReadError, HTTPException,
    urllib3.exceptions.HTTPError,
)  # fmt: skip


class Missing(KeyError):
    """There is no object with that key."""


class BrokenAnswer(HTTPException):
    """The server's answer is cut, or redirects without saying where to."""


class Redirected(Exception):
    """The server refers to another URL, as web servers do and S3 does not."""


def transient_answer(status: int, code: str) -> bool:
    """Whether a later request may get another answer than this error."""
    if code in TRANSIENT_CODES or status in TRANSIENT_STATUSES:
        return True
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED


def answer_text(status: int, code: str) -> str:
    """Return an error's status and S3's code for a message: once, where the code says nothing else."""
    return str(status) if code in ("", str(status)) else f"{status} {code}"


def error_code(error: BaseException) -> str:
    """S3's code of an error, e.g. ``NoSuchKey``; empty where the error is no answer of S3."""
    answer = _answer(error)
    return str(answer.response.get("Error", {}).get("Code", "")) if answer else ""


def explain(error: Exception, url: str, key: str, endpoint: str, seconds: float) -> Exception | None:
    """Return what a failed call means: Missing, ServiceAway or BadInput; None for an error of another kind.

    Args:
        error: what boto3 raised.
        url: the store's URL.
        key: the object's key in the store; empty for the store itself.
        endpoint: the server's URL.
        seconds: duration of the call, retries included.
    """
    place = f"{url}/{key}" if key else url
    if answer := _answer(error):
        return _explain_answer(answer, place, key, endpoint, seconds)
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError):
        return BadInput(
            f"No credentials for {place}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role."
        )
    if isinstance(error, NO_ANSWER):
        return ServiceAway(
            f"The S3 server {endpoint} did not answer in {seconds:.0f} s: {error}. "
            f"Check that it runs and that {environment.ENDPOINT} is its URL."
        )
    if isinstance(error, ResponseParserError | Redirected):
        return BadInput(
            f"{endpoint} does not answer like an S3 server ({error}): check that {environment.ENDPOINT} is its URL."
        )
    if isinstance(error, aws.BotoCoreError):
        return BadInput(f"{place} at {endpoint} cannot be used: {error}")
    if isinstance(error, Boto3Error):
        return ServiceAway(f"The transfer of {place} failed after {seconds:.0f} s: {error}")
    return None


def _answer(error: BaseException | None) -> aws.ClientError | None:
    """The answer of S3 behind an error; transfers wrap it."""
    while error and not isinstance(error, aws.ClientError):
        error = (error.__cause__ or error.__context__) if isinstance(error, Boto3Error) else None
    return error


def _clock(error: aws.ClientError) -> ServerClock:
    """The server's clock, from its answer."""
    clock, now = ServerClock(), time.time()
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    clock.read(headers.get("date"), now - 10, now)  # when the request was sent is not known
    return clock


def _explain_answer(error: aws.ClientError, place: str, key: str, endpoint: str, seconds: float) -> Exception:
    code = error_code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    answered = answer_text(status, code)
    if code == "NoSuchBucket" or (code in NOT_THERE and not key):
        bucket = place.removeprefix("s3://").split("/")[0]
        return BadInput(f"There is no bucket {bucket} at {endpoint}: create it, or name another one in {place}.")
    if code in NOT_THERE:
        return Missing(key)
    if code in WRONG_CLOCK or (code in WRONG_KEYS and abs(_clock(error).ahead) > SKEW_SECONDS):
        return ServiceAway(
            f"{endpoint} refused a request for {place} because of this machine's clock, not of the keys ({code}). "
            f"{_clock(error).remark(endpoint)}".rstrip()
        )
    if transient_answer(status, code):
        return ServiceAway(f"{endpoint} answered {answered} for {place}, also after {seconds:.0f} s of retries.")
    if code in WRONG_KEYS:
        return BadInput(f"{endpoint} refused the credentials for {place} ({code}): check them and the bucket's policy.")
    message = str(error.response.get("Error", {}).get("Message", ""))
    return BadInput(
        f"{endpoint} answered {answered} for {place}{message and f': {message[:200]}'}. Check the bucket's settings, "
        f"and that {environment.ENDPOINT} is the URL of an S3 server."
    )

"""The object store: a bucket and a prefix on anything that speaks S3 (AWS, MinIO, SeaweedFS).

Keys are relative to the prefix. Every call retries with backoff. What still fails raises :class:`ServiceAway` where a
later attempt may succeed, and :class:`BadInput` where the settings are wrong.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as aws
from botocore.config import Config

from jobs.contract import environment
from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.records import Output
from jobs.runtime.disk import room_in

log = logging.getLogger(__name__)

# Objects above the threshold are moved in parallel parts.
TRANSFER: Final = TransferConfig(
    multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=8, num_download_attempts=8
)
# Seven pauses that double last about a minute. Only botocore's legacy mode does that: the standard mode waits three
# seconds in total, and less where many threads retry at once.
RETRIES: Final = {"mode": "legacy", "total_max_attempts": 8}
WRONG_KEYS: Final = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "403",
    "InvalidToken",
    "ExpiredToken",
}
NOT_THERE: Final = {"404", "NoSuchKey", "NotFound"}


class Missing(KeyError):
    """There is no object with that key."""


class Damaged(ServiceAway):
    """The bytes received are not the bytes that were stored."""


@dataclass(frozen=True)
class Entry:
    """One object of a listing."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass
class Moved:
    """Bytes that this process has sent and received."""

    up: int = 0
    down: int = 0


@dataclass(frozen=True)
class Store:
    """A bucket and a prefix."""

    bucket: str
    prefix: str
    endpoint: str | None
    client: Any = field(repr=False, compare=False)
    moved: Moved = field(default_factory=Moved, compare=False)

    @classmethod
    def open(
        cls, url: str, *, endpoint: str | None = None, region: str | None = None, addressing: str = "auto"
    ) -> "Store":
        """Open ``s3://bucket/prefix`` with the credentials that boto3 finds. Nothing is sent yet.

        Raises:
            BadInput: the URL is not an S3 URL.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise BadInput(f"{url!r} is not an S3 URL: write s3://bucket or s3://bucket/prefix.")
        config = Config(
            retries=RETRIES,
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=32,
            s3={"addressing_style": addressing},
            # Servers other than AWS refuse or ignore the checksums that boto3 adds by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        client = boto3.session.Session().client("s3", endpoint_url=endpoint, region_name=region, config=config)
        client.meta.events.register_first("needs-retry.s3", _warn_of_retries)
        prefix = parts.path.strip("/")
        return cls(parts.netloc, f"{prefix}/" if prefix else "", endpoint, client)

    @classmethod
    def from_environment(cls) -> "Store":
        """Open the store that the environment names.

        Raises:
            BadInput: it names none.
        """
        url = os.environ.get(environment.STORE)
        if not url:
            raise BadInput(f"No store: set {environment.STORE} to s3://bucket or s3://bucket/prefix.")
        return cls.beside(url)

    @classmethod
    def beside(cls, url: str) -> "Store":
        """Open another URL with the environment's endpoint and addressing."""
        endpoint = os.environ.get(environment.ENDPOINT) or None
        return cls.open(url, endpoint=endpoint, addressing=os.environ.get(environment.ADDRESSING, "auto"))

    @property
    def url(self) -> str:
        """The URL, as it was opened."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object. With ``if_absent``, write nothing and return False where there is one already."""
        arguments = {"Bucket": self.bucket, "Key": self.prefix + key, "Body": data}
        with self._explained(key):
            if if_absent and not self._put_new(arguments):
                return False
            if not if_absent:
                self.client.put_object(**arguments)
        self.moved.up += len(data)
        return True

    def _put_new(self, arguments: dict[str, Any]) -> bool:
        try:
            self.client.put_object(**arguments, IfNoneMatch="*")
        except aws.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in {"PreconditionFailed", "412", "ConditionalRequestConflict"}:
                return False
            if code not in {"NotImplemented", "501"}:
                raise
            # A server without conditional writes: another writer may come between the check and the write.
            if self.size(str(arguments["Key"]).removeprefix(self.prefix)) is not None:
                return False
            self.client.put_object(**arguments)
        return True

    def get(self, key: str) -> bytes:
        """Read a small object.

        Raises:
            Missing: there is none.
        """
        with self._explained(key):
            data: bytes = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()
        self.moved.down += len(data)
        return data

    def put_json(self, key: str, value: Any, *, if_absent: bool = False) -> bool:
        """Write a JSON object."""
        return self.put(key, json.dumps(value, indent=1, allow_nan=False).encode(), if_absent=if_absent)

    def get_json(self, key: str) -> Any:
        """Read a JSON object; :class:`Missing` where there is none."""
        return json.loads(self.get(key))

    def upload(self, path: Path, key: str) -> Output:
        """Upload a file, a large one in parallel parts."""
        size, sha256 = path.stat().st_size, sha256_of(path)
        with self._explained(key):
            self.client.upload_file(str(path), self.bucket, self.prefix + key, Config=TRANSFER)
        self.moved.up += size
        return Output(key=key, sha256=sha256, size=size)

    def download(self, what: Output | str, path: Path) -> Path:
        """Download an object to a file, which appears only when complete.

        An :class:`Output` is verified by its sha256.

        Raises:
            Missing: there is no such object.
            Damaged: the bytes are not those that were stored.
            BadInput: the disk is full.
        """
        key = what if isinstance(what, str) else what.key
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_beside(path) as temporary, room_in(path.parent), self._explained(key):
            self.client.download_file(self.bucket, self.prefix + key, str(temporary), Config=TRANSFER)
            if isinstance(what, Output) and sha256_of(temporary) != what.sha256:
                raise Damaged(f"{self.url}/{key} is damaged: its SHA-256 is not that of the stored bytes.")
            self.moved.down += temporary.stat().st_size
            temporary.replace(path)
        return path

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None where there is none."""
        try:
            with self._explained(key):
                return int(self.client.head_object(Bucket=self.bucket, Key=self.prefix + key)["ContentLength"])
        except Missing:
            return None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """List all objects under a prefix, in order of their keys."""
        with self._explained(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    key = item["Key"].removeprefix(self.prefix)
                    yield Entry(key, item["Size"], item["ETag"].strip('"'), item["LastModified"])

    def folders(self, prefix: str) -> Iterator[str]:
        """List the names of the folders directly under a prefix (which ends with a slash)."""
        with self._explained(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix, Delimiter="/"
            )
            for page in pages:
                for item in page.get("CommonPrefixes", ()):
                    yield item["Prefix"].removeprefix(self.prefix + prefix).rstrip("/")

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._delete_one, keys))

    def _delete_one(self, key: str) -> None:
        with self._explained(key):
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def delete_prefix(self, prefix: str) -> None:
        """Delete all objects under a prefix."""
        self.delete([entry.key for entry in self.list(prefix)])

    def create_bucket(self) -> None:
        """Create the bucket unless it exists."""
        try:
            with self._explained(""):
                self.client.create_bucket(Bucket=self.bucket)
        except BadInput:
            with self._explained(""):
                self.client.head_bucket(Bucket=self.bucket)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Raise boto3's errors as Missing, ServiceAway or BadInput."""
        where = self.endpoint or "AWS S3"
        try:
            yield
        except aws.ClientError as error:
            raise self._explain(error, key, where) from error
        except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
            raise BadInput(
                f"No credentials for {self.url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role."
            ) from error
        except (aws.ConnectionError, aws.HTTPClientError, aws.ResponseStreamingError, aws.IncompleteReadError) as error:
            raise ServiceAway(
                f"The S3 server {where} did not answer for about a minute: {error}. "
                f"Check that it runs and that {environment.ENDPOINT} is its URL."
            ) from error
        except aws.BotoCoreError as error:
            raise BadInput(f"{self.url} at {where} cannot be used: {error}") from error
        except boto3.exceptions.Boto3Error as error:
            cause = error.__cause__ or error.__context__
            if isinstance(cause, aws.ClientError):
                raise self._explain(cause, key, where) from error
            raise ServiceAway(f"Moving {self.url}/{key} failed: {error}") from error

    def _explain(self, error: aws.ClientError, key: str, where: str) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "NoSuchBucket" or (code in NOT_THERE and not key):
            return BadInput(f"There is no bucket {self.bucket} at {where}: create it, or name another in {self.url}.")
        if code in NOT_THERE:
            return Missing(key)
        if code in WRONG_KEYS:
            return BadInput(
                f"{where} refused the credentials for {self.url} ({code}): check them and the bucket's policy."
            )
        if status >= 500 or code in {"SlowDown", "RequestTimeout"}:
            return ServiceAway(f"{where} answered {status} {code} for {self.url}/{key} for about a minute.")
        return BadInput(f"{where} refused {self.url}/{key}: {error}")


def _warn_of_retries(attempts: int, caught_exception: Exception | None, **_: Any) -> None:
    """Log a warning once per request, before the pauses grow long."""
    if attempts == 2 and caught_exception:
        log.warning("S3 does not answer; retrying for about a minute: %s", caught_exception)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)

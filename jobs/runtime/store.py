"""The object store: a bucket and a prefix on anything that speaks S3 (AWS, MinIO, SeaweedFS).

Keys are relative to the prefix. Every call retries for about a minute (:mod:`jobs.runtime.s3.retries`). What still
fails raises :class:`ServiceAway` where a later attempt may succeed, and :class:`BadInput` where the settings are wrong
(:mod:`jobs.runtime.s3.errors`).
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as aws

from jobs.contract import environment
from jobs.contract.clock import ServerClock
from jobs.contract.exits import BadInput, Damaged
from jobs.contract.s3_url import split_url
from jobs.contract.stored.records import Output
from jobs.runtime.failures.disk import room_in
from jobs.runtime.s3.client import open_client
from jobs.runtime.s3.errors import NO_FIRST_BYTE, error_code, explain
from jobs.runtime.s3.errors import Missing as Missing
from jobs.runtime.s3.files import sha256_of as sha256_of
from jobs.runtime.s3.files import sync, temporary_beside
from jobs.runtime.s3.records import Stored, decode_json, decode_record
from jobs.runtime.s3.retries import Retries

# Objects above the threshold are moved in parallel parts.
TRANSFER: Final = TransferConfig(
    multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=8, num_download_attempts=8
)
UPLOADS: Final = 3  # of one file, if the store forgets an upload in parts
DOWNLOADS: Final = 2  # of one object whose bytes are not those stored


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
    retries: Retries = field(repr=False, compare=False)
    moved: Moved = field(default_factory=Moved, compare=False)
    clock: ServerClock = field(default_factory=ServerClock, compare=False)

    @classmethod
    def open(
        cls, url: str, *, endpoint: str | None = None, region: str | None = None, addressing: str = "auto"
    ) -> "Store":
        """Open ``s3://bucket/prefix`` with the credentials that boto3 finds. Nothing is sent yet.

        Raises:
            BadInput: the URL is not an S3 URL, or a setting of the client is not valid.
        """
        bucket, prefix = split_url(url)
        retries, clock = Retries(), ServerClock()
        client = open_client(url, endpoint, region, addressing, retries, clock)
        return cls(bucket, f"{prefix}/" if prefix else "", endpoint, client, retries, clock=clock)

    @classmethod
    def from_environment(cls) -> "Store":
        """Open the store that the environment names.

        Raises:
            BadInput: it names none.
        """
        url = os.environ.get(environment.STORE)
        if not url:
            raise BadInput(
                f"No store: set {environment.STORE} to s3://bucket or s3://bucket/prefix. For this machine's embedded "
                "server, put `python -m workflows.store.embedded` before the command."
            )
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
            code = error_code(error)
            if code in {"PreconditionFailed", "412"}:
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
            arguments = {"Bucket": self.bucket, "Key": self.prefix + key}
            data, _ = self.retries.read(lambda: self.client.get_object(**arguments))
        self.moved.down += len(data)
        return data

    def head(self, key: str, size: int) -> bytes:
        """Read the first ``size`` bytes of an object, or all of a shorter one.

        Raises:
            Missing: there is none.
        """
        data, _ = self._begin(key, size)
        self.moved.down += len(data)
        return data

    def _begin(self, key: str, size: int) -> tuple[bytes, int]:
        """Read the first ``size`` bytes of an object; returns them and the object's size.

        Raises:
            Missing: there is none.
        """
        arguments = {"Bucket": self.bucket, "Key": self.prefix + key, "Range": f"bytes=0-{size - 1}"}
        with self._explained(key):
            try:
                data, answer = self.retries.read(lambda: self.client.get_object(**arguments))
            except aws.ClientError as error:
                if error_code(error) not in NO_FIRST_BYTE:
                    raise
                return b"", 0
        return data, int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else len(data)

    def put_json(self, key: str, value: Any, *, if_absent: bool = False) -> bool:
        """Write a JSON object."""
        return self.put(key, json.dumps(value, indent=1, allow_nan=False).encode(), if_absent=if_absent)

    def get_json(self, key: str) -> Any:
        """Read a JSON object.

        Raises:
            Missing: there is none.
            Damaged: it is no JSON.
        """
        return decode_json(self.get(key), f"{self.url}/{key}")

    def get_record(self, key: str, kind: type[Stored]) -> Stored:
        """Read a stored record.

        Raises:
            Missing: there is none.
            Damaged: it is no such record.
            OtherVersion: it was written in another format.
        """
        return decode_record(self.get(key), kind, f"{self.url}/{key}")

    def find_json(self, key: str) -> Any | None:
        """Read a JSON object; None where there is none."""
        try:
            return self.get_json(key)
        except Missing:
            return None

    def upload(self, path: Path, key: str) -> Output:
        """Upload a file, a large one in parallel parts."""
        size, sha256 = path.stat().st_size, sha256_of(path)
        with self._explained(key):
            self._upload(path, key)
        self.moved.up += size
        return Output(key=key, sha256=sha256, size=size)

    def _upload(self, path: Path, key: str, uploads: int = UPLOADS) -> None:
        try:
            self.client.upload_file(str(path), self.bucket, self.prefix + key, Config=TRANSFER)
        except boto3.exceptions.S3UploadFailedError as error:
            # Where the answer to the last request was lost, its repetition finds no upload any more.
            if error_code(error) != "NoSuchUpload" or uploads == 1:
                raise
            self._upload(path, key, uploads - 1)

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
        with temporary_beside(path) as temporary, room_in(path.parent), self._explained(key):
            for _ in range(DOWNLOADS):
                self.client.download_file(self.bucket, self.prefix + key, str(temporary), Config=TRANSFER)
                self.moved.down += temporary.stat().st_size
                if isinstance(what, str) or sha256_of(temporary) == what.sha256:
                    sync(temporary)
                    temporary.replace(path)
                    return path
        raise Damaged(f"{self.url}/{key} is damaged: its SHA-256 is not that of the stored bytes.")

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None where there is none."""
        # Its first byte is read: an error of HEAD has no body that says what is wrong, a listing needs another right.
        try:
            return self._begin(key, 1)[1]
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
            next(self.list(), None)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Raise boto3's errors as Missing, ServiceAway or BadInput."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            meaning = explain(error, self.url, key, self.endpoint or "AWS S3", time.monotonic() - began)
            if meaning is None:
                raise
            raise meaning from error

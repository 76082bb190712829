"""Decodes stored JSON, and says whether what cannot be read is damaged or of another version."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jobs.contract.exits import Damaged, OtherVersion
from jobs.contract.stored.records import FORMAT
from jobs.runtime import provenance

Stored = TypeVar("Stored", bound=BaseModel)


def decode_json(data: bytes, where: str) -> Any:
    """Return the value of a JSON object that was read at a URL.

    Raises:
        Damaged: it is no JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{where} is damaged: it is no JSON.") from error


def decode_record(data: bytes, kind: type[Stored], where: str) -> Stored:
    """Return a record that was read at a URL.

    Raises:
        Damaged: it is no such record.
        OtherVersion: it was written in another format.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        if written := _other_format(data):
            raise OtherVersion(
                f"{where} was written in format {written}; this code, revision {provenance.revision()[:12]}, reads "
                f"format {FORMAT}. Use the code that wrote it, or another prefix of the store. Nothing was removed."
            ) from error
        other = "" if "format" in kind.model_fields else ", or was written by another version"
        raise Damaged(f"{where} is damaged{other}: it is no record of a {kind.__name__}.") from error


def _other_format(data: bytes) -> str:
    """Format and revision that a record says it was written in; empty if it is this code's format or says nothing."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    written = record.get("format", FORMAT) if isinstance(record, dict) else FORMAT
    if not isinstance(written, int) or written == FORMAT:
        return ""
    revision = record.get("revision")
    return f"{written} by revision {revision[:12]}" if isinstance(revision, str) else str(written)

"""URLs of S3 prefixes."""

import re

from jobs.contract.exits import BadInput


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``. ``#`` and ``?`` belong to the prefix, unlike in a web URL.

    Raises:
        BadInput: it is not an S3 URL.
    """
    found = re.fullmatch(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:/+(.*))?", url)
    if not found or not url.isprintable():
        raise BadInput(f"{url!r} is not an S3 URL: write s3://bucket or s3://bucket/prefix.")
    return found.group(1), (found.group(2) or "").rstrip("/")

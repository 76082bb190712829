"""Checks that a store supports every operation the pipeline needs."""

import secrets
from collections.abc import Iterator

from jobs.contract.exits import ServiceAway
from jobs.runtime.store import Store


def check(store: Store) -> Iterator[str]:
    """Write, read, list and delete a small object, and try a conditional write; yields a line of text for each.

    Raises:
        StageError: an operation failed.
    """
    key, data = f"check/{secrets.token_hex(8)}", secrets.token_bytes(1024)
    store.put(key, data)
    yield f"write   {store.url}/{key}"
    if store.get(key) != data:
        raise ServiceAway(f"{store.url}/{key} returned other bytes than were written.")
    yield "read    the same bytes"
    if [entry.key for entry in store.list(key)] != [key]:
        raise ServiceAway(f"{store.url}/{key} was written and is not listed: the listing is not consistent.")
    yield "list    found"
    refused = not store.put(key, b"", if_absent=True)
    yield "if-none-match " + (
        "honoured" if refused else "not honoured: two writers of one work may overwrite each other"
    )
    store.delete([key])
    yield "delete  done"

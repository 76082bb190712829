"""A look at a store with the eyes of the pipeline: what it needs, tried one by one."""

import secrets
from collections.abc import Iterator

from jobs.contract.exits import ServiceAway
from jobs.runtime.store import Store


def check(store: Store) -> Iterator[str]:
    """Write, read back, list and remove a small object, and try a conditional write; a line of text for each.

    Raises:
        StageError: at the first thing that does not work.
    """
    key, data = f"check/{secrets.token_hex(8)}", secrets.token_bytes(1024)
    store.put(key, data)
    yield f"write   {store.url}/{key}"
    if store.get(key) != data:
        raise ServiceAway(f"{store.url}/{key} came back with other bytes than were written.")
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

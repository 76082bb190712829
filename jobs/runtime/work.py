"""A piece of work: named by the hash of its inputs, finished by a ``DONE.json`` that lists its outputs.

What cannot be read back is removed from the store, so that the task which makes it makes it again.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jobs.contract.exits import BadInput, Damaged, ServiceAway
from jobs.contract.names import Stage
from jobs.contract.stored import layout
from jobs.contract.stored.digest import digest
from jobs.contract.stored.records import Cost, Done, Output
from jobs.runtime import provenance
from jobs.runtime.store import Missing, Store, sha256_of

log = logging.getLogger(__name__)

FINISHES: Final = 5  # attempts to be the first writer, or to read what the first one wrote


class Work:
    """Work under ``work/<stage>/<digest>/``, with the digest of its stage, kind and inputs."""

    def __init__(self, store: Store, stage: Stage, kind: str, inputs: dict[str, Any]) -> None:
        self.store, self.stage, self.kind, self.inputs = store, stage, kind, inputs
        self.digest = digest({"stage": stage, "kind": kind, "inputs": inputs})
        self.prefix = layout.work(stage, self.digest)

    @classmethod
    def finished(cls, store: Store, stage: Stage, digest: str) -> tuple["Work", Done]:
        """Open finished work by its digest.

        Raises:
            Missing: it is not finished, or was deleted.
            Damaged: its record cannot be believed; it was removed.
        """
        done = _read_done(store, stage, digest)
        return cls(store, stage, done.kind, done.inputs), done

    def done(self) -> Done | None:
        """Return the record of the finished work; None where it is unfinished.

        A record that is damaged, or whose outputs are missing or truncated, is removed, so that the work is done again.
        """
        try:
            done = _read_done(self.store, self.stage, self.digest)
        except Missing:
            return None
        except Damaged as error:
            log.warning("%s", error)
            return None
        for name, output in done.outputs.items():
            if self.store.size(output.key) != output.size:
                log.warning("%s of %s is missing or truncated in the store; the work is done again", name, self.prefix)
                self.store.delete([layout.done(self.prefix)])
                return None
        return done

    def finish(self, outputs: Mapping[str, Path | Output], scores: dict[str, float], cost: Cost) -> Done:
        """Store the outputs, then ``DONE.json``. Where another writer was first, return its record instead.

        Args:
            outputs: files to store, and stored outputs of other work to list.
            scores: the headline scores.
            cost: time and memory.

        Raises:
            ServiceAway: the store refuses the record as existing, and does not return it.
        """
        stored = {name: self._store(name, path) for name, path in outputs.items()}
        done = Done(
            stage=self.stage, kind=self.kind, digest=self.digest, inputs=self.inputs, outputs=stored, scores=scores,
            cost=cost, revision=provenance.revision(), versions=provenance.versions(), created=datetime.now(UTC),
        )  # fmt: skip
        for _ in range(FINISHES):
            if self.store.put_json(layout.done(self.prefix), done.model_dump(mode="json"), if_absent=True):
                return done
            if (first := self.done()) is not None:
                self._remove_own(stored, first)
                return first
            self.store.retries.stop.wait(1)
        raise ServiceAway(f"{self.store.url}/{layout.done(self.prefix)} exists for writers and not for readers.")

    def _remove_own(self, stored: Mapping[str, Output], first: Done) -> None:
        """Remove the outputs that the record of the first writer does not list."""
        kept = {output.key for output in first.outputs.values()}
        mine = (output.key for output in stored.values() if output.key.startswith(f"{self.prefix}/"))
        self.store.delete(key for key in mine if key not in kept)

    def _store(self, name: str, path: Path | Output) -> Output:
        if isinstance(path, Output):
            return path
        sha256, size = sha256_of(path), path.stat().st_size
        key = layout.output(self.prefix, sha256, name)
        if self.store.size(key) == size:
            return Output(key=key, sha256=sha256, size=size)
        return self.store.upload(path, key)


def _read_done(store: Store, stage: Stage, digest: str) -> Done:
    """Read the record of finished work.

    Raises:
        Missing: there is none.
        Damaged: it is no such record, or one of other work; it was removed.
    """
    key = layout.done(layout.work(stage, digest))
    try:
        done = store.get_record(key, Done)
    except Damaged as error:
        problem = str(error)
    else:
        if (done.stage, done.digest) == (stage, digest):
            return done
        problem = f"{store.url}/{key} is the record of other work ({done.stage} {done.digest[:32]})."
    store.delete([key])
    raise Damaged(f"{problem} It was removed, so that {stage} does the work again.")


def fetch(store: Store, output: Output, folder: Path) -> Path:
    """Return a verified local copy of an output, cached under its hash so that processes of a machine share it.

    Raises:
        Damaged: the stored object is damaged; it was removed, with the record of its work.
        BadInput: it is missing, or is of pretrained weights, which no work makes again.
    """
    path = folder / output.sha256[:2] / output.sha256 / output.key.rsplit("/", 1)[-1]
    if _verified(path, output):
        return path
    try:
        store.download(output, path)
    except (Missing, Damaged) as error:
        raise _quarantine(store, output, error) from error
    _remember(path)
    return path


def _quarantine(store: Store, output: Output, error: Exception) -> Exception:
    """Remove an object that is missing or damaged, its work's record first; returns what to raise."""
    missing = isinstance(error, Missing)
    problem = f"{store.url}/{output.key} is missing." if missing else str(error)
    if not output.key.startswith(layout.WORK):
        return BadInput(f"{problem} Add the weights to the store again: python -m jobs weights add.")
    work = output.key.rsplit("/", 1)[0]
    store.delete([layout.done(work)])
    store.delete([output.key])
    stage = work.removeprefix(layout.WORK).split("/")[0]
    # The next attempt makes it, if this task is the one that does. If it is missing then, only the other task can.
    kind = BadInput if missing else Damaged
    removed = "Its work's DONE.json was removed" if missing else "It was removed with its work's DONE.json"
    return kind(f"{problem} {removed}; {stage} makes it again: resume the run.")


def _verified(path: Path, output: Output) -> bool:
    """Whether a cached file holds the output's bytes. The hash is computed again only where the file was changed."""
    try:
        if path.stat().st_size != output.size:
            return False
        if _note(path).read_text() == _state(path):
            return True
    except OSError:
        if not path.is_file():
            return False
    if sha256_of(path) != output.sha256:
        log.warning("%s in the cache is damaged; it is fetched again", path)
        return False
    _remember(path)
    return True


def _remember(path: Path) -> None:
    """Note beside a file that its bytes were verified as it is now."""
    with suppress(OSError):  # a cache that cannot be written to is verified each time
        _note(path).write_text(_state(path))


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def _state(path: Path) -> str:
    """What changes when somebody writes to a file."""
    stat = path.stat()
    return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"

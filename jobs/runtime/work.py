"""A piece of work: named by the hash of its inputs, finished by a ``DONE.json`` that lists its outputs."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.contract import layout
from jobs.contract.digest import digest
from jobs.contract.names import Stage
from jobs.contract.records import Cost, Done, Output
from jobs.runtime import provenance
from jobs.runtime.store import Missing, Store, sha256_of

log = logging.getLogger(__name__)


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
        """
        done = Done.model_validate(store.get_json(layout.done(layout.work(stage, digest))))
        work = cls(store, stage, done.kind, done.inputs)
        return work, done

    def done(self) -> Done | None:
        """Return the record of the finished work; None where it is unfinished.

        A record whose outputs are missing or truncated is deleted, so that the work is done again.
        """
        try:
            done = Done.model_validate(self.store.get_json(layout.done(self.prefix)))
        except Missing:
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
        """
        stored = {name: self._store(name, path) for name, path in outputs.items()}
        done = Done(
            stage=self.stage, kind=self.kind, digest=self.digest, inputs=self.inputs, outputs=stored, scores=scores,
            cost=cost, revision=provenance.revision(), versions=provenance.versions(), created=datetime.now(UTC),
        )  # fmt: skip
        if self.store.put_json(layout.done(self.prefix), done.model_dump(mode="json"), if_absent=True):
            return done
        first = Done.model_validate(self.store.get_json(layout.done(self.prefix)))
        kept = {output.key for output in first.outputs.values()}
        mine = (output.key for output in stored.values() if output.key.startswith(f"{self.prefix}/"))
        self.store.delete(key for key in mine if key not in kept)
        return first

    def _store(self, name: str, path: Path | Output) -> Output:
        if isinstance(path, Output):
            return path
        sha256, size = sha256_of(path), path.stat().st_size
        key = layout.output(self.prefix, sha256, name)
        if self.store.size(key) == size:
            return Output(key=key, sha256=sha256, size=size)
        return self.store.upload(path, key)


def fetch(store: Store, output: Output, folder: Path) -> Path:
    """Return a verified local copy of an output, cached under its hash so that processes of a machine share it."""
    path = folder / output.sha256[:2] / output.sha256 / output.key.rsplit("/", 1)[-1]
    if path.exists() and path.stat().st_size == output.size:
        return path
    return store.download(output, path)

"""Crash-consistent checkpoints of a training: tensors and JSON, no pickle.

The data is written first, a small pointer with its checksum last, and readers follow the pointer. The last two
checkpoints are kept. Training goes on while a checkpoint is written. Each writer has a folder of its own and deletes
only its own objects, so two writers of one training cannot damage each other's checkpoints.
"""

import json
import logging
import secrets
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from jobs.contract.exits import BadInput, Damaged
from jobs.contract.stored import layout
from jobs.contract.stored.digest import digest
from jobs.contract.stored.records import Output, StoredRecord
from jobs.runtime.store import Missing, Store

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]
State = dict[str, Any]


class Pointer(StoredRecord):
    """The pointer to a training's checkpoints."""

    identity: str
    latest: Output
    previous: Output | None = None


class Checkpoints:
    """The checkpoints of one training.

    Args:
        store: where they are stored.
        work_prefix: prefix of the training's work.
        identity: the training's configuration and dataset; a checkpoint of another identity is refused.
        interval: seconds between the starts of two writes, except by :meth:`flush`; what SIGKILL may cost.
        written: called once a checkpoint is stored, perhaps in the thread that wrote it.
    """

    def __init__(
        self, store: Store, work_prefix: str, identity: dict[str, Any], interval: float = 0.0,
        written: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._written = written
        self.store, self.prefix = store, layout.checkpoints(work_prefix)
        self.identity, self.interval = digest(identity), interval
        self.writer = secrets.token_hex(4)
        self.number = 0
        self.kept: dict[str, Output] = {}
        self.found: list[str] = []  # checkpoints of earlier attempts
        self._background = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: Future[None] | None = None
        self._waiting: tuple[Tensors, str] | None = None
        self._started = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether :meth:`save` would write: the interval is over and no write is under way."""
        writing = self._under_way is not None and not self._under_way.done()
        return not writing and time.monotonic() - self._started >= self.interval

    def save(self, tensors: Tensors, state: State) -> None:
        """Copy a training's state to memory, and write the copy in the background if it is :attr:`due`.

        A copy that is not due waits for :meth:`flush`, or is replaced by the next one.

        Raises:
            ServiceAway: the store did not answer to the write before.
        """
        copies = {
            name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
        self._waiting = copies, json.dumps(state)
        if self.due:
            self._settle()
            self._started = time.monotonic()
            self._under_way = self._background.submit(self._write, *self._take())

    def flush(self) -> None:
        """Wait until the latest state that was saved is in the store.

        Raises:
            ServiceAway: the store did not answer.
        """
        self._settle()
        if self._waiting:
            self._write(*self._take())

    def _settle(self) -> None:
        """Wait for the write under way, and raise what it raised."""
        if self._under_way:
            writing, self._under_way = self._under_way, None
            writing.result()

    def _take(self) -> tuple[Tensors, str]:
        assert self._waiting
        waiting, self._waiting = self._waiting, None
        return waiting

    def _write(self, tensors: Tensors, state: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint.safetensors"
            save_file(tensors, path, metadata={"state": state, "identity": self.identity})
            self.number += 1
            output = self.store.upload(path, f"{self.prefix}/{self.writer}/{self.number:06d}.safetensors")
        pointer = {"latest": output}
        if "latest" in self.kept:
            pointer["previous"] = self.kept["latest"]
        self._point(pointer)
        self._written()

    def _point(self, pointer: dict[str, Output]) -> None:
        record = Pointer(identity=self.identity, **pointer)
        self.store.put_json(self._pointer_key, record.model_dump(exclude_none=True))
        kept = {output.key for output in pointer.values()}
        mine = f"{self.prefix}/{self.writer}/"
        self.store.delete(o.key for o in self.kept.values() if o.key.startswith(mine) and o.key not in kept)
        self.kept = pointer

    @property
    def _pointer_key(self) -> str:
        return f"{self.prefix}/latest.json"

    def load(self) -> tuple[Tensors, State] | None:
        """Return the latest readable checkpoint; None where there is none.

        Raises:
            BadInput: the checkpoint is of another configuration or dataset.
        """
        self.found = [entry.key for entry in self.store.list(f"{self.prefix}/") if entry.key != self._pointer_key]
        pointer = self._read_pointer()
        for role in ("latest", "previous"):
            if role in pointer and (loaded := self._read(pointer[role], role)) is not None:
                self.kept = pointer
                return loaded
        return None

    def _read_pointer(self) -> dict[str, Output]:
        try:
            pointer = self.store.get_record(self._pointer_key, Pointer)
        except Missing:
            return {}
        except Damaged as error:
            log.warning("%s The training starts again.", error)
            return {}
        if pointer.identity != self.identity:
            raise self._foreign(self._pointer_key)
        outputs = {"latest": pointer.latest, "previous": pointer.previous}
        return {role: output for role, output in outputs.items() if output}

    def _read(self, output: Output, role: str) -> tuple[Tensors, State] | None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = self.store.download(output, Path(folder) / "checkpoint.safetensors")
                with safe_open(path, framework="pt") as file:
                    metadata = file.metadata()
                    identity, state = metadata["identity"], json.loads(metadata["state"])
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            except (Missing, Damaged, SafetensorError, TypeError, KeyError, ValueError) as error:
                log.warning("The %s checkpoint %s cannot be read: %s", role, output.key, error)
                return None
        if identity != self.identity:
            raise self._foreign(output.key)
        return tensors, state

    def _foreign(self, key: str) -> BadInput:
        return BadInput(
            f"{self.store.url}/{key} is a checkpoint of another configuration or dataset: "
            f"remove {self.prefix}, or restore the settings it was made with."
        )

    def clear(self) -> None:
        """Delete the checkpoints of this writer and of earlier attempts; called when the training's work is done.

        Those of another writer, which may be reading them, are left to it.
        """
        self._waiting = None
        self._settle()
        mine = [entry.key for entry in self.store.list(f"{self.prefix}/{self.writer}/")]
        gone = {*mine, *self.found}
        if {output.key for output in self._read_pointer().values()} <= gone:
            self.store.delete([self._pointer_key])
        self.store.delete(gone)
        self.kept, self.found = {}, []

"""Crash-consistent checkpoints of a training: tensors and JSON, no pickle.

The data is written first, a small pointer with its checksum last, and readers follow the pointer. The last two
checkpoints and the best are kept. Each writer has a folder of its own and deletes only its own objects, so two writers
of one training cannot damage each other's checkpoints.
"""

import json
import logging
import secrets
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jobs.contract import layout
from jobs.contract.digest import digest
from jobs.contract.exits import BadInput, Damaged
from jobs.contract.records import Output
from jobs.runtime.store import Missing, Store

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]
State = dict[str, Any]

ROLES: Final = ("latest", "previous", "best")


class Checkpoints:
    """The checkpoints of one training.

    Args:
        store: where they are stored.
        work_prefix: prefix of the training's work.
        identity: the training's configuration and dataset; a checkpoint of another identity is refused.
    """

    def __init__(self, store: Store, work_prefix: str, identity: dict[str, Any]) -> None:
        self.store, self.prefix = store, layout.checkpoints(work_prefix)
        self.identity = digest(identity)
        self.writer = secrets.token_hex(4)
        self.number = 0
        self.kept: dict[str, Output] = {}

    def save(self, tensors: Tensors, state: State, *, best: bool = False) -> None:
        """Store a checkpoint and point to it; with ``best``, also as the best so far."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint.safetensors"
            whole = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
            save_file(whole, path, metadata={"state": json.dumps(state), "identity": self.identity})
            self.number += 1
            output = self.store.upload(path, f"{self.prefix}/{self.writer}/{self.number:06d}.safetensors")
        pointer = dict(self.kept)
        if "latest" in pointer:
            pointer["previous"] = pointer["latest"]
        pointer["latest"] = output
        if best:
            pointer["best"] = output
        self._point(pointer)

    def _point(self, pointer: dict[str, Output]) -> None:
        record = {role: output.model_dump() for role, output in pointer.items()}
        self.store.put_json(self._pointer_key, {"identity": self.identity, **record})
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
        pointer = self._read_pointer()
        for role in ("latest", "previous"):
            if role in pointer and (loaded := self._read(pointer[role], role)) is not None:
                self.kept = pointer
                return loaded
        return None

    def load_best(self) -> tuple[Tensors, State] | None:
        """Return the best checkpoint; None where there is none."""
        pointer = self._read_pointer()
        return self._read(pointer["best"], "best") if "best" in pointer else None

    def _read_pointer(self) -> dict[str, Output]:
        try:
            record = self.store.get_json(self._pointer_key)
        except Missing:
            return {}
        if record["identity"] != self.identity:
            raise self._foreign(self._pointer_key)
        return {role: Output.model_validate(record[role]) for role in ROLES if role in record}

    def _read(self, output: Output, role: str) -> tuple[Tensors, State] | None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = self.store.download(output, Path(folder) / "checkpoint.safetensors")
            except (Missing, Damaged) as error:
                log.warning("The %s checkpoint %s cannot be read: %s", role, output.key, error)
                return None
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                if metadata["identity"] != self.identity:
                    raise self._foreign(output.key)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return tensors, json.loads(metadata["state"])

    def _foreign(self, key: str) -> BadInput:
        return BadInput(
            f"{self.store.url}/{key} is a checkpoint of another configuration or dataset: "
            f"remove {self.prefix}, or restore the settings it was made with."
        )

    def clear(self) -> None:
        """Delete all checkpoints of the training; called when its work is done."""
        self.store.delete_prefix(f"{self.prefix}/")
        self.kept = {}

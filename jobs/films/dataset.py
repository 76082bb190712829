"""The packed dataset: ``index.parquet`` with one row per film, and a pack of letterboxed uint8 squares for each size.

A folder holds ``index.parquet`` and ``pack-<size>/`` with ``shard-<n>.npy`` and ``films.json``, the films of all shards
in their order, which need not be the index's. Shards are memory-mapped: opening a dataset reads only the index, and the
processes of a loader share the pages.
"""

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.contract.exits import BadInput

SHARD: Final = 256  # most films of a shard: 64 MiB at 512 px, 100 MiB at 640
FILMS: Final = "films.json"
_SHARD_NAME: Final = re.compile(r"shard-(\d+)\.npy")

SCHEMA: Final = pa.schema(
    [
        ("image", pa.string()),
        ("study", pa.string()),
        ("series", pa.string()),
        ("patient", pa.string()),
        ("study_class", pa.string()),  # null in a test set
        ("boxes", pa.list_(pa.list_(pa.float64()))),  # xmin ymin xmax ymax, original pixels, within the film
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("transfer_syntax", pa.string()),
        ("photometric", pa.string()),
        ("bits_stored", pa.int32()),
        ("windowed", pa.bool_()),
        ("padded", pa.float64()),  # fraction of the film that is padding
        ("burnt", pa.float64()),  # fraction of the film that is white
        ("pixels_sha256", pa.string()),
        ("group", pa.int32()),
        ("fold", pa.int32()),  # -1 in a test set
    ]
)


def index_bytes(rows: pd.DataFrame) -> bytes:
    """Serialise the index as parquet. The same rows give the same bytes, so the SHA-256 identifies the dataset."""
    table = pa.Table.from_pandas(rows.sort_values("image"), schema=SCHEMA, preserve_index=False)
    sink = BytesIO()
    pq.write_table(table.replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


def read_index(path: Path) -> pd.DataFrame:
    """Read an index that :func:`index_bytes` wrote: one row per film, sorted by image."""
    return _rows(pq.read_table(path))


def _rows(table: pa.Table) -> pd.DataFrame:
    rows: pd.DataFrame = table.to_pandas()
    return rows.assign(boxes=table["boxes"].to_pylist())


def shard_name(number: int) -> str:
    """Return the file name of a shard within its pack."""
    return f"shard-{number:03d}.npy"


def films_json(images: Iterable[str]) -> str:
    """Serialise a pack's ``films.json``: the image ids of its films, in the order of its shards."""
    return json.dumps(list(images))


def positions(packed: Sequence[str], wanted: Iterable[str]) -> NDArray[np.int64]:
    """Return the position of each wanted image among packed ones (n,).

    Raises:
        KeyError: a wanted image is not packed.
    """
    place = {image: number for number, image in enumerate(packed)}
    return np.array([place[image] for image in wanted], np.int64)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an ``.npy`` file. Unlike ``numpy.save``, keep the errno of a disk error, so that its cause is known."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(np.ascontiguousarray(array).data)


class Pack:
    """All films at one size, in the order of the index: ``pack[i]`` is a read-only (size, size) uint8 view.

    Pickling keeps only paths, lengths and the order; each process maps the shards itself.
    """

    def __init__(self, size: int, shards: list[Path]) -> None:
        """Map the shards and check their headers. Films are in the order of the shards; :meth:`ordered` gives another.

        Raises:
            BadInput: a shard is missing, damaged or of another size.
        """
        self.size = size
        self._shards = shards
        self._maps: dict[int, NDArray[np.uint8]] = {}
        self._ends = list(accumulate(len(self._map(number)) for number in range(len(shards))))
        self._order: NDArray[np.int64] = np.arange(self._ends[-1] if self._ends else 0)

    @classmethod
    def joined(cls, packs: "list[Pack]") -> "Pack":
        """Return the films of several packs of one size, one pack after the other."""
        starts = accumulate((pack._ends[-1] for pack in packs), initial=0)
        order = np.concatenate([pack._order + start for pack, start in zip(packs, starts, strict=False)])
        return cls(packs[0].size, [shard for pack in packs for shard in pack._shards]).ordered(order)

    def ordered(self, order: NDArray[np.int64]) -> Self:
        """Return the films at these positions (n,), in their order."""
        pack = copy(self)
        pack._order = self._order[order]
        return pack

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if not 0 <= index < len(self):
            raise IndexError(f"film {index} of {len(self)}")
        place = int(self._order[index])
        shard = bisect_right(self._ends, place)
        films = self._map(shard)
        film: NDArray[np.uint8] = films[place - self._ends[shard] + len(films)]
        return film

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def _map(self, number: int) -> NDArray[np.uint8]:
        if number not in self._maps:
            path = self._shards[number]
            try:
                films: NDArray[np.uint8] = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise BadInput(f"{path} is no readable shard ({error}); fetch the pack again") from error
            if films.dtype != np.uint8 or films.shape[1:] != (self.size, self.size):
                raise BadInput(f"{path} holds {films.dtype} {films.shape}, not uint8 squares of {self.size} pixels")
            self._maps[number] = films
        return self._maps[number]


class Dataset:
    """A dataset in a folder."""

    def __init__(self, folder: Path) -> None:
        """Store the path; nothing is read yet."""
        self.folder = Path(folder)

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row per film, sorted by image, with the columns of ``SCHEMA``. ``boxes`` holds lists of four floats.

        Raises:
            BadInput: the index is missing or not a parquet file.
        """
        return _rows(pq.read_table(BytesIO(self._index_file)))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the index in hex: the dataset's identity, whatever sizes are packed."""
        return hashlib.sha256(self._index_file).hexdigest()

    def pack(self, size: int) -> Pack:
        """Open the films at a size in pixels.

        Raises:
            BadInput: the pack is missing or incomplete, or its films differ from those of the index.
        """
        folder, images = self.folder / f"pack-{size}", self.index["image"].tolist()
        pack = Pack(size, _shards(folder))
        if len(pack) != len(images):
            raise BadInput(f"{folder} holds {len(pack)} films, the index {len(images)}; prepare size {size} first")
        packed = _films(folder)
        if sorted(packed) != sorted(images):
            raise BadInput(f"{folder} holds other films than the index; prepare size {size} again")
        return pack.ordered(positions(packed, images))

    @cached_property
    def _index_file(self) -> bytes:
        path = self.folder / "index.parquet"
        try:
            return path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}); is {self.folder} a prepared dataset?") from error


def _shards(folder: Path) -> list[Path]:
    """List the shards of a pack by number, not by name: 1000 comes after 101.

    Raises:
        BadInput: the pack has no shards, or a number is missing.
    """
    numbered = {int(found[1]): path for path in folder.glob("*") if (found := _SHARD_NAME.fullmatch(path.name))}
    if absent := set(range(max(numbered, default=-1) + 1)) - set(numbered):
        raise BadInput(f"{folder} has no {shard_name(min(absent))}; fetch the pack again, or prepare it")
    return [numbered[number] for number in sorted(numbered)]


def _films(folder: Path) -> list[str]:
    """Read the image ids of a pack's films.

    Raises:
        BadInput: ``films.json`` is missing or unreadable.
    """
    path = folder / FILMS
    try:
        films: list[str] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); prepare the pack again") from error
    return films

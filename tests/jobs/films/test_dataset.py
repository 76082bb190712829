import errno
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.contract.exits import BadInput
from jobs.films.dataset import FILMS, SCHEMA, Dataset, Pack, films_json, index_bytes, save_array, shard_name


def rows(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": [f"i{number:03d}" for number in range(count)],
            "study": [f"s{number}" for number in range(count)],
            "series": "x",
            "patient": "p",
            "study_class": [None if number else "typical" for number in range(count)],
            "boxes": [[[0.5, 1.0, 2.0, 3.25]] if number % 2 else [] for number in range(count)],
            "width": 10,
            "height": 20,
            "transfer_syntax": "raw",
            "photometric": "MONOCHROME2",
            "bits_stored": 12,
            "windowed": False,
            "padded": 0.0,
            "burnt": 0.0,
            "pixels_sha256": "00",
            "group": range(count),
            "fold": 0,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven films in shards of three, three and one; film n is filled with n."""
    (tmp_path / "index.parquet").write_bytes(index_bytes(rows(7)))
    (tmp_path / "pack-32").mkdir()
    for number, films in enumerate(([0, 1, 2], [3, 4, 5], [6])):
        shard = np.stack([np.full((32, 32), film, np.uint8) for film in films])
        save_array(tmp_path / "pack-32" / shard_name(number), shard)
    (tmp_path / "pack-32" / FILMS).write_text(films_json(rows(7)["image"]))
    return tmp_path


def test_an_array_is_saved_as_numpy_would_and_a_full_disk_is_told(tmp_path: Path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    save_array(tmp_path / "ours.npy", array[::-1])
    np.save(tmp_path / "numpys.npy", np.ascontiguousarray(array[::-1]))
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()
    with pytest.raises(OSError, match="No space left") as full:
        save_array(Path("/dev/full"), np.zeros(100_000, np.uint8))
    assert full.value.errno == errno.ENOSPC


def test_the_index_comes_back_as_it_was_written(folder: Path):
    index = Dataset(folder).index
    assert list(index.columns) == SCHEMA.names
    assert index["boxes"].iloc[1] == [[0.5, 1.0, 2.0, 3.25]]
    assert index["boxes"].iloc[0] == []
    assert index["study_class"].isna().sum() == 6


def test_the_hash_depends_on_the_rows_and_on_nothing_else():
    shuffled = rows(7).sample(frac=1, random_state=1)[sorted(rows(7).columns)]
    assert index_bytes(rows(7)) == index_bytes(shuffled)
    assert index_bytes(rows(7)) != index_bytes(rows(7).assign(fold=1))


def test_a_pack_gives_films_in_the_indexs_order(folder: Path):
    pack = Dataset(folder).pack(32)
    assert len(pack) == 7
    assert [int(pack[number][5, 5]) for number in range(7)] == list(range(7))
    assert (pack[6].shape, pack[6].dtype) == ((32, 32), np.uint8)
    for outside in (-1, 7):
        with pytest.raises(IndexError):
            pack[outside]


def test_shards_in_another_order_than_the_index_give_the_indexs_order_and_so_do_joined_packs(folder: Path):
    images = rows(7)["image"].tolist()
    (folder / "pack-32" / FILMS).write_text(films_json(images[place] for place in (6, 1, 4, 0, 5, 2, 3)))
    pack = Dataset(folder).pack(32)
    expected = [3, 1, 5, 6, 2, 4, 0]  # film n of the index lies where the shards hold its square
    assert [int(pack[number][0, 0]) for number in range(7)] == expected
    joined = Pack.joined([pack, pack, Pack(32, [folder / "pack-32" / shard_name(2)])])
    assert [int(joined[number][0, 0]) for number in range(len(joined))] == [*expected, *expected, 6]


@pytest.mark.slow
def test_shards_are_read_by_number_beyond_a_thousand(tmp_path: Path):
    films = 1003
    (tmp_path / "index.parquet").write_bytes(index_bytes(rows(films)))
    (tmp_path / "pack-4").mkdir()
    for number in range(films):
        save_array(tmp_path / "pack-4" / shard_name(number), np.full((1, 4, 4), number % 251, np.uint8))
    (tmp_path / "pack-4" / FILMS).write_text(films_json(sorted(rows(films)["image"])))
    pack = Dataset(tmp_path).pack(4)
    assert [int(pack[number][0, 0]) for number in range(films)] == [number % 251 for number in range(films)]


def test_a_pack_of_other_films_or_without_a_shard_is_refused(folder: Path):
    others = rows(7)["image"].tolist()
    (folder / "pack-32" / FILMS).write_text(films_json([*others[1:], "another"]))
    with pytest.raises(BadInput, match="other films than the index"):
        Dataset(folder).pack(32)
    (folder / "pack-32" / FILMS).write_text("[")
    with pytest.raises(BadInput, match=r"films.json cannot be read"):
        Dataset(folder).pack(32)
    (folder / "pack-32" / shard_name(1)).unlink()
    with pytest.raises(BadInput, match=r"has no shard-001.npy"):
        Dataset(folder).pack(32)


def test_films_cannot_be_written_to(folder: Path):
    with pytest.raises(ValueError, match="read-only"):
        Dataset(folder).pack(32)[0][0, 0] = 1


def test_a_pack_travels_to_other_processes_without_its_pixels(folder: Path):
    pack = Dataset(folder).pack(32)
    _ = pack[4]
    assert len(pickle.dumps(pack)) < 2000
    assert int(pickle.loads(pickle.dumps(pack))[4][0, 0]) == 4


def test_a_dataset_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match=r"is .* a prepared dataset"):
        _ = Dataset(tmp_path).index


def test_a_pack_that_lacks_films_or_is_damaged_is_refused(folder: Path):
    with pytest.raises(BadInput, match="holds 0 films, the index 7; prepare size 64 first"):
        Dataset(folder).pack(64)
    shard = folder / "pack-32" / shard_name(1)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:1000])
    with pytest.raises(BadInput, match="no readable shard"):
        Dataset(folder).pack(32)
    np.save(shard, np.zeros((3, 16, 16), np.uint8))
    with pytest.raises(BadInput, match="not uint8 squares of 32 pixels"):
        Dataset(folder).pack(32)

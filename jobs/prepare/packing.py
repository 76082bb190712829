"""Packs: all films at one size, as lists of their shards' pixels."""

from functools import partial

from jobs.contract.stored.records import Done, Output
from jobs.films.dataset import FILMS, films_json, shard_name
from jobs.films.prepared import pack_work
from jobs.prepare.shards import PIXELS, Shard
from jobs.runtime.context import Context
from jobs.runtime.work import Work


def packed(context: Context, shards: list[Shard], dataset: str, prefix: str = "") -> dict[str, str]:
    """Make a pack for each size of the shards.

    Args:
        context: the attempt.
        shards: the films' shards, finished.
        dataset: hash of their index.
        prefix: of the names of the works.

    Returns:
        Name → digest of all work behind the packs, for prepare's reference. Packs point to pixels in the shards' work:
        that is among it, or a purge would remove it as unused.
    """
    works = {}
    images = [film.image for shard in shards for film in shard.films]
    for size in shards[0].packs:
        pixels = [shard.done[shard.packs[size]].outputs[PIXELS] for shard in shards]
        outputs = {shard_name(number): output for number, output in enumerate(pixels)}
        work = pack_work(context.store, dataset, size)
        works[f"{prefix}{work.kind}"] = context.once(
            work.kind, work.inputs, partial(_make_pack, context, images, outputs)
        ).digest
    for number, shard in enumerate(shards):
        names = {work: f"{work.kind}-{work.inputs.get('size', 'all')}-{number:03d}" for work in shard.done}
        works |= {f"{prefix}{name}": work.digest for work, name in names.items()}
    return works


def _make_pack(context: Context, images: list[str], shards: dict[str, Output], work: Work) -> Done:
    """Finish a pack: a list of its films, and pointers to the pixels in the shards' work."""
    names = context.scratch / FILMS
    names.write_text(films_json(images))
    return work.finish({FILMS: names, **shards}, {}, context.cost())

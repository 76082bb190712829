"""What an export's ``predict.py`` runs: a submission for a test folder, with nothing but the export's files."""

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pandas as pd

from jobs.contract.exits import BadInput, Exit, StageError
from jobs.contract.experiment import Experiment, Model
from jobs.contract.stored.digest import digest
from jobs.films.film_files import choose_films
from jobs.films.loose import LooseFilm, PackedFilms, pack_films
from jobs.films.problems import refuse
from jobs.nets.tables import Step
from jobs.runtime.machine import cpus
from jobs.scoring.combine import combine, voters_of
from jobs.scoring.submission import check, parse, render

CHECKSUMS: Final = "SHA256SUMS"
EXPERIMENT: Final = "experiment.json"
WEIGHTS: Final = "weights"
EVERY: Final = 10.0  # seconds between two lines of progress


Predict = Callable[[PackedFilms, Step], pd.DataFrame]  # a net: films → its table


@dataclass(frozen=True)
class Runtime:
    """What runs an export's nets.

    Attributes:
        suffix: of the files with their weights.
        nets: of a model, its file of each fold and the number of CPU threads, yields each fold's net.
    """

    suffix: str
    nets: Callable[[Model, Mapping[int, Path], int], Iterator[tuple[int, Predict]]]


def main(export: Path, arguments: Sequence[str], runtime: Runtime) -> int:
    """Predict a test folder in the competition's layout and write the submission; return the exit code.

    Args:
        export: the export's folder.
        arguments: of the command line.
        runtime: what runs the nets.
    """
    parser = argparse.ArgumentParser(prog="predict.py", description="Write a submission for a folder of films.")
    parser.add_argument("test", type=Path, metavar="TEST_FOLDER", help="holds <study>/<series>/<image>.dcm")
    parser.add_argument("out", type=Path, metavar="OUT.csv", help="the submission")
    parser.add_argument("--work", type=Path, help="keeps finished parts, so that a repeated call resumes; OUT.csv.work")
    parser.add_argument("--threads", type=int, default=cpus(), help="CPU threads")
    options = parser.parse_args(arguments)
    try:
        work = options.work or Path(f"{options.out}.work")
        _predict(export, runtime, options.test, options.out, work, options.threads)
    except StageError as error:
        print(error, file=sys.stderr)
        return error.exit
    return Exit.DONE


def _predict(export: Path, runtime: Runtime, test: Path, out: Path, work: Path, threads: int) -> None:
    checksums = _verify(export)
    experiment = Experiment.model_validate_json((export / EXPERIMENT).read_bytes())
    weights = _weights(export, experiment, runtime.suffix)
    if not test.is_dir():
        raise BadInput(f"{test} is no folder: name the folder of the test set's films.")
    films = _films(test)
    # Other films or another export get other parts.
    parts = work / digest({"films": [film.fingerprint for film in films], "export": checksums})[:16]
    parts.mkdir(parents=True, exist_ok=True)
    packed = _pack(experiment, list(weights), films, parts, threads)
    tables = _predict_nets(experiment, runtime, weights, packed, parts, threads)
    combined = combine(packed.index, *voters_of(experiment, tables), experiment.ensemble)
    text = render(combined.submission)
    index = packed.index
    sizes = dict(zip(index["image"], zip(index["width"], index["height"], strict=True), strict=True))
    check(parse(text, out.name), list(dict.fromkeys(index["study"])), index["image"], out.name, sizes)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"{out}: {len(combined.submission.ids)} rows for {len(index)} films")


def _verify(export: Path) -> str:
    """Check the export's files against their checksums; return the text of the checksums.

    Raises:
        BadInput: a file is missing or damaged.
    """
    text = (export / CHECKSUMS).read_text()
    for line in text.splitlines():
        expected, _, name = line.partition("  ")
        file = export / name
        if not file.is_file():
            raise BadInput(f"{file} is missing: copy the export again.")
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != expected:
                raise BadInput(f"{file} is damaged, its SHA-256 differs from {CHECKSUMS}: copy the export again.")
    return text


def _weights(export: Path, experiment: Experiment, suffix: str) -> dict[str, dict[int, Path]]:
    return {
        model: {fold: export / WEIGHTS / f"{model}-fold-{fold}{suffix}" for fold in experiment.folds.selected}
        for model in experiment.voters
    }


def _films(test: Path) -> list[LooseFilm]:
    root = test.resolve()
    listing = ((path.relative_to(root).as_posix(), "") for path in root.rglob("*.dcm"))
    return [LooseFilm(root / film.path, film.image, film.study) for film in choose_films(str(test), listing, test=True)]


def _pack(
    experiment: Experiment, models: Sequence[str], films: Sequence[LooseFilm], parts: Path, threads: int
) -> PackedFilms:
    sizes = sorted({experiment.models[model].inference_size for model in models})
    progress = ProgressLines("decoding", len(films), 0, len(films))
    packed = pack_films(films, sizes, parts, threads, lambda: progress.step(1))
    refuse("The test set", packed.problems, "Replace these files: a submission needs a row for each film.")
    return packed


def _predict_nets(
    experiment: Experiment,
    runtime: Runtime,
    weights: dict[str, dict[int, Path]],
    films: PackedFilms,
    parts: Path,
    threads: int,
) -> dict[str, list[pd.DataFrame]]:
    """Predict with every net that an earlier call did not finish; a finished net's table is kept in ``parts``."""
    nets = [(model, fold) for model, of_folds in weights.items() for fold in of_folds]
    files = {(model, fold): parts / f"{model}-fold-{fold}.parquet" for model, fold in nets}
    todo = {net: file for net, file in files.items() if not file.is_file()}
    if len(todo) < len(files):
        print(f"{len(files) - len(todo)} of {len(files)} nets are done: going on with the others")
    progress, count = ProgressLines("", len(films.index) * len(todo), 0, len(films.index)), 0
    for name, of_folds in weights.items():
        model = experiment.models[name]
        missing = {fold: path for fold, path in of_folds.items() if (name, fold) in todo}
        for fold, predict in runtime.nets(model, missing, threads):
            count += 1
            progress.name = f"{name}-fold-{fold}, net {count} of {len(todo)}"
            table = predict(films, progress.step)
            unfinished = todo[name, fold].with_suffix(".unfinished")
            table.to_parquet(unfinished, index=False)
            unfinished.replace(todo[name, fold])
    return {model: [pd.read_parquet(files[model, fold]) for fold in of_folds] for model, of_folds in weights.items()}


@dataclass
class ProgressLines:
    """Prints how far the work is and when it is expected to end.

    Attributes:
        name: what is being done.
        total: films, those of all nets added up.
        done: of these.
        films: films in the test set.
    """

    name: str
    total: int
    done: int
    films: int
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)

    def step(self, films: int) -> None:
        """Count films; print a line every ten seconds and at the end."""
        self.done += films
        now = time.monotonic()
        if now - self.said < EVERY and self.done < self.total:
            return
        self.said = now
        seconds = (now - self.began) / self.done
        end = datetime.now(UTC) + timedelta(seconds=seconds * (self.total - self.done))
        film = (self.done - 1) % self.films + 1
        print(
            f"{self.name}: film {film} of {self.films}, {1 / seconds:.1f} films a second, expected end "
            f"{end:%Y-%m-%d %H:%M} UTC",
            flush=True,
        )

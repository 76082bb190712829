"""Read the text files that a user gives: experiments, profiles, kubeconfigs, CSV tables."""

import csv
import io
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.contract.exits import BadInput

LARGEST: Final = 4 << 20  # bytes; the largest recipe has 3 KiB, a kubeconfig of 500 clusters about 2 MiB
LARGEST_TABLE: Final = 2 << 30  # a submission of 100,000 films with 100 boxes each has about 0.5 GiB


@dataclass(frozen=True)
class CsvTable:
    """A CSV file as text. Every row has as many fields as there are columns."""

    columns: list[str]
    rows: list[list[str]]


def read_text(file: Path, largest: int = LARGEST) -> str:
    """Return the text of a file.

    Raises:
        BadInput: it does not exist, cannot be read, is no regular file, is larger than so many bytes, or is not UTF-8.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO blocks until somebody writes to it.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise BadInput(f"{file}: is no regular file; name a text file")
            data = opened.read(largest + 1)
    except FileNotFoundError as error:
        broken = file.is_symlink()
        raise BadInput(f"{file}: " + ("the link points to nothing" if broken else "there is no such file")) from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > largest:
        raise BadInput(f"{file}: is larger than {largest >> 20} MiB; is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{file}:{line}: is not UTF-8 ({error.reason}); save the file as UTF-8") from error


def read_csv(file: Path) -> CsvTable:
    """Return a CSV file with a header; raises as :func:`read_text` and :func:`parse_csv` do."""
    return parse_csv(read_text(file, LARGEST_TABLE), str(file))


def parse_csv(text: str, file: str) -> CsvTable:
    """Parse CSV with a header. Empty lines, and empty fields beyond the header, are left out.

    Args:
        text: the table.
        file: its name in error messages.

    Raises:
        BadInput: it has no header, a column twice, a row with more or fewer fields than the header, or open quotes.
    """
    csv.field_size_limit(sys.maxsize)  # a film's boxes may take more than the default of 128 KiB
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    rows: list[list[str]] = []
    try:
        for row in filter(None, reader):
            if not columns:
                columns = _columns(row, file)
            else:
                rows.append(_fields(row, len(columns), f"{file}:{reader.line_num}"))
    except csv.Error as error:
        raise BadInput(f"{file}:{reader.line_num}: is no CSV ({error}); save it anew, with commas") from error
    if not columns:
        raise BadInput(f"{file}: is empty; its first line must name the columns")
    return CsvTable(columns, rows)


def _columns(header: list[str], file: str) -> list[str]:
    while header[1:] and not header[-1]:
        header = header[:-1]
    columns = [name or f"column {number}" for number, name in enumerate(header, start=1)]
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise BadInput(f"{file}:1: the column {twice[0]} is there twice; remove or rename one")
    return columns


def _fields(row: list[str], count: int, place: str) -> list[str]:
    if len(row) < count or any(row[count:]):
        raise BadInput(f"{place}: has {len(row)} fields, but there are {count} columns; correct the row")
    return row[:count]

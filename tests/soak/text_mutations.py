"""What is done to texts."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

Mutation = Callable[[bytes, random.Random], bytes]

MARKS: Final = "{}[]&*!|>'\"%@`#,:-\t\\?<=~;\x00\x07\x1b\x85\u2028é€😀"


def _at(text: bytes, chance: random.Random, put_in: bytes) -> bytes:
    place = chance.randrange(len(text) + 1)
    return text[:place] + put_in + text[place:]


def _flip(text: bytes, chance: random.Random) -> bytes:
    changed = bytearray(text)
    for _ in range(chance.choice((1, 3, 20))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _lines(change: Callable[[list[bytes], random.Random], list[bytes]]) -> Mutation:
    return lambda text, chance: b"\n".join(change(text.split(b"\n"), chance))


def _without_one(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.randrange(len(lines))
    return lines[:place] + lines[place + 1 :]


def _one_twice(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.randrange(len(lines))
    return lines[: place + 1] + lines[place:]


def _shuffled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    return chance.sample(lines, len(lines))


TEXT: Final[dict[str, Mutation]] = {
    "BOM": lambda text, chance: b"\xef\xbb\xbf" + text,
    "CRLF": lambda text, chance: text.replace(b"\n", b"\r\n"),
    "a blank line at the end": lambda text, chance: text + b"\n",
    "UTF-16": lambda text, chance: text.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda text, chance: text.decode().encode("utf-16-le"),
    "Latin-1": lambda text, chance: _at(text, chance, "Größe é".encode("latin-1")),
    "not UTF-8": lambda text, chance: _at(text, chance, b"\xff\xfe\xc3\x28"),
    "a surrogate": lambda text, chance: _at(text, chance, b"\xed\xa0\x80"),
    "NUL": lambda text, chance: _at(text, chance, b"\0"),
    "a mark": lambda text, chance: _at(text, chance, chance.choice(MARKS).encode()),
    "several marks": lambda text, chance: _at(text, chance, "".join(chance.choices(MARKS, k=6)).encode()),
    "bits turned": _flip,
    "cut": lambda text, chance: text[: chance.randrange(len(text))],
    "empty": lambda text, chance: b"",
    "blank": lambda text, chance: b" \n\n \t\n",
    "noise": lambda text, chance: chance.randbytes(3000),
    "twice": lambda text, chance: text + text,
    "a line less": _lines(_without_one),
    "a line twice": _lines(_one_twice),
    "lines shuffled": _lines(_shuffled),
    "a long line": lambda text, chance: _at(text, chance, b"x" * 5_000_000),
    "many lines": lambda text, chance: text + b"\n" * 500_000,
    "zipped": lambda text, chance: b"PK\x03\x04" + text,
}

NO_TEXT: Final[dict[str, Callable[[Path], None]]] = {
    "a folder": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "gone": lambda path: None,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "endless": lambda path: path.symlink_to("/dev/zero"),
}

# Of these a command says what it says of the right text.
BENIGN: Final = ("BOM", "CRLF", "a blank line at the end")


def _value(value: str) -> Mutation:
    """One value in place of another."""

    def mutation(text: bytes, chance: random.Random) -> bytes:
        lines = text.split(b"\n")
        places = [number for number, line in enumerate(lines) if b":" in line and not line.strip().startswith(b"#")]
        place = chance.choice(places or [0])
        lines[place] = lines[place].split(b":")[0] + b": " + value.encode()
        return b"\n".join(lines)

    return mutation


def _aliases(text: bytes, chance: random.Random) -> bytes:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(["a0: &a0 [x, x]", *levels, ""]).encode() + text


YAML: Final[dict[str, Mutation]] = {
    **{
        f"the value {value[:20]}": _value(value)
        for value in (
            "2024-13-45", "2024-02-30T25:00:00Z", "!!int abc", "!!float x", "!!timestamp x", "!!binary 'é'",
            "!!python/object:os.system x", "!unknown x", "9" * 5000, "-" + "9" * 400, "0x" + "f" * 5000, "1:99:99",
            ".inf", "-.inf", ".nan", "1e999", "&a [*a]", "*nobody", "{<<: 1}", "{<<: [1, 2]}", "? x", "{1: 2}",
            "{[1]: 2}", "[]", "{}", "null", "''", "yes", "0o17", "1_000", "'\\0'", '"\\x00"', '"\\ud800"', "|", ">-",
            "s3://", "../../etc/passwd", "/dev/zero", "\u202eabc", "[" * 500 + "]" * 500,
        )
    },
    "deep": lambda text, chance: text + b"\ndeep: " + b"[" * 100_000,
    "deep and closed": lambda text, chance: text + b"\ndeep: " + b"{a: " * 20_000 + b"1" + b"}" * 20_000,
    "deep by indents": lambda text, chance: b"".join(b" " * n + b"a:\n" for n in range(3000)),
    "deep lists": lambda text, chance: text + b"\nx: " + b"- " * 50_000,
    "aliases": _aliases,
    "recursion": lambda text, chance: b"a: &a {b: *a}\n" + text,
    "many keys": lambda text, chance: text + b"\n" + b"".join(b"k%d: 1\n" % n for n in range(100_000)),
    "a key twice": lambda text, chance: text + b"\n" + text.split(b"\n")[0] + b"\n",
    "an unknown key": lambda text, chance: b"nonsense: 1\n" + text,
    "two documents": lambda text, chance: text + b"\n---\n" + text,
    "a directive": lambda text, chance: b"%YAML 9.9\n---\n" + text,
    "extends itself": lambda text, chance: b"extends: soak.yaml\n" + text,
    "extends a device": lambda text, chance: b"extends: /dev/zero\n" + text,
    "extends a folder": lambda text, chance: b"extends: .\n" + text,
    "extends a number": lambda text, chance: b"extends: 7\n" + text,
    "a list": lambda text, chance: b"- 1\n- 2\n",
    "a scalar": lambda text, chance: b"text\n",
    "tabs": lambda text, chance: text.replace(b"  ", b"\t"),
}  # fmt: skip


def _cell(value: str) -> Mutation:
    """One value of a table in place of another."""

    def mutation(text: bytes, chance: random.Random) -> bytes:
        lines = text.split(b"\n")
        place = chance.randrange(1, max(2, len(lines) - 1))
        cells = lines[place].split(b",")
        cells[chance.randrange(len(cells))] = value.encode()
        lines[place] = b",".join(cells)
        return b"\n".join(lines)

    return mutation


TABLE: Final[dict[str, Mutation]] = {
    **{
        f"the cell {value[:20]}": _cell(value)
        for value in (
            "", " ", "nan", "inf", "-1", "1e308", "9" * 400, "2", "x", '"', '"a,b"', '"a\nb"', "=1+1", "é", "\x00",
            "none 1 0 0 1 1", "opacity 1 0 0 1", "opacity nan 0 0 1 1", "opacity 1 inf 0 1 1", "opacity 1 5 5 1 1",
            "[{'x': 1}]", "[" * 5000, "negative 1 0 0 1 1 " * 2000,
        )
    },
    "a comma more": lambda text, chance: text.replace(b"\n", b",\n"),
    "a comma more but in the header": lambda text, chance: b",\n".join(text.split(b"\n")).replace(b",\n", b"\n", 1),
    "semicolons": lambda text, chance: text.replace(b",", b";"),
    "tabs": lambda text, chance: text.replace(b",", b"\t"),
    "no header": lambda text, chance: text.split(b"\n", 1)[1],
    "only the header": lambda text, chance: text.split(b"\n", 1)[0] + b"\n",
    "a column twice": lambda text, chance: b"\n".join(
        line and line + b"," + line.split(b",")[0] for line in text.split(b"\n")
    ),
    "a quote that does not end": lambda text, chance: _at(text, chance, b'"'),
    "all quoted": lambda text, chance: b"\n".join(
        line and b'"' + line.replace(b",", b'","') + b'"' for line in text.split(b"\n")
    ),
    "capitals": lambda text, chance: text.upper(),
    "CR": lambda text, chance: text.replace(b"\n", b"\r"),
    "a comment": lambda text, chance: b"# a table\n" + text,
    "many columns": lambda text, chance: b"\n".join(line + b",1" * 5000 for line in text.split(b"\n")),
}  # fmt: skip

VALUES: Final = (
    "", "x", "=", "=1", "a.b", "seed", "seed=", "seed=x", "seed=-1", "seed=1.5", "seed=" + "9" * 30,
    "seed=" + "9" * 5000, "folds.count=1", "folds.count=1e9", "folds.count=.inf", "folds.run=[0, 0]", "folds.run=[]",
    "folds.run=0", "folds.seed=99999999999999999999",
    "name=../x", "name=", "name=X", "name=[", "name={", "name=&a [*a]", "name=*a",
    "name=!!int abc", "name=2024-13-45", "name=\x07", "name=\udcff", "\udcff=1", "data.source=", "data.source=s3://",
    "data.source=ftp://x", "data.source=phantom:patients=-1", "data.patients=/etc/passwd", "data.split=../../x",
    "classifiers={}", "classifiers=1", "classifiers.net=1", "classifiers.net.size=abc", "classifiers.net.size=.nan",
    "classifiers.net.stages=[]", "classifiers.net.stages.0.lr=.inf", "classifiers.net.stages.9.lr=1",
    "classifiers.net.stages.-1.lr=1", "classifiers.net.stages.x.lr=1", "classifiers.nobody.size=64",
    "classifiers..size=64", ".=1", "..=1", "*=1", "*.*=1", "detectors.yolo.lr=1e999", "detectors.yolo.model=yolo",
    "detectors.yolo.evolve=1", "detectors.yolo.evolve.epochs=" + "9" * 400, "ensemble.weights={net: -1}",
    "ensemble.weights.net=.nan", "evaluation.bootstrap=" + "9" * 30, "evaluation=null", "a=" + "[" * 100_000,
    "title=" + "x" * 100_000, "title=€😀\u202e", "inferred={a: {b: 1}}", "extends=demo", "title=a\nb",
)  # fmt: skip

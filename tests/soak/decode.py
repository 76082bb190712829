"""``python -m tests.soak.decode FOLDER``: decodes films as prepare does, and prints a line of JSON a film."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from jobs.films.dicom.decoding import DecodeRequest, decode_all

SIZES = (64,)


def main() -> None:
    """Decode every ``*.dcm`` of the folder, in the order of their names, in one process."""
    paths = sorted(Path(sys.argv[1]).glob("*.dcm"))
    requests = (DecodeRequest(path, path.name, SIZES) for path in paths)
    began = time.monotonic()
    for path, decoded in zip(paths, decode_all(requests, 1), strict=True):
        facts = asdict(decoded.facts) if decoded.facts else None
        seconds, began = time.monotonic() - began, time.monotonic()
        told = {"film": path.name, "problem": decoded.problem, "facts": facts, "seconds": seconds}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

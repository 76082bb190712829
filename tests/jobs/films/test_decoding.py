"""Films are decoded within limits, in processes that may die."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jobs.contract.exits import DeviceFailed, Stopped
from jobs.films.dicom import decoding
from jobs.films.dicom.decoding import Decoded, DecodeRequest, decode_all
from jobs.films.dicom.film import read_film
from jobs.films.phantom.dicom_writer import Identity, Quirks, write_dicom
from jobs.runtime.preemption import Stop


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.dcm"
    write_dicom(path, np.random.default_rng(0).random((60, 50)), Identity("p", "s", "e", "i"), Quirks())
    return path


def broken(request: DecodeRequest) -> Decoded:
    """In place of ``decode``: what the film's name says."""
    match request.name:
        case "loops":
            while True:
                pass
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleeps":
            time.sleep(600)
        case "swells":
            bytearray(decoding.MEMORY + 2**22)
        case "a bug":
            raise KeyError("a bug")
    return decoding.decode(request)


@pytest.fixture
def decoded(film: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Decoded]]:
    """Decode a film under several names in two processes."""
    monkeypatch.setattr(decoding, "decode", broken)
    monkeypatch.setattr(decoding, "SECONDS", 1)

    def run(*names: str, check: Callable[[], None] = decoding.no_check) -> list[Decoded]:
        return list(decode_all((DecodeRequest(film, name, (32,)) for name in names), 2, check))

    return run


def test_films_come_in_the_order_of_the_requests(film: Path):
    expected = read_film(film)
    requests = [DecodeRequest(film, str(number), (32 + number,)) for number in range(12)]
    results = list(decode_all(requests, 2))
    assert [next(iter(result.squares or {})) for result in results] == list(range(32, 44))
    assert all(result.facts == expected.facts for result in results)


@pytest.mark.slow
def test_a_film_that_breaks_its_decoder_is_named_and_the_others_are_read(decoded: Callable[..., list[Decoded]]):
    problems = [result.problem for result in decoded("good", "loops", "crashes", "swells", "fine", "also good")]
    assert problems == [
        "",
        "loops takes more than 1 seconds of CPU time to decode",
        "crashes crashes its decoder (SIGSEGV)",
        "swells needs more than 768 MiB of memory to decode",
        "",
        "",
    ]


def test_a_killed_process_ends_the_stage_and_names_its_film(decoded: Callable[..., list[Decoded]]):
    with pytest.raises(DeviceFailed, match="The process that decoded killed was killed, most likely for lack"):
        decoded("good", "killed", "good")


def test_a_bug_in_a_process_is_a_bug_of_the_stage(decoded: Callable[..., list[Decoded]]):
    with pytest.raises(KeyError, match="a bug"):
        decoded("good", "a bug")


def test_a_wait_for_a_film_hears_the_wish_to_stop(decoded: Callable[..., list[Decoded]]):
    stop = Stop()
    stop.request()
    began = time.monotonic()
    with pytest.raises(Stopped):
        decoded("sleeps", check=stop.check)
    assert time.monotonic() - began < 30

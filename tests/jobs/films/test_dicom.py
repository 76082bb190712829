"""Films are read as pydicom, the reference, reads them: bit for bit."""

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from jobs.contract.exits import BadInput
from jobs.films.dicom import codecs, header
from jobs.films.dicom.film import read_film, stored_values
from jobs.films.phantom.dicom_writer import BITS, SYNTAXES, VOI, Identity, Quirks, encode, write_dicom

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The .* bit depth")

IDENTITY = Identity("patient", "study", "series", "image")
RNG = np.random.default_rng(0)
SMOOTH = np.clip(np.add.outer(np.linspace(0, 0.5, 50), np.linspace(0, 0.4, 41)) + RNG.normal(0, 0.02, (50, 41)), 0, 1)


def write(path: Path, quirks: Quirks, film: NDArray[np.float64] = SMOOTH) -> Path:
    write_dicom(path, film, IDENTITY, quirks)
    return path


def change(path: Path, **elements: Any) -> Path:
    """Write a film again with other elements; None takes one out."""
    file = pydicom.dcmread(path)
    for name, value in elements.items():
        if value is None:
            del file[name]
        else:
            setattr(file, name, value)
    file.save_as(path)
    return path


def reference(path: Path) -> NDArray[np.uint16]:
    """The film as pydicom shows it, stretched over the values outside the padding."""
    file = pydicom.dcmread(path)
    stored = file.pixel_array
    shown = apply_voi_lut(apply_modality_lut(stored, file), file).astype(np.float64)
    if file.PhotometricInterpretation == "MONOCHROME1":
        shown = -shown
    valid = stored != file.get("PixelPaddingValue", 1 << 20)
    low, high = shown[valid].min(), shown[valid].max()
    return np.where(valid, np.rint((shown - low) * (65535 / (high - low))), 0).astype(np.uint16)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("inverted", [False, True])
def test_every_syntax_and_depth_decodes_as_pydicom_does(tmp_path: Path, syntax: str, bits: int, inverted: bool):
    path = write(tmp_path / "film.dcm", Quirks(syntax, bits, inverted))
    np.testing.assert_array_equal(stored_values(path), pydicom.dcmread(path).pixel_array)
    np.testing.assert_array_equal(read_film(path).grey, reference(path))


@given(
    st.builds(
        Quirks,
        syntax=st.sampled_from(SYNTAXES),
        bits=st.sampled_from(BITS),
        inverted=st.booleans(),
        rescaled=st.booleans(),
        padded=st.booleans(),
        voi=st.sampled_from(VOI),
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_quirks_looks_as_pydicom_shows_it(tmp_path: Path, quirks: Quirks, signed: bool):
    signed = signed and quirks.syntax == ExplicitVRLittleEndian
    path = write(tmp_path / "film.dcm", replace(quirks, signed=signed))
    np.testing.assert_array_equal(stored_values(path), pydicom.dcmread(path).pixel_array)
    np.testing.assert_array_equal(read_film(path).grey, reference(path))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_uncompressed_syntaxes_give_the_same_film(tmp_path: Path, syntax: str):
    path = write(tmp_path / "film.dcm", Quirks(bits=12, inverted=True, voi="window"))
    expected = read_film(path).grey
    file = pydicom.dcmread(path)
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    if not little:
        file.PixelData = file.pixel_array.byteswap().tobytes()
    file.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(tmp_path / "other.dcm", file, little_endian=little, implicit_vr=implicit, force_encoding=True)
    np.testing.assert_array_equal(read_film(tmp_path / "other.dcm").grey, expected)


def test_the_same_pixels_have_the_same_hash_however_they_are_packed(tmp_path: Path):
    hashes = {
        read_film(write(tmp_path / f"{n}.dcm", Quirks(syntax, 12))).facts.pixels_sha256
        for n, syntax in enumerate(SYNTAXES)
    }
    assert len(hashes) == 1
    assert read_film(write(tmp_path / "other.dcm", Quirks(), SMOOTH[::-1])).facts.pixels_sha256 not in hashes


def test_monochrome1_is_turned_round(tmp_path: Path):
    upright = read_film(write(tmp_path / "two.dcm", Quirks(inverted=False))).grey.astype(int)
    turned = read_film(write(tmp_path / "one.dcm", Quirks(inverted=True))).grey.astype(int)
    assert np.abs(upright - turned).max() <= 2 * 65535 / 2**12


def test_padding_neither_shows_nor_stretches_the_range(tmp_path: Path):
    plain = read_film(write(tmp_path / "plain.dcm", Quirks()))
    padded = read_film(write(tmp_path / "padded.dcm", Quirks(padded=True)))
    assert padded.facts.padded == pytest.approx(24 / 41)
    assert (padded.grey[:, :12] == 0).all()
    assert padded.grey.max() == 65535
    inner = stored_values(tmp_path / "plain.dcm")[:, 12:-12]
    stretched = (inner - inner.min()) / (inner.max() - inner.min()) * 65535
    np.testing.assert_allclose(padded.grey[:, 12:-12], stretched, atol=1)
    assert plain.facts.padded == 0


def test_bits_beyond_those_stored_do_not_count(tmp_path: Path):
    path = write(tmp_path / "film.dcm", Quirks(bits=12))
    clean = stored_values(path)
    file = pydicom.dcmread(path)
    dirty = file.pixel_array.copy()
    dirty[::2] |= 0xA000  # overlays of old files
    change(path, PixelData=dirty.tobytes())
    np.testing.assert_array_equal(stored_values(path), clean)
    np.testing.assert_array_equal(read_film(path).grey, reference(path))


def test_a_square_is_black_to_white_and_keeps_the_shape(tmp_path: Path):
    film = np.zeros((400, 300))
    film[100:300, 100:200] = 1
    square = read_film(write(tmp_path / "film.dcm", Quirks(), film)).square(64)
    assert square.dtype == np.uint8
    assert (square[18:46, 26:38] == 255).all()
    assert (square[:14] == 0).all()


def test_a_film_of_one_grey_is_black(tmp_path: Path):
    film = read_film(write(tmp_path / "flat.dcm", Quirks(), np.full((20, 20), 0.5)))
    assert not film.grey.any()


def test_a_window_that_does_not_fit_the_film_is_noticed(tmp_path: Path):
    path = change(write(tmp_path / "film.dcm", Quirks(bits=12)), WindowCenter=100, WindowWidth=100)
    assert read_film(path).facts.burnt > 0.9
    assert read_film(write(tmp_path / "plain.dcm", Quirks(bits=12))).facts.burnt < 0.01


def test_a_patient_of_blanks_is_no_patient(tmp_path: Path):
    assert read_film(write(tmp_path / "film.dcm", Quirks())).facts.patient == "patient"
    assert read_film(change(tmp_path / "film.dcm", PatientID=" ")).facts.patient is None


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as refused:
        read_film(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_truncated_film_is_refused_wherever_it_ends(tmp_path: Path, syntax: str):
    path = write(tmp_path / "film.dcm", Quirks(syntax))
    whole = path.read_bytes()
    for kept in (len(whole) - 8, len(whole) * 2 // 3, 700, 200):
        path.write_bytes(whole[:kept])
        assert any(text in refusal(path) for text in ("truncated", "lacks", "damaged", "not a DICOM"))


@pytest.mark.parametrize("syntax", [syntax for syntax in SYNTAXES if UID(syntax).is_encapsulated])
@pytest.mark.parametrize("part", [0.3, 0.6])
def test_a_stream_that_ends_early_is_refused_although_its_end_is_marked(tmp_path: Path, syntax: str, part: float):
    path = write(tmp_path / "film.dcm", Quirks(syntax))
    film = pydicom.dcmread(path)
    [stream] = generate_frames(film.PixelData, number_of_frames=1)
    change(path, PixelData=encapsulate([stream[: int(len(stream) * part)] + b"\xff\xd9"]))
    assert any(text in refusal(path) for text in ("truncated", "cannot be decoded", "holds", "damaged"))


def test_a_film_whose_last_rows_are_alike_is_read(tmp_path: Path):
    alike = SMOOTH.copy()
    alike[30:] = 0.2
    stored = stored_values(write(tmp_path / "film.dcm", Quirks(JPEGLosslessSV1), alike))
    assert (stored[30:] == stored[-1]).all()


def test_files_that_are_no_dicom_are_refused(tmp_path: Path):
    path = tmp_path / "film.dcm"
    path.write_bytes(b"")
    assert "is empty" in refusal(path)
    path.write_bytes(b"\x89PNG" * 100)
    assert "not a DICOM file" in refusal(path)
    path.unlink()
    assert "No such file" in refusal(path)


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, r"colour image (RGB, 3 samples a pixel)"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"Rows": None}, "lacks the DICOM elements Rows"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 bits in 32"),
        ({"BitsStored": 17}, "17 bits in 16"),
        ({"Rows": 60}, "truncated"),
        ({"Rows": 65535, "Columns": 1}, "no film is so slender"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "grey scale that cannot be applied"),
    ],
)
def test_what_is_no_single_grey_film_is_refused(tmp_path: Path, elements: dict[str, Any], says: str):
    assert says in refusal(change(write(tmp_path / "film.dcm", Quirks()), **elements))


def test_compressed_pixels_of_another_size_than_the_header_says_are_refused(tmp_path: Path):
    for syntax in (JPEG2000Lossless, RLELossless):
        assert "pixel" in refusal(change(write(tmp_path / "film.dcm", Quirks(syntax)), Rows=60))


def test_optional_elements_that_are_empty_count_as_absent(tmp_path: Path):
    expected = read_film(write(tmp_path / "plain.dcm", Quirks(bits=12))).grey
    item = pydicom.Dataset()
    item.LUTDescriptor = None
    empty = {"RescaleSlope": "", "RescaleIntercept": "", "VOILUTFunction": "", "WindowCenter": "", "WindowWidth": "",
             "NumberOfFrames": "", "VOILUTSequence": [item]}  # fmt: skip
    for name, value in empty.items():
        path = change(write(tmp_path / "film.dcm", Quirks(bits=12)), **{name: value})
        np.testing.assert_array_equal(read_film(path).grey, expected)
    for name in ("SamplesPerPixel", "PixelPaddingValue", "PixelPaddingRangeLimit"):
        file = pydicom.dcmread(write(path, Quirks(bits=12)))
        file.pop(name, None)
        file.add_new(name, "US", None)
        file.save_as(path)
        np.testing.assert_array_equal(read_film(path).grey, expected)


def test_an_empty_first_window_gives_way_to_the_next(tmp_path: Path):
    expected = read_film(write(tmp_path / "plain.dcm", Quirks(bits=12, voi="window"))).grey
    path = change(write(tmp_path / "film.dcm", Quirks(bits=12)), WindowCenter=["", 2048], WindowWidth=["", 3276.8])
    np.testing.assert_array_equal(read_film(path).grey, expected)


@pytest.mark.parametrize("written", [63536, -2000])
def test_padding_is_compared_with_the_sign_of_the_pixels(tmp_path: Path, written: int):
    path = write(tmp_path / "film.dcm", Quirks(bits=16, signed=True))
    pixels = pydicom.dcmread(path).pixel_array.copy()
    pixels[:, :5] = -2000
    file = pydicom.dcmread(path)
    file.PixelData = pixels.tobytes()
    file.add_new("PixelPaddingValue", "SS" if written < 0 else "US", written)
    file.save_as(path)
    assert read_film(path).facts.padded == pytest.approx((pixels == -2000).mean())


@pytest.mark.parametrize(
    ("name", "value"), [("RescaleSlope", "NaN"), ("WindowWidth", "NaN"), ("RescaleSlope", "1e308")]
)
def test_a_grey_scale_without_numbers_is_refused(tmp_path: Path, name: str, value: str):
    others = {"RescaleSlope": 1, "RescaleIntercept": 0, "WindowCenter": 2000, "WindowWidth": 3000}
    path = change(write(tmp_path / "film.dcm", Quirks(bits=12)), **(others | {name: value}))
    assert "grey scale that cannot be applied" in refusal(path)


def relabel(path: Path, syntax: str) -> Path:
    """Write another transfer syntax into a file, and change nothing else."""
    data, name = path.read_bytes(), syntax.encode() + b"\0" * (len(syntax) % 2)
    at = data.index(b"\x02\x00\x10\x00UI") + 6
    (length,) = struct.unpack_from("<H", data, at)
    path.write_bytes(data[:at] + struct.pack("<H", len(name)) + name + data[at + 2 + length :])
    return path


def test_pixels_are_located_by_how_the_file_is_encoded(tmp_path: Path):
    expected = stored_values(write(tmp_path / "film.dcm", Quirks(bits=12)))
    relabel(tmp_path / "film.dcm", ImplicitVRLittleEndian)
    np.testing.assert_array_equal(stored_values(tmp_path / "film.dcm"), expected)
    file = pydicom.dcmread(write(tmp_path / "other.dcm", Quirks(bits=12)))
    pydicom.dcmwrite(tmp_path / "other.dcm", file, implicit_vr=True, little_endian=True, force_encoding=True)
    np.testing.assert_array_equal(stored_values(tmp_path / "other.dcm"), expected)


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
def test_compressed_and_uncompressed_pixels_are_not_taken_for_each_other(tmp_path: Path, syntax: str):
    path = relabel(write(tmp_path / "film.dcm", Quirks(syntax)), ExplicitVRLittleEndian)
    assert "compressed pixel data under the uncompressed transfer syntax" in refusal(path)
    path = relabel(write(tmp_path / "film.dcm", Quirks()), syntax)
    assert "uncompressed pixel data under the compressed transfer syntax" in refusal(path)


def with_stream(path: Path, quirks: Quirks, stream: bytes) -> Path:
    """Write a film and put another code stream in the place of its own."""
    file = pydicom.dcmread(write(path, quirks))
    file.PixelData = encapsulate([stream])
    file.save_as(path)
    return path


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
def test_a_stream_of_another_size_or_depth_than_the_headers_is_refused_before_it_is_decoded(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(codecs, "DECODERS", dict.fromkeys(codecs.DECODERS))
    monkeypatch.setattr(codecs, "_run_lengths", None)
    deep = encode(RNG.integers(0, 4096, SMOOTH.shape).astype(np.uint16), Quirks(syntax, 12))
    assert "its header says" in refusal(with_stream(tmp_path / "film.dcm", Quirks(syntax, 8), deep))
    shallow = encode(RNG.integers(0, 256, SMOOTH.shape).astype(np.uint8), Quirks(syntax, 8))
    assert "its header says" in refusal(with_stream(tmp_path / "film.dcm", Quirks(syntax, 12), shallow))
    if syntax != RLELossless:
        large = encode(RNG.integers(0, 4096, (60, 41)).astype(np.uint16), Quirks(syntax, 12))
        assert "60 x 41 pixels" in refusal(with_stream(tmp_path / "film.dcm", Quirks(syntax, 12), large))


def test_a_colour_stream_under_a_grey_header_is_refused(tmp_path: Path):
    colours = RNG.integers(0, 256, (*SMOOTH.shape, 3)).astype(np.uint8)
    streams = {
        JPEGBaseline8Bit: imagecodecs.jpeg8_encode(colours),
        JPEGLSLossless: imagecodecs.jpegls_encode(colours),
        JPEG2000Lossless: imagecodecs.jpeg2k_encode(colours, codecformat="j2k"),
    }
    for syntax, stream in streams.items():
        path = with_stream(tmp_path / "film.dcm", Quirks(JPEGLSLossless, 8), stream)
        assert "3 components" in refusal(relabel(path, syntax))


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
def test_a_stream_cut_within_intact_fragments_is_refused(tmp_path: Path, syntax: str):
    stream = encode(RNG.integers(0, 4096, SMOOTH.shape).astype(np.uint16), Quirks(syntax, 12))
    refusal(with_stream(tmp_path / "film.dcm", Quirks(syntax, 12), stream[: len(stream) // 2]))


def test_values_beyond_the_bits_stored_of_a_compressed_film_are_refused(tmp_path: Path):
    stream = encode(np.full(SMOOTH.shape, 5000, np.uint16), Quirks(JPEGLSLossless, 16))
    path = with_stream(tmp_path / "film.dcm", Quirks(JPEGLSLossless, 12), stream)
    assert "holds pixels from 5000 to 5000, its header says 12 bits" in refusal(path)


def test_a_jp2_file_in_place_of_a_code_stream_is_read(tmp_path: Path):
    pixels = RNG.integers(0, 4096, SMOOTH.shape).astype(np.uint16)
    stream = imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", reversible=True, bitspersample=12)
    path = with_stream(tmp_path / "film.dcm", Quirks(JPEG2000Lossless, 12), stream)
    np.testing.assert_array_equal(stored_values(path), pixels)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_film_that_claims_to_be_huge_is_refused_by_its_header(tmp_path: Path, syntax: str):
    path = change(write(tmp_path / "film.dcm", Quirks(syntax)), Rows=65500, Columns=65500)
    assert "has 65500 rows of 65500 pixels; a film has 1 to 40,000,000" in refusal(path)


def test_a_deflated_film_inflates_to_no_more_than_a_film_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "film.dcm", Quirks())
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file.save_as(path)
    assert read_film(path).facts.height == 50
    monkeypatch.setattr(header, "MOST_INFLATED", 1000)
    assert "inflates to more than 1000 bytes" in refusal(path)


def test_a_data_set_that_is_not_deflated_as_its_syntax_says_is_refused_as_that(tmp_path: Path):
    path = write(tmp_path / "film.dcm", Quirks())
    plain, deflated = str(ExplicitVRLittleEndian).encode(), str(DeflatedExplicitVRLittleEndian).encode()
    # The meta information's own length does not fit any more, which no reader minds.
    path.write_bytes(path.read_bytes().replace(b"UI\x14\0" + plain + b"\0", b"UI\x16\0" + deflated, 1))
    assert "has a data set that is not deflated, as its transfer syntax says" in refusal(path)


def test_only_regular_files_are_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.dcm")
    assert "is not a regular file" in refusal(tmp_path / "pipe.dcm")
    (tmp_path / "folder.dcm").mkdir()
    assert "is not a regular file" in refusal(tmp_path / "folder.dcm")


@given(st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_read_or_refused_but_never_crash(tmp_path: Path, data: st.DataObject):
    path = write(tmp_path / "film.dcm", Quirks(data.draw(st.sampled_from(SYNTAXES))))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        film = read_film(path)
    except BadInput:
        return
    assert film.grey.shape == (film.facts.height, film.facts.width)


def test_an_htj2k_stream_that_is_damaged_behind_its_head_is_refused():
    pixels = np.rint(SMOOTH * 4095).astype(np.uint16)
    stream = bytearray(imagecodecs.htj2k_encode(pixels, reversible=True))
    outcomes = set()
    for at in range(len(stream) // 2, len(stream) - 2):  # its decoder prints an error and goes on
        damaged = bytes(stream[:at]) + bytes([stream[at] ^ 0x80]) + bytes(stream[at + 1 :])
        try:
            codecs.DECODERS[HTJ2KLossless](damaged)
            outcomes.add("read")
        except header.Unreadable as error:
            outcomes.add(str(error))
        except Exception as error:
            outcomes.add(type(error).__name__)
    assert "has a damaged compressed stream (ojph error)" in outcomes

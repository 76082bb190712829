"""Reads the tags of a DICOM file that describe patient, study and machine, from its first bytes, without pixels."""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

HEAD: Final = 2**16  # bytes that hold these tags of most files
# Keyword → tag. Elements are sorted by tag in a file, so reading ends after the last of these.
TAGS: Final = {
    "StudyDate": 0x00080020,
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "PatientBirthDate": 0x00100030,
    "PatientSex": 0x00100040,
    "PatientAge": 0x00101010,
    "ViewPosition": 0x00185101,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
}
MAGIC: Final = b"DICM"  # after a preamble of 128 bytes


def has_magic(head: bytes) -> bool:
    """Return whether the first 132 bytes of a file are those of DICOM."""
    return head[128:132] == MAGIC


def read_tags(head: bytes, whole: Callable[[], bytes]) -> Mapping[str, str]:
    """Return the tags by keyword, as text without surrounding blanks; those that are absent or empty are left out.

    Args:
        head: the first ``HEAD`` bytes of a file, or all of it.
        whole: returns all of the file; called where the tags do not end within ``head``.

    Raises:
        ValueError: it is not a DICOM file, or its header is damaged.
    """
    try:
        elements, end = _parse(head)
        if len(head) < HEAD or end < len(head):
            return _texts(elements)
    except Exception as error:  # cut short, pydicom raises many types of error
        if len(head) < HEAD:
            raise ValueError(f"{type(error).__name__}: {error}") from error
    try:
        return _texts(_parse(whole())[0])
    except Exception as error:  # damaged bytes raise many types of error in pydicom
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _parse(content: bytes) -> tuple[Any, int]:
    """Return the elements and how many bytes were read."""
    file = BytesIO(content)
    last = max(TAGS.values())
    tags: list[BaseTag | int] = [Tag(tag) for tag in TAGS.values()]
    elements = read_partial(file, lambda tag, vr, length: tag > last, specific_tags=tags)
    return elements, file.tell()


def _texts(elements: Any) -> dict[str, str]:
    """Return the elements as text, without pydicom's validation: it warns of every id of the competition."""
    texts = {}
    for name, tag in TAGS.items():
        if (element := elements.get_item(tag)) is not None and isinstance(element.value, bytes):
            texts[name] = element.value.decode("utf-8", "replace").strip(" \0")
    return {name: text for name, text in texts.items() if text}

"""Whom and with what a film was taken, as far as its tags say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

OLDEST: Final = 120.0  # years; archives write absurd ages for unknown ones
DAYS: Final = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}  # of a unit of PatientAge


@dataclass(frozen=True)
class Description:
    """What a film's tags say; None where they say nothing that can be used.

    Attributes:
        sex: F, M or O.
        age: years at the time of the study.
        view: view position, e.g. PA or AP.
        modality: e.g. CR or DX.
        manufacturer: of the machine, as written.
    """

    sex: str | None = None
    age: float | None = None
    view: str | None = None
    modality: str | None = None
    manufacturer: str | None = None


def describe(tags: Mapping[str, str]) -> Description:
    """Return the description that the tags of a film give.

    Args:
        tags: keyword → text, of :func:`jobs.films.dicom.tags.read_tags`.
    """
    sex = tags.get("PatientSex", "").upper()
    return Description(
        sex=sex if sex in ("F", "M", "O") else None,
        age=_age(tags),
        view=_word(tags.get("ViewPosition", "").upper()),
        modality=_word(tags.get("Modality", "").upper()),
        manufacturer=_word(tags.get("Manufacturer", "")),
    )


def _age(tags: Mapping[str, str]) -> float | None:
    """Return the age in years: PatientAge, else the time from birth to study."""
    years = None
    if found := re.fullmatch(r"(\d{1,3})([DWMY])", tags.get("PatientAge", "").upper()):
        years = int(found[1]) * DAYS[found[2]] / DAYS["Y"]
    elif (born := _date(tags.get("PatientBirthDate"))) and (taken := _date(tags.get("StudyDate"))):
        years = (taken - born).days / DAYS["Y"]
    return round(years, 2) if years is not None and 0 <= years <= OLDEST else None


def _date(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y%m%d").date()
    except ValueError:
        return None


def _word(text: str) -> str | None:
    """Return a text with single blanks, at most 64 characters long; None if it is empty or cannot be printed."""
    short = " ".join(text.split())[:64]
    return short if short.isprintable() and short else None

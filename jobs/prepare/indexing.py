"""Builds the rows of the index from decoded films and label files, with findings about the dataset."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.contract.experiment import Experiment
from jobs.films.dicom.film import Facts
from jobs.films.film_files import FilmFile
from jobs.films.labels import Labels, join_labels
from jobs.films.problems import refuse
from jobs.films.splitting.duplicates import Pair, blank, near_duplicates
from jobs.films.splitting.folds import assign_folds, read_split
from jobs.films.splitting.frozen import frozen_sentence, keep_folds
from jobs.films.splitting.leakage import FOLDS, Audit, audit
from jobs.films.splitting.patients import group, read_patients
from jobs.prepare.tables import Tables


@dataclass(frozen=True)
class Findings:
    """Properties of a dataset that a user should know."""

    identical: list[tuple[str, str]]  # films with the same pixels
    near_duplicates: list[tuple[str, str, float]]  # and the correlation of their pixels
    across_patients: int  # pairs of either kind whose films belong to two patients
    disagreeing: int  # films whose PatientID differs from the patient that the table names
    clipped: int  # boxes that exceeded their film
    blank: list[str]  # films that show a single grey level
    burnt: list[str]  # films of which more than half is white
    audit: Audit | None  # of a split by study; None with too few studies
    frozen: str  # how many patients kept their folds; empty without a frozen split

    def sentences(self) -> list[str]:
        """Return the findings as sentences for the log."""
        sentences = [
            f"pairs of identical films: {len(self.identical)}, of near-duplicates: {len(self.near_duplicates)}, "
            f"across patients: {self.across_patients}; each pair is kept in one fold",
            f"boxes clipped to their film: {self.clipped}",
        ]
        if self.disagreeing:
            sentences.append(
                f"films whose PatientID differs from their patient in the table: {self.disagreeing}; the table counts, "
                "and films that share either are kept in one fold"
            )
        if self.frozen:
            sentences.append(self.frozen)
        if self.audit:
            sentences.append(f"a split by study would leak {self.audit.leaked:.0%} of the validation studies")
        if self.blank:
            sentences.append(f"blank films, whose window or rescale may be wrong: {', '.join(self.blank)}")
        if self.burnt:
            sentences.append(f"mostly white films, whose window may be wrong: {', '.join(self.burnt)}")
        return sentences


def make_index(
    films: list[FilmFile],
    facts: list[Facts],
    thumbnails: NDArray[np.uint8],
    tables: Tables,
    experiment: Experiment,
    test: bool,
    *,
    beside: bool = False,
) -> tuple[pd.DataFrame, Findings]:
    """Return the index's rows, sorted by image, and the findings.

    Args:
        films: sorted by image.
        facts: read from their files.
        thumbnails: (N, 64, 64).
        tables: labels (checked by ``check_ids``), patients and split.
        experiment: its data and folds.
        test: whether it is a test set, which has no folds and needs no labels.
        beside: whether the films are beside the folds: they get none, and need patients even without labels.

    Raises:
        BadInput: a box lies outside its film, a patient is unknown, the split leaks, or there are too few patients for
            the folds.
    """
    rows = pd.DataFrame([{"image": f.image, "study": f.study, "series": f.series} for f in films])
    rows = rows.join(pd.DataFrame([asdict(fact) for fact in facts]))
    tags = [fact.patient for fact in facts]  # in a column of strings, pandas turns None into NaN, which is true
    rows["patient"], disagreeing = _patients(rows, tags, tables, needed=beside or not test)
    flat = blank(thumbnails)
    pixels = rows["pixels_sha256"]
    near = [p for p in near_duplicates(thumbnails, experiment.data.duplicates) if pixels[p.one] != pixels[p.other]]
    equal = rows[~flat].groupby(pixels[~flat]).groups.values()
    same = [Pair(int(first), int(other), 1.0) for first, *others in equal for other in others]
    rows["group"] = group(
        rows.assign(tag=pd.Series(tags, rows.index, dtype=object)), [(pair.one, pair.other) for pair in same + near]
    )
    rows, clipped = _labelled(rows, tables.labels)
    if test or beside:
        rows["fold"] = -1
    else:
        count, seed = experiment.folds.count, experiment.folds.seed
        if tables.frozen:
            rows["fold"] = keep_folds(rows, tables.frozen, seed)
        else:
            rows["fold"] = read_split(tables.split, rows, count) if tables.split else assign_folds(rows, count, seed)
    frozen = frozen_sentence(rows, tables.frozen) if tables.frozen else ""
    return rows, _findings(rows, same, near, flat, disagreeing, clipped, frozen)


def _labelled(rows: pd.DataFrame, labels: Labels | None) -> tuple[pd.DataFrame, int]:
    """Return the rows with study_class and boxes, null and empty where there is no label, and the clipped boxes."""
    if labels is None:
        return rows.assign(study_class=None, boxes=pd.Series([[] for _ in rows.index], dtype=object)), 0
    known = rows["study"].isin(labels.classes)
    if known.all():
        joined = join_labels(rows, labels)
        return joined.rows, joined.clipped
    joined = join_labels(rows[known], labels)
    unknown, _ = _labelled(rows[~known].reset_index(drop=True), None)
    return pd.concat([joined.rows, unknown.set_axis(rows.index[~known])]).sort_index(), joined.clipped


def _patients(rows: pd.DataFrame, tags: list[str | None], tables: Tables, *, needed: bool) -> tuple[list[str], int]:
    """Return each film's patient, and how many films' PatientID differs from the table.

    The patient comes from the table, else from the film's file, else, where none is needed, from its study.
    """
    table = read_patients(tables.patients) if tables.patients else {}
    fallback = {} if needed else dict(zip(rows["study"], rows["study"], strict=True))
    patients = [table.get(study) or tag or fallback.get(study) for tag, study in zip(tags, rows["study"], strict=True)]
    unknown = [
        f"film {image} of study {study}"
        for image, study, patient in zip(rows["image"], rows["study"], patients, strict=True)
        if patient is None
    ]
    refuse(
        "Films without a patient, by which leaks are found",
        unknown,
        "Their files have no PatientID (0010,0020): put a CSV into the source that has a column study and a column "
        "patient, such as the competition's train_meta.csv, and name it as patients beside source.",
    )
    differ = sum(bool(tag) and tag != patient for tag, patient in zip(tags, patients, strict=True))
    return [str(patient) for patient in patients], differ


def _findings(
    rows: pd.DataFrame,
    same: list[Pair],
    near: list[Pair],
    flat: NDArray[np.bool_],
    disagreeing: int,
    clipped: int,
    frozen: str,
) -> Findings:
    image, patient = list(rows["image"]), list(rows["patient"])
    studies = rows.groupby("study", sort=True)[["study_class", "patient"]].first().reset_index()
    enough = (rows["fold"] >= 0).all() and len(studies) >= FOLDS
    return Findings(
        identical=[(image[pair.one], image[pair.other]) for pair in same],
        near_duplicates=[(image[pair.one], image[pair.other], round(pair.correlation, 4)) for pair in near],
        across_patients=sum(patient[pair.one] != patient[pair.other] for pair in same + near),
        disagreeing=disagreeing,
        clipped=clipped,
        blank=list(rows["image"][flat]),
        burnt=list(rows["image"][rows["burnt"] > 0.5]),
        audit=audit(studies, len(rows)) if enough else None,
        frozen=frozen,
    )

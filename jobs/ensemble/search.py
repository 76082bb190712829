"""Search the ensemble's settings on out-of-fold predictions, without training or predicting.

Each part is searched independently, because the six classes have equal weight in the score and the settings of a part
do not affect the others: study classes depend on the weights of the models that predict them, opacity on the detectors'
weights and the fusion, none on the none rule.

Weights are chosen by ensemble selection with replacement (Caruana et al. 2004): each round adds the model that helps
most, and a model's weight is the number of times it was added up to the best round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, Self

import numpy as np
import pandas as pd

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Ensemble, NoneRule
from jobs.contract.names import FILM_CLASSES, STUDY_CLASSES
from jobs.scoring.combine import Combined, Merged, Voter, combine, compose, merge, together
from jobs.scoring.evaluation_set import EvaluationSet, film2_table
from jobs.scoring.figures import FIGURES
from jobs.scoring.metric import Floats, Ints, MatchTable, average_precisions, mean_ap
from jobs.scoring.statistics.intervals import bootstrap, mean_over_classes, paired

GROUPS: Final = 5
ROUNDS: Final = 10
LEAST_GAIN: Final = 1e-3  # minimum gain over the best earlier round; smaller gains are noise from the patients sampled
IOUS: Final = (0.5, 0.55, 0.6, 0.65, 0.7)
TENTHS: Final = 10  # the none rule's weights are multiples of 0.1 that sum to 1


@dataclass(frozen=True)
class Searched:
    """The settings that a search chose.

    Attributes:
        settings: chosen on all patients; for a test set.
        without: for each group of patients, the settings chosen without the group; for its films.
        group: (films,) the group of each row of the index.
    """

    settings: Ensemble
    without: tuple[Ensemble, ...]
    group: Ints

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON, without the groups, which follow from the index and the seed."""
        return {
            "all": self.settings.model_dump(mode="json"),
            "without": [one.model_dump(mode="json") for one in self.without],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], group: Ints) -> Self:
        """Read what :meth:`as_json` wrote."""
        without = tuple(Ensemble.model_validate(one) for one in stored["without"])
        return cls(Ensemble.model_validate(stored["all"]), without, group)


def search(
    index: pd.DataFrame,
    classifiers: Sequence[Voter],
    detectors: Sequence[Voter],
    settings: Ensemble,
    seed: int,
    tick: Callable[[], None] = lambda: None,
) -> Searched:
    """Choose settings for the whole set and, for each group of patients, without that group.

    Args:
        index: one row per film with ``image``, ``study``, ``study_class``, ``boxes``, ``width``, ``height`` and
            ``group`` (patients and near-duplicates that must stay together).
        classifiers: the classifiers' pooled voters.
        detectors: the detectors' pooled voters.
        settings: the experiment's ``ensemble``, where the search starts.
        seed: seed of the assignment of patients to groups.
        tick: called after each of the ``GROUPS + 1`` choices.

    Raises:
        BadInput: there are fewer than two groups of patients.
    """
    group = patient_groups(index, seed)

    def chosen(rows: pd.DataFrame) -> Ensemble:
        best = _choose(rows, _on(classifiers, rows), _on(detectors, rows), settings)
        tick()
        return best

    without = tuple(chosen(index[group != number]) for number in range(int(group.max()) + 1))
    return Searched(chosen(index), without, group)


def nested(
    index: pd.DataFrame, classifiers: Sequence[Voter], detectors: Sequence[Voter], searched: Searched
) -> Combined:
    """Combine predictions, each film with the settings chosen without its patient."""
    parts = []
    for number, settings in enumerate(searched.without):
        rows = index[searched.group == number]
        parts.append(apply(rows, _on(classifiers, rows), _on(detectors, rows), settings))
    return together(parts)


def compare(
    index: pd.DataFrame,
    classifiers: Sequence[Voter],
    detectors: Sequence[Voter],
    searched: Searched,
    settings: Ensemble,
    figure: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Measure how much the search improves the score.

    Returns:
        ``figure``; ``plain``, the score of the experiment's own settings; ``naive``, of settings chosen on the same
        patients that are scored; ``nested``, of settings chosen without them; and ``gain``, nested minus plain with its
        95 % interval over patients, None if it cannot be computed.
    """
    classes = FIGURES[figure]
    combined = {
        "plain": combine(index, classifiers, detectors, settings),
        "naive": apply(index, classifiers, detectors, searched.settings),
        "nested": nested(index, classifiers, detectors, searched),
    }
    tables = {name: table_of(index, one, figure) for name, one in combined.items()}
    scores = {name: mean_ap(average_precisions(table), classes) for name, (table, _) in tables.items()}

    def samples(name: str) -> Floats:
        table, patient = tables[name]
        columns = [table.classes.index(one) for one in classes]
        return mean_over_classes(bootstrap(table, patient, resamples, seed)[:, columns])

    gain = None
    if resamples and np.isfinite([scores["plain"], scores["nested"]]).all():
        drawn = paired(scores["nested"] - scores["plain"], samples("plain"), samples("nested"))
        gain = {"difference": drawn.value, "low": drawn.interval.low, "high": drawn.interval.high, "p": drawn.p}
    return {"figure": figure, **scores, "gain": gain}


def apply(
    index: pd.DataFrame, classifiers: Sequence[Voter], detectors: Sequence[Voter], settings: Ensemble
) -> Combined:
    """Combine predictions with a search's settings, whose weights replace those of the voters."""
    return combine(index, _weighted(classifiers, settings), _weighted(detectors, settings), settings)


def patient_groups(index: pd.DataFrame, seed: int) -> Ints:
    """Assign patients at random to groups of about equal size; returns each row's group, (films,), from 0.

    Raises:
        BadInput: there are fewer than two patients.
    """
    own = pd.factorize(index["group"], sort=True)[0]
    count = int(own.max()) + 1 if len(own) else 0
    if count < 2:
        raise BadInput("ensemble.search needs the predictions of at least two patients: set it to none.")
    dealt = np.random.default_rng(seed).permutation(count) % min(GROUPS, count)
    return np.asarray(dealt[own], dtype=np.int64)


def table_of(index: pd.DataFrame, combined: Combined, figure: str) -> tuple[MatchTable, Ints]:
    """Match predictions with the labels of ``index`` for one figure; returns the patient of each unit as well."""
    evaluation = EvaluationSet.from_index(index)
    if figure != "film2":
        return evaluation.match(combined.submission, "the ensemble"), evaluation.patient
    assert combined.films is not None
    films = combined.films.set_index("image").loc[list(evaluation.films)]
    boxes = index.set_index("image")["boxes"].loc[list(evaluation.films)]
    has_box = np.array([len(of_film) > 0 for of_film in boxes])
    table = film2_table(has_box, films["none"].to_numpy(), films["opacity"].to_numpy())
    return table, evaluation.patient[len(evaluation.studies) :]


def _choose(
    index: pd.DataFrame, classifiers: Sequence[Voter], detectors: Sequence[Voter], settings: Ensemble
) -> Ensemble:
    """Return the settings that score best on these films."""
    every = settings.model_copy(update={"none": NoneRule()})  # any none rule will do while weights are chosen

    def score(
        figure: str, classes: Sequence[str], of: Sequence[Voter], boxes: Sequence[Voter], with_: Ensemble
    ) -> float:
        table, _ = table_of(index, combine(index, of, boxes, with_), figure)
        value = mean_ap(average_precisions(table), classes)
        return -1.0 if np.isnan(value) else value

    of_study = [voter for voter in classifiers if voter.predicts(STUDY_CLASSES)]
    of_film = [voter for voter in classifiers if not voter.predicts(STUDY_CLASSES)]
    weights = dict(settings.weights)
    weights |= _select(of_study, lambda voters: score("map4", STUDY_CLASSES, voters, [], every))
    weights |= _select(of_film, lambda voters: score("film2", FILM_CLASSES, voters, [], every))
    fusion = settings.fusion
    if detectors:
        opacity = FIGURES["opacity"]

        def with_iou(iou: float) -> Ensemble:
            return every.model_copy(update={"fusion": fusion.model_copy(update={"iou": iou})})

        ious = list(dict.fromkeys((fusion.iou, *IOUS)))
        best = max(ious, key=lambda iou: score("opacity", opacity, [], detectors, with_iou(iou)))
        fusion = fusion.model_copy(update={"iou": best})
        weights |= _select(detectors, lambda voters: score("opacity", opacity, [], voters, with_iou(best)))
    chosen = settings.model_copy(update={"weights": weights, "fusion": fusion})
    merged = merge(index, _weighted(classifiers, chosen), _weighted(detectors, chosen), chosen)
    return chosen.model_copy(update={"none": _none_rule(index, merged, chosen)})


def _select(voters: Sequence[Voter], score: Callable[[list[Voter]], float]) -> dict[str, float]:
    """Choose models' weights by ensemble selection; their mean is 1. Fewer than two models get no weights."""
    if len(voters) < 2:
        return {}
    counts = np.zeros(len(voters))
    best, highest = counts, -np.inf
    for _ in range(ROUNDS):
        tried = [counts + np.eye(len(voters))[number] for number in range(len(voters))]
        scores = [
            score([replace(voter, weight=float(weight)) for voter, weight in zip(voters, one, strict=True)])
            for one in tried
        ]
        counts = tried[int(np.argmax(scores))]
        if max(scores) > highest + LEAST_GAIN:
            best, highest = counts, max(scores)
    mean = best.mean()
    return {voter.name: float(weight / mean) for voter, weight in zip(voters, best, strict=True)}


def _none_rule(index: pd.DataFrame, merged: Merged, settings: Ensemble) -> NoneRule:
    """Choose the weights of none's sources, in tenths; ties go to the experiment's own rule."""
    sources = list(merged.sources)
    rules = [settings.none]
    for tenths in product(range(TENTHS + 1), repeat=len(sources)):
        if sum(tenths) == TENTHS:
            shares = {source: tenth / TENTHS for source, tenth in zip(sources, tenths, strict=True)}
            rules.append(NoneRule(**{**dict.fromkeys(NoneRule.model_fields, 0.0), **shares}))
    rules = [rule for rule in rules if any(getattr(rule, source) for source in sources)]

    def score(rule: NoneRule) -> float:
        table, _ = table_of(index, compose(merged, settings.model_copy(update={"none": rule})), "map6")
        value = average_precisions(table)["none"]
        return -1.0 if np.isnan(value) else value

    return max(rules, key=score)


def _on(voters: Sequence[Voter], rows: pd.DataFrame) -> list[Voter]:
    """Restrict the voters' predictions to the films of ``rows``."""
    images = set(rows["image"])
    return [replace(voter, table=voter.table[voter.table["image"].isin(images)]) for voter in voters]


def _weighted(voters: Sequence[Voter], settings: Ensemble) -> list[Voter]:
    """Return the voters with the settings' weights; a model's weight is split evenly among its nets."""
    nets = {voter.name: sum(other.name == voter.name for other in voters) for voter in voters}
    return [replace(voter, weight=settings.weights.get(voter.name, 1.0) / nets[voter.name]) for voter in voters]

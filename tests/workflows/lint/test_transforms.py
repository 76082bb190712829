"""Lists of transforms that albumentations would refuse. CXRFOLD_REGENERATE=1 writes the names that lint knows."""

import inspect
import os
from importlib.util import find_spec
from typing import Any

import pytest

from jobs.contract.experiment.augmentation import COMPOSITIONS
from workflows.lint import transforms
from workflows.lint.transforms import TRANSFORMS, transform_problems
from workflows.settings.files import load_experiment

# They need more than a film: other pictures, boxes, a function, or a third dimension.
NOT_FOR_FILMS = {
    "DualTransform", "ImageOnlyTransform", "Transform3D", "Lambda", "FDA", "HistogramMatching", "Mosaic", "MaskDropout",
    "PixelDistributionAdaptation", "TextImage", "OverlayElements", "AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop",
    "RandomSizedBBoxSafeCrop", "RandomCropNearBBox", "CenterCrop3D", "CoarseDropout3D", "Pad3D", "PadIfNeeded3D",
    "RandomCrop3D",
}  # fmt: skip


@pytest.mark.slow
def test_lint_knows_the_transforms_of_the_locked_albumentations() -> None:
    import albumentations as A

    kinds = {name: getattr(A, name) for name in dir(A) if inspect.isclass(getattr(A, name))}
    names = [
        name for name, kind in kinds.items() if issubclass(kind, A.BasicTransform) and kind is not A.BasicTransform
    ]
    lines = [
        [name, *inspect.signature(kinds[name]).parameters] for name in sorted({*names, *COMPOSITIONS} - NOT_FOR_FILMS)
    ]
    text = "".join(f"{' '.join(line)}\n" for line in lines)
    if os.environ.get("CXRFOLD_REGENERATE"):
        TRANSFORMS.write_text(text, encoding="utf-8")
    assert TRANSFORMS.read_text(encoding="utf-8") == text


def found(augment: str) -> list[str]:
    experiment = load_experiment("demo", [f"classifiers.tiny.augment={augment}"])
    return [f"{problem.where}: {problem.message}" for problem in transform_problems(experiment)]


def test_transforms_that_albumentations_knows_are_accepted():
    assert found("hard") == []
    assert found("[HorizontalFlip, {RandomResizedCrop: {scale: [0.5, 1]}}, {Resize: {}}]") == []
    assert found("[{OneOf: {p: 0.3, transforms: [{Blur: {blur_limit: 3}}, CLAHE]}}]") == []


@pytest.mark.parametrize(
    ("augment", "sentence"),
    [
        ("[HorizontlFlip]", "albumentations has no transform HorizontlFlip; did you mean HorizontalFlip?"),
        ("[IAASharpen: {p: 1}]", "albumentations has no transform IAASharpen; did you mean Sharpen?"),
        ("[HorizontalFlip: {q: 1}]", "HorizontalFlip has no q; it has p"),
        (
            "[{SomeOf: {n: 1, transforms: [HorizontalFlip: {p: 2}]}}]",
            "albumentations refuses the values of HorizontalFlip: p: Input should be less than or equal to 1",
        ),
    ],
)  # fmt: skip
def test_a_transform_that_would_be_refused_is_named_with_what_is_wrong(augment: str, sentence: str):
    assert found(augment) == [f"classifiers.tiny.augment: {sentence}"]


def test_without_albumentations_names_and_parameters_are_still_checked(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> Any:
        return None if name == "albumentations" else find_spec(name)

    monkeypatch.setattr(transforms, "find_spec", absent)
    assert found("[HorizontalFlip: {p: 2}]") == []
    assert found("[HorizontalFlip: {q: 2}]")

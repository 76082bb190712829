"""How an experiment names the augmentation of training films: a name, or a list of albumentations' transforms.

A list is data, as YAML has it, each item a transform and its values; ``OneOf``, ``SomeOf`` and ``Sequential`` hold
further ones under ``transforms``::

    augment:
      - HorizontalFlip: {p: 0.5}
      - OneOf: {p: 0.3, transforms: [Blur: {blur_limit: 3}, CLAHE: {clip_limit: 2}]}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, JsonValue, Tag

Level = Literal["none", "basic", "hard", "strong"]
COMPOSITIONS: Final = ("OneOf", "SomeOf", "Sequential")
WRITTEN: Final = "write a transform as {HorizontalFlip: {p: 0.5}}, and {HorizontalFlip: {}} for its defaults"


def walk(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every transform's name and values, compositions before what they hold, without their ``transforms``."""
    for step in steps:
        for name, values in step.items():
            yield name, {key: value for key, value in values.items() if key != "transforms"}
            yield from walk(values.get("transforms", []))


def _whole(step: Any) -> Any:
    """Return an item as one name with its values, at any depth; a name alone has none.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(step, str):
        return {step: {}}
    if not isinstance(step, dict) or len(step) != 1 or not all(isinstance(one, dict) for one in step.values()):
        raise ValueError(WRITTEN)
    ((name, values),) = step.items()
    if name not in COMPOSITIONS:
        if "transforms" in values:
            raise ValueError(f"{name} holds no transforms; {', '.join(COMPOSITIONS)} do")
        return step
    inner = values.get("transforms")
    if not isinstance(inner, list) or not inner:
        raise ValueError(f"{name} needs a list of transforms, under transforms")
    return {name: {**values, "transforms": [_whole(one) for one in inner]}}


Transform = Annotated[dict[str, dict[str, JsonValue]], BeforeValidator(_whole)]
Augment = Annotated[
    Annotated[Level, Tag("name")] | Annotated[tuple[Transform, ...], Tag("transforms"), Field(min_length=1)],
    Discriminator(lambda value: "transforms" if isinstance(value, list | tuple) else "name"),
]

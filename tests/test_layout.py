"""The layout stays readable: one word for one class, and folders that a person can take in."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = [file for side in ("jobs", "workflows") for file in (ROOT / side).rglob("*.py")]
MOST_FILES = 18
ONE_FILE_A_COMMAND = ROOT / "workflows" / "commands"


def test_no_class_name_means_two_things() -> None:
    places = defaultdict(list)
    for file in CODE:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_folder_has_more_files_than_a_person_takes_in() -> None:
    sizes: dict[Path, int] = defaultdict(int)
    for file in CODE:
        sizes[file.parent] += file.name != "__init__.py"
    del sizes[ONE_FILE_A_COMMAND]
    assert {str(folder.relative_to(ROOT)): size for folder, size in sizes.items() if size > MOST_FILES} == {}

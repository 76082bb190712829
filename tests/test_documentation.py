"""The documents at the top name everything that exists, and what they name exists."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import jobs.__main__
import workflows.cv
from jobs.contract.exits import TABLE
from jobs.contract.names import Stage

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page for page in ROOT.rglob("*.md") if not {".venv", "runs", "build"} & set(page.relative_to(ROOT).parts[:-1])
)
README, ARCHITECTURE, CONTRIBUTING = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
)


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands of a program, by what a user types; those of groups as well."""
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from commands(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


PROGRAMS = {"workflows/cv.py": workflows.cv.app, "python -m jobs": jobs.__main__.app}
COMMANDS = {
    path: command
    for program, app in PROGRAMS.items()
    for path, command in commands(typer.main.get_command(app), program)
}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help(path: str) -> None:
    if path.rpartition(" ")[2] not in list(Stage):  # `python -m jobs STAGE`
        alone = path.removeprefix("workflows/cv.py ")  # e.g. `render`
        assert re.search(rf"{re.escape(path)}\b|`{alone}`", README), f"README.md does not name `{path}`"
    assert COMMANDS[path].help, f"{path} has no help"
    options = [parameter for parameter in COMMANDS[path].params if parameter.param_type_name == "option"]
    assert [option.name for option in options if not option.help] == [], f"{path} has options without help"


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_of_a_program_lists_its_commands(program: str) -> None:
    arguments = program.removeprefix("python ").split()
    shown = subprocess.run([sys.executable, *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {path.removeprefix(program).split()[0] for path in COMMANDS if path.startswith(program)}
    assert [name for name in names if not re.search(rf"\b{name}\b", shown.stdout)] == []


def test_the_readme_explains_every_exit_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| .* \| (.*)\|$", README, re.MULTILINE))
    assert {int(code): text.startswith("yes") for code, text in rows.items()} == {
        int(code): meaning.retry for code, meaning in TABLE.items()
    }


def test_the_architecture_names_every_package() -> None:
    packages = {
        f"{side}/{folder.name}/"
        for side in ("jobs", "workflows")
        for folder in (ROOT / side).iterdir()
        if folder.is_dir() and folder.name != "__pycache__"
    }
    assert {package for package in packages if f"`{package}`" not in ARCHITECTURE} == set()
    named = set(re.findall(r"`((?:jobs|workflows)/\w+/)`", ARCHITECTURE))
    assert named - packages == set(), "no longer there"


def test_contributing_names_tests_and_files_that_exist() -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", CONTRIBUTING):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {name}"
    files = re.findall(r"`((?:jobs|workflows|tests|charts|images)/[\w/.-]+)`", CONTRIBUTING)
    missing = [file for file in files if "NAME" not in file and not (ROOT / file).exists()]
    assert missing == []


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for text in (README, ARCHITECTURE, CONTRIBUTING) for target in re.findall(r"`make ([a-z-]+)", text)}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []

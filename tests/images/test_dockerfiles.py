import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.contract.profile import Images

IMAGES = Path(__file__).parents[2] / "images"
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
Instructions = list[tuple[str, str]]


def instructions(path: Path) -> Instructions:
    """(INSTRUCTION, rest) of each line, continuations joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.parent.name)
def dockerfile(request: pytest.FixtureRequest) -> Instructions:
    return instructions(request.param)


def test_there_are_five() -> None:
    assert [path.parent.name for path in DOCKERFILES] == ["base", "code", "detector", "notify", "small"]


def test_base_is_an_argument_with_a_tag(dockerfile: Instructions) -> None:
    assert dockerfile[0][0] == "ARG"
    assert re.fullmatch(r"BASE=[a-z./-]+:(?!latest)[a-z0-9.-]+", dockerfile[0][1])
    assert [rest for word, rest in dockerfile if word == "FROM"] == ["${BASE}"]


def test_pip_installs_by_hash_what_the_lock_says(dockerfile: Instructions) -> None:
    for word, rest in dockerfile:
        if word == "RUN" and "pip" in rest:
            assert {"--no-cache-dir", "--no-deps", "--require-hashes"} <= set(rest.split())


def test_code_comes_last_and_in_one_image_only() -> None:
    for path in DOCKERFILES:
        copies = [rest for word, rest in instructions(path) if word == "COPY"]
        assert ("jobs /app/jobs" in copies) == (path.parent.name == "code")
    words = [word for word, _ in instructions(IMAGES / "code" / "Dockerfile")]
    assert words.count("RUN") == 1, "above the code there is only its byte code"


def test_it_runs_as_a_numbered_user_in_exec_form() -> None:
    code = dict(instructions(IMAGES / "code" / "Dockerfile"))
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", code["USER"])
    assert json.loads(code["ENTRYPOINT"]) == ["python", "-m", "jobs"]


def test_revision_is_a_label_and_in_the_environment() -> None:
    lines = instructions(IMAGES / "code" / "Dockerfile")
    assert any(word == "ENV" and "CXRFOLD_REVISION=${REVISION}" in rest for word, rest in lines)
    assert ("LABEL", "org.opencontainers.image.revision=${REVISION}") in lines


def test_only_the_detector_is_labelled_agpl() -> None:
    labelled = {path.parent.name for path in DOCKERFILES if "AGPL" in dict(instructions(path)).get("LABEL", "")}
    assert labelled == {"detector"}


def build(tmp_path: Path, *arguments: str) -> list[list[str]]:
    """Runs the build with a builder that only writes down what it was asked for."""
    log = tmp_path / "log"
    builder = tmp_path / "builder.py"
    builder.write_text(f"import json, sys\nopen({str(log)!r}, 'a').write(json.dumps(sys.argv[1:]) + chr(10))\n")
    command = [sys.executable, str(IMAGES / "build.py"), "--with", f"{sys.executable} {builder}", *arguments]
    subprocess.run(command, check=True, capture_output=True)
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_one_command_builds_all_each_upon_the_one_below(tmp_path: Path) -> None:
    calls = build(tmp_path, "--registry", "localhost:5000/", "--tag", "v1", "--base", "python:3.11-slim")
    built: set[str] = {"python:3.11-slim"}
    for name, context, *options in calls:
        base = next(each for each in options if each.startswith("BASE=")).removeprefix("BASE=")
        assert context == "."
        assert base in built, f"{name} is built before {base}, which it stands on"
        built.add(f"localhost:5000/{name}")
    defaults = Images()
    for reference in (defaults.small, defaults.base, defaults.detector):
        assert f"localhost:5000/{reference.format(revision='v1')}" in built


def test_one_image_builds_only_what_it_stands_on(tmp_path: Path) -> None:
    names = [name for name, *_ in build(tmp_path, "base", "--tag", "v1")]
    assert names == ["cxrfold-small:dependencies", "cxrfold:dependencies", "cxrfold:v1"]


def test_another_cuda_has_a_lock_and_an_index_of_its_own(tmp_path: Path) -> None:
    calls = {name: options for name, _, *options in build(tmp_path, "--tag", "v1", "--cuda", "cu126")}
    for image in ("cxrfold", "cxrfold-detector"):
        options = calls[f"{image}:dependencies"]
        assert "LOCK=requirements-cu126.txt" in options
        assert any(option.startswith("PIP_EXTRA_INDEX_URL=") and option.endswith("/cu126") for option in options)
    assert not any("LOCK" in option for option in calls["cxrfold-small:dependencies"])


def test_a_failing_builder_ends_the_build() -> None:
    command = [sys.executable, str(IMAGES / "build.py"), "--with", "false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ended with exit code 1" in done.stderr

#!/usr/bin/env python3
"""Builds every image: the three that carry libraries, each upon the one before, and the code on top of each.

    python images/build.py --registry registry.example/team --push

With docker, with buildah, or with any command that takes NAME:TAG, a context and the usual build options, and then
builds and pushes what it was told. Needs no installed package.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Folder → the image's name, in the order in which each builds on the one before.
IMAGES = {"small": "cxrfold-small", "base": "cxrfold", "detector": "cxrfold-detector"}
DEPENDENCIES = "dependencies"
PYTORCH_INDEX = "https://download.pytorch.org/whl"


def revision() -> str:
    """The git revision that the images are tagged and labelled with; the same words as the jobs' own provenance."""
    sys.path.insert(0, str(ROOT))
    from jobs.runtime.provenance import revision

    return revision()


class Builder:
    """Turns one Dockerfile into one image, with whichever tool this machine has."""

    def __init__(self, command: str | None, registry: str, push: bool) -> None:
        self.command = shlex.split(command) if command else None
        self.tool = None if command else find_tool()
        self.prefix = f"{registry.rstrip('/')}/" if registry else ""
        self.push = push

    def build(self, folder: str, name: str, arguments: dict[str, str], publish: bool) -> str:
        """Builds ``images/<folder>/Dockerfile`` as ``name`` and returns the reference for a FROM or a pod."""
        options = ["--file", f"images/{folder}/Dockerfile"]
        for key, value in arguments.items():
            options += ["--build-arg", f"{key}={value}"]
        reference = self.prefix + name
        if self.command:
            run([*self.command, name, ".", *options])
            return reference
        run([*self.tool_build(), "--tag", reference, *options, "."])
        if publish and self.push:
            run([str(self.tool), "push", reference])
        return reference

    def tool_build(self) -> list[str]:
        """The tool's own words for "build, and keep every layer for the next time"."""
        return ["buildah", "build", "--layers"] if self.tool == "buildah" else [str(self.tool), "build"]


def find_tool() -> str:
    """The first of docker, podman and buildah that is there and answers."""
    for tool in ("docker", "podman", "buildah"):
        if shutil.which(tool) and subprocess.run([tool, "info"], capture_output=True, check=False).returncode == 0:
            return tool
    raise SystemExit("images: no docker, podman or buildah answers here; install one, or give --with COMMAND")


def run(command: list[str]) -> None:
    """Runs a command from the repository's root; its output is the reader's, its failure is ours."""
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise SystemExit(f"images: {shlex.join(command)} ended with exit code {code}")


def build_all(builder: Builder, base: str, tag: str, wanted: list[str], cuda: str | None) -> None:
    """Builds the wanted images and those below them.

    Args:
        builder: the tool to build with.
        base: the image below all others.
        tag: tag of the images with code, and the revision that they record.
        wanted: some of ``IMAGES``.
        cuda: another CUDA than the locked one, as PyTorch names its index, e.g. ``cu126``.
    """
    below = base
    for folder in list(IMAGES)[: max(list(IMAGES).index(folder) for folder in wanted) + 1]:
        started = time.monotonic()
        other = {"LOCK": f"requirements-{cuda}.txt", "PIP_EXTRA_INDEX_URL": f"{PYTORCH_INDEX}/{cuda}"}
        arguments = {"BASE": below, **(other if cuda and folder != "small" else {})}
        below = builder.build(folder, f"{IMAGES[folder]}:{DEPENDENCIES}", arguments, publish=False)
        if folder in wanted:
            stands_on = below
            if folder == "small":  # the exit handler's libraries, which no other image is to be built anew for
                stands_on = builder.build("notify", f"{IMAGES[folder]}:notify", {"BASE": below}, publish=False)
            arguments = {"BASE": stands_on, "REVISION": revision()}
            reference = builder.build("code", f"{IMAGES[folder]}:{tag}", arguments, publish=True)
            print(f"{reference}  ({time.monotonic() - started:.0f} s)", flush=True)


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"some of {', '.join(IMAGES)}; all where not given")
    parser.add_argument("--registry", default="", help="put before the names, e.g. registry.example/team")
    parser.add_argument("--tag", help="the git revision where not given")
    parser.add_argument("--base", default="python:3.11-slim", help="the image below all others: Python 3.11 with pip")
    parser.add_argument("--cuda", help="another CUDA than the locked one, e.g. cu126, once CUDA=cu126 images/lock ran")
    parser.add_argument("--push", action="store_true", help="push the images with code; --with does so itself")
    parser.add_argument(
        "--with",
        dest="command",
        help="a command that builds and pushes, called as COMMAND NAME:TAG CONTEXT OPTIONS; --registry says where to",
    )
    options = parser.parse_args()
    if unknown := set(options.images) - set(IMAGES):
        parser.error(f"no image is called {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    builder = Builder(options.command, options.registry, options.push)
    build_all(builder, options.base, options.tag or revision(), options.images or list(IMAGES), options.cuda)


if __name__ == "__main__":
    main()

"""The modules of ``jobs`` that a program needs, and the libraries that they import, by reading import statements."""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import jobs

ROOT: Final = Path(jobs.__file__).parent
# Decoders that pydicom finds by itself, for transfer syntaxes that are rare among films.
PLUGINS: Final = ("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle")


@dataclass(frozen=True)
class Code:
    """What a program needs.

    Attributes:
        files: module → file.
        imports: the libraries that are imported, by their import names.
    """

    files: dict[str, Path]
    imports: frozenset[str]

    @property
    def libraries(self) -> set[str]:
        """Distributions of the imported libraries, and decoders that pydicom finds by itself."""
        owners = metadata.packages_distributions()
        return {owners[name][0] for name in self.imports if name in owners} | set(PLUGINS)


def needed_code(modules: Iterable[str], without: str | None = None) -> Code:
    """Follow the import statements of modules of ``jobs``, those inside functions as well.

    Imports under ``if TYPE_CHECKING`` are not followed.

    Args:
        modules: where to begin.
        without: a package that is left out with everything below it.
    """
    files: dict[str, Path] = {}
    imports: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        file = _file(module)
        if module in files or file is None or (without and f"{module}.".startswith(f"{without}.")):
            continue
        files[module] = file
        todo += [module.rpartition(".")[0]] if "." in module else []
        for name in _imported(ast.parse(file.read_text())):
            if name.partition(".")[0] == "jobs":
                todo.append(name)
            elif name.partition(".")[0] not in sys.stdlib_module_names:
                imports.add(name.partition(".")[0])
    return Code(files, frozenset(imports))


def _file(module: str) -> Path | None:
    """Return the file of a module of ``jobs``; None for a name within a module."""
    path = ROOT.parent.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imported(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from _imported(child)

"""Packages that only an extra of the installation has: ``pip install cxrfold[EXTRA]``."""

from importlib.util import find_spec

from jobs.contract.exits import BadInput


def check_installed(what: str, *packages: str, extra: str, otherwise: str = "") -> None:
    """Check that packages can be found, without importing them.

    Args:
        what: what needs them, as the beginning of a sentence.
        packages: names as they are imported.
        extra: the extra that installs them; several with commas.
        otherwise: what to do where nothing can be installed, e.g. in a pod.

    Raises:
        BadInput: one is not installed.
    """
    if missing := [package for package in packages if find_spec(package) is None]:
        remedies = f"pip install cxrfold[{extra}]" + (f", or {otherwise}" if otherwise else "")
        raise BadInput(f"{what} needs {' and '.join(missing)}, not installed here: {remedies}.")

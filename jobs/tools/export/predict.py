#!/usr/bin/env python3
"""Write the submission of a test folder: ``python predict.py TEST_FOLDER OUT.csv``."""

import sys
from pathlib import Path

EXPORT = Path(__file__).resolve().parent
sys.path.insert(0, str(EXPORT / "code"))

from jobs.tools.export.with_torch import main  # noqa: E402 - the export's own code, found by the line above

if __name__ == "__main__":
    sys.exit(main(EXPORT, sys.argv[1:]))

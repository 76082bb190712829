# SPDX-License-Identifier: AGPL-3.0-only
"""YOLO through ultralytics, which no other package imports.

Importing this package configures ultralytics before its first import: offline, silent, and with a temporary settings
file that turns off every service it could report to. ultralytics reads its environment variables once, at import.
"""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from jobs.contract import environment

ENVIRONMENT: Final = {
    "YOLO_OFFLINE": "True",
    "YOLO_AUTOINSTALL": "False",
    "YOLO_VERBOSE": "False",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
SERVICES: Final = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


def _settle() -> None:
    scratch = os.environ.get(environment.SCRATCH)
    if scratch:
        Path(scratch).mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="ultralytics-", dir=scratch))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    settings = {
        "settings_version": "0.0.8",
        **{f"{folder}_dir": str(home / folder) for folder in ("datasets", "weights", "runs")},
        **dict.fromkeys(("uuid", "api_key", "openai_api_key"), ""),
        **dict.fromkeys((*SERVICES, "vscode_msg", "openvino_msg"), False),
    }
    (home / "Ultralytics").mkdir()
    (home / "Ultralytics" / "settings.json").write_text(json.dumps(settings))
    os.environ.update(ENVIRONMENT, YOLO_CONFIG_DIR=str(home))
    os.environ.setdefault("MPLBACKEND", "Agg")


_settle()

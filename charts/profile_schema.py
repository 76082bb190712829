#!/usr/bin/env python3
"""Write the ``profile`` part of the chart's values.schema.json from the profile's model.

    python charts/profile_schema.py

So ``helm install`` already rejects what ``cv.py submit --profile`` would reject. Part of ``make golden``.
"""

import json
from pathlib import Path
from typing import Any, Final

from jobs.contract.profile import Profile

SCHEMA: Final = Path(__file__).parent / "cxrfold" / "values.schema.json"
# Fields that the chart fills in from its own values.
SET_BY_CHART: Final = ("name", "namespace", "service_account", "store", "images", "queue", "pushgateway")


def with_profile(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with ``profile`` and its definitions replaced by those of the profile's model."""
    profile = Profile.model_json_schema()
    definitions = profile.pop("$defs")
    for field in SET_BY_CHART:
        del profile["properties"][field]
    for model in ("StoreSettings", "Images"):
        del definitions[model]
    profile["description"] = "More of the profile that the chart writes for cv.py submit."
    return {**schema, "$defs": definitions, "properties": {**schema["properties"], "profile": profile}}


def main() -> None:
    """Rewrite the file."""
    schema = json.loads(SCHEMA.read_text())
    SCHEMA.write_text(json.dumps(with_profile(schema), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

"""``python -m cli.schemas``: write the JSON Schemas of what crosses our boundaries, as JSON and as YAML."""

import json
import sys
from pathlib import Path

import yaml
from pydantic import BaseModel

from contracts.callbacks import Callback
from contracts.messages import ProcessRequest, ReleaseRecord
from contracts.reports import Catalogue

FOLDER = Path(__file__).parent.parent / "contracts" / "schemas"
MODELS: dict[str, type[BaseModel]] = {
    "callback": Callback,
    "catalogue": Catalogue,
    "process-request": ProcessRequest,
    "release-record": ReleaseRecord,
}


def rendered() -> dict[str, str]:
    """Return file name → content for every schema."""
    files: dict[str, str] = {}
    for name, model in MODELS.items():
        schema = model.model_json_schema(by_alias=True)
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        files[f"{name}.json"] = json.dumps(schema, indent=2, sort_keys=True) + "\n"
        files[f"{name}.yaml"] = yaml.safe_dump(schema, sort_keys=True)
    return files


def main() -> int:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in rendered().items():
        (FOLDER / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())

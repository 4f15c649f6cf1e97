"""``python -m cli.schemas``: write the JSON Schemas of what crosses our boundaries, as JSON and as YAML.

The folders of templates get copies: Kafka's of the two that producers and readers of the log need, with an example of
each, S3's of the properties that every commit carries.
"""

import json
import sys
from pathlib import Path
from uuid import UUID

import yaml
from pydantic import BaseModel

from contracts.callbacks import Callback
from contracts.commit import properties_schema
from contracts.messages import ProcessRequest, ReleaseRecord
from contracts.reports import Catalogue
from contracts.tenancy import DEFAULT_TENANT

_ROOT = Path(__file__).parent.parent
FOLDER = _ROOT / "contracts" / "schemas"
TEMPLATE = _ROOT / "deploy" / "templates" / "kafka"
MODELS: dict[str, type[BaseModel]] = {
    "callback": Callback,
    "catalogue": Catalogue,
    "process-request": ProcessRequest,
    "release-record": ReleaseRecord,
}
PROPERTIES = "snapshot-properties"
S3_TEMPLATE = _ROOT / "deploy" / "templates" / "s3"
_IN_TEMPLATE = ("process-request", "release-record")
_EXAMPLE_PROCESS = UUID("01924f5e-8c00-7b3a-9d41-6f0c2a7e5b10")


def rendered() -> dict[str, str]:
    """Return file name → content for every schema."""
    files: dict[str, str] = {}
    schemas = {name: model.model_json_schema(by_alias=True) for name, model in MODELS.items()}
    for name, schema in {**schemas, PROPERTIES: properties_schema()}.items():
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        files[f"{name}.json"] = json.dumps(schema, indent=2, sort_keys=True) + "\n"
        files[f"{name}.yaml"] = yaml.safe_dump(schema, sort_keys=True)
    return files


def rendered_template() -> dict[str, str]:
    """Return file name → content of what is generated into the Kafka template, from its example of a request."""
    request = ProcessRequest.model_validate_json((TEMPLATE / "process-request.example.json").read_text())
    record = ReleaseRecord.model_validate(
        {
            **request.model_dump(),
            "process_id": _EXAMPLE_PROCESS,
            "attempt": 1,
            "tenant": DEFAULT_TENANT,
            "request_hash": request.request_hash(),
        }
    )
    copies = {name: content for name, content in rendered().items() if name.startswith(_IN_TEMPLATE)}
    return copies | {"release-record.example.json": json.dumps(json.loads(record.encode()), indent=2) + "\n"}


def rendered_s3_template() -> dict[str, str]:
    """Return file name → content of what is copied into the S3 template."""
    return {name: content for name, content in rendered().items() if name == f"{PROPERTIES}.json"}


def main() -> int:
    """Write every file."""
    for folder, files in (
        (FOLDER, rendered()),
        (TEMPLATE, rendered_template()),
        (S3_TEMPLATE, rendered_s3_template()),
    ):
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())

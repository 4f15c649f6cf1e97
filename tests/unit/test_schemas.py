"""The published schemas are the ones the models make."""

import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from cli.schemas import FOLDER, rendered
from contracts.identity import SafeId, safe_id


def test_the_schemas_have_not_drifted() -> None:
    found = {path.name: path.read_text() for path in FOLDER.iterdir() if path.suffix in {".json", ".yaml"}}
    assert found == rendered(), "run 'make schemas' and commit what it writes"


@given(st.from_regex(r"^[A-Za-z0-9._-]{1,130}\Z"))
def test_the_schema_of_an_id_is_its_rule(value: str) -> None:
    pattern = TypeAdapter(SafeId).json_schema()["pattern"]
    try:
        safe_id(value)
    except ValueError:
        assert not re.search(pattern, value)
    else:
        assert re.search(pattern, value)

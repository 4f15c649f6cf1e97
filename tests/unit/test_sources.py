"""What may be read for whom: folders only, below the entity's own or an allowed one, and never another tenant's."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.sources import bucket_and_prefix, is_allowed, safe_source
from resources.settings import LakeSettings

ALLOWED = ("s3://partner/{tenant}/{entity_id}/", "s3://open/data/")


@pytest.mark.parametrize(
    ("source", "is_read"),
    [
        ("s3://landing/e-1/", True),
        ("s3://landing/e-1/today/", True),
        ("s3://landing/e-10/", False),
        ("s3://landing/", False),
        ("s3://partner/acme/e-1/x/", True),
        ("s3://partner/acme/e-2/", False),
        ("s3://partner/globex/e-1/", False),
        ("s3://open/data/x/", True),
        ("s3://open/", False),
        ("s3://opened/data/", False),
    ],
)
def test_a_folder_is_read_for_its_tenant_and_entity(source: str, is_read: bool) -> None:
    assert is_allowed(source, ALLOWED, "landing", "acme", "e-1") is is_read


def test_an_operators_run_has_no_tenant_whose_folders_it_could_read() -> None:
    assert not is_allowed("s3://partner/None/e-1/", ALLOWED, "landing", None, "e-1")
    assert is_allowed("s3://open/data/", ALLOWED, "landing", None, "e-1")


_PIECES = st.sampled_from([*("..", ".", "/", "//", "a", "e-1", "*", "{", "}", "?", "%2e"), "\\", "\n", "\0", "ä", " "])


@given(st.lists(_PIECES, max_size=8).map("".join))
def test_whatever_is_taken_leads_where_it_says(rest: str) -> None:
    source = f"s3://landing/e-1/{rest}"
    try:
        safe_source(source)
    except ValueError:
        return
    bucket, prefix = bucket_and_prefix(source)
    assert (bucket, posixpath.normpath(prefix) + "/") == ("landing", prefix)
    assert not set(prefix) & set("*?{}[]\\\n\0%")


@pytest.mark.parametrize("prefix", ["s3://partner", "s3://partner/{who}/", "s3://x/../y/", "https://partner/"])
def test_a_setting_that_is_no_folder_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="ending in a slash"):
        LakeSettings.model_validate({"register_sources": f"s3://good/, {prefix}"})


def test_a_setting_lists_folders() -> None:
    found = LakeSettings.model_validate({"register_sources": "s3://{tenant}-data/x/, s3://good/"})
    assert found.register_sources == ("s3://{tenant}-data/x/", "s3://good/")

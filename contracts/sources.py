"""Where files to register may lie: below the entity's folder in the landing bucket, or below a prefix that is allowed.

An allowed prefix is an address like ``s3://partner/{tenant}/{entity_id}/``. The placeholders keep tenants apart: every
tenant may read what lies below a prefix that has none.
"""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from contracts.model import Frozen

MAX_SOURCE = 512
_ADDRESS = re.compile(r"^s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/((?:[A-Za-z0-9][A-Za-z0-9 ._=+@,-]*/)*)\Z")


def safe_source(value: str) -> str:
    """Return ``value`` when it is the address of a folder; raise ValueError naming the rule."""
    if not _ADDRESS.match(value):
        raise ValueError("must be 's3://bucket/folder/…/', ending in a slash, of letters, digits and ' ._=+@,-'")
    return value


Source = Annotated[str, StringConstraints(strict=True, max_length=MAX_SOURCE), AfterValidator(safe_source)]
"""The folder that a delivery lies in."""


class SourceParams(Frozen):
    """The parameters of an action that reads one delivery and nothing else."""

    source: Source | None = Field(None, description="Where the files lie; by default where they are delivered to.")


def bucket_and_prefix(source: str) -> tuple[str, str]:
    """Return the bucket, and the prefix of the keys in it. Raises ValueError as ``safe_source`` does."""
    bucket, _, prefix = safe_source(source).removeprefix("s3://").partition("/")
    return bucket, prefix


def is_allowed(source: str, allowed: Iterable[str], landing_bucket: str, tenant: str | None, entity_id: str) -> bool:
    """Return whether ``tenant`` may have ``source`` read for ``entity_id``. An operator's run has no tenant."""
    own = f"s3://{landing_bucket}/{{entity_id}}/"
    places = {"tenant": tenant, "entity_id": entity_id}
    for prefix in (own, *allowed):
        if tenant is None and "{tenant}" in prefix:
            continue
        if source.startswith(_filled(prefix, places)):
            return True
    return False


def checked_prefixes(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return the allowed prefixes. Raises ValueError naming the one that is no folder's address."""
    found = tuple(prefixes)
    for prefix in found:
        try:
            safe_source(_filled(prefix, {"tenant": "tenant", "entity_id": "entity"}))
        except ValueError as error:
            raise ValueError(f"{prefix!r} {error}; {{tenant}} and {{entity_id}} stand for the caller's") from error
    return found


def comma_separated(value: object) -> object:
    """Return the parts of a setting that lists several; what is no text is returned as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _filled(prefix: str, places: dict[str, str | None]) -> str:
    return re.sub(r"\{(tenant|entity_id)\}", lambda match: str(places[match[1]]), prefix)

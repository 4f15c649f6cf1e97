"""The coordinates of everything: entity, version, dataset, and the tokens that name one execution's folder."""

import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

ID_PATTERN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
NAME_PATTERN = re.compile(r"^[a-z][a-z0-9_]{0,62}\Z")
TOKEN_PATTERN = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]{1,6}-[0-9a-f]{16}\Z")


def safe_id(value: str) -> str:
    """Return ``value`` when it may be an entity_id or a data_version; raise ValueError naming the broken rule."""
    if not ID_PATTERN.match(value):
        raise ValueError(
            "must be 1 to 128 ASCII letters, digits, dots, underscores or hyphens, beginning with a letter or digit"
        )
    if ".." in value or value.endswith("."):
        raise ValueError("must not contain '..' and must not end in a dot")
    return value


def safe_name(value: str) -> str:
    """Return ``value`` when it may name an action or a dataset; raise ValueError naming the rule."""
    if not NAME_PATTERN.match(value):
        raise ValueError("must be 1 to 63 lower-case letters, digits or underscores, beginning with a letter")
    return value


# StringConstraints(strict) refuses numbers and booleans: nothing is coerced into an id.
SafeId = Annotated[
    str,
    StringConstraints(strict=True),
    AfterValidator(safe_id),
    WithJsonSchema({"type": "string", "pattern": r"^(?!.*\.\.)[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?$"}),
]
SafeName = Annotated[
    str,
    StringConstraints(strict=True),
    AfterValidator(safe_name),
    WithJsonSchema({"type": "string", "pattern": r"^[a-z][a-z0-9_]{0,62}$"}),
]
Token = Annotated[str, StringConstraints(strict=True, pattern=TOKEN_PATTERN.pattern.replace(r"\Z", "$"))]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 as hex."""


@dataclass(frozen=True, slots=True, order=True)
class Coordinate:
    """One dataset of one entity at one data version: where exactly one snapshot may ever be published."""

    entity_id: str
    data_version: str
    dataset: str

    def __post_init__(self) -> None:
        safe_id(self.entity_id)
        safe_id(self.data_version)
        safe_name(self.dataset)

    def __str__(self) -> str:
        return f"{self.entity_id}/{self.data_version}/{self.dataset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``entity/version/dataset`` back; raise ValueError for anything else."""
        parts = text.split("/")
        if len(parts) != 3:
            raise ValueError(f"{text!r} is not entity_id/data_version/dataset")
        return cls(*parts)


def execution_of(token: str) -> str:
    """Return the id of the process, or of the operator's run, that a token names."""
    return token[:36]


def new_token(execution_id: str, attempt: int) -> str:
    """Name a folder that no other execution will ever use: ``{process or run}-{attempt}-{64 random bits}``."""
    return f"{execution_id}-{attempt}-{secrets.token_hex(8)}"

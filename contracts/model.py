"""The two kinds of model that cross a boundary: neither changes, and neither takes a field that it does not know."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """What Lakemill says: to itself, to its callers, and in the lake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Strict(BaseModel):
    """What others ask of Lakemill: nothing is coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

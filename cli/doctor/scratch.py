"""A place in a bucket that a check may write to, and that is empty again afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from resources.lake.store import Lake, LakeAccessError, LakeError

ROOT = "_lakemill/doctor/"


@contextmanager
def scratch(lake: Lake) -> Iterator[str]:
    """Yield a prefix that nobody else uses; remove everything below it at the end.

    Raises LakeAccessError when it cannot be emptied.
    """
    prefix = f"{ROOT}{uuid4().hex}/"
    try:
        yield prefix
    finally:
        try:
            lake.delete([found.key for found in lake.list(prefix)])
        except LakeError as error:
            raise LakeAccessError(f"what was written below {lake.url(prefix)} cannot be removed: {error}") from error

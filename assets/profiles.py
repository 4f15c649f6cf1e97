"""What a deployment says about runs: its named resource profiles, and the images that an action may name."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from contracts.identity import SafeName
from contracts.messages import Profile
from contracts.problems import LakemillError

# A deployment lays its own files over these two.
PROFILES_FILE = Path(__file__).parent.parent / "deploy" / "profiles.toml"
IMAGES_FILE = PROFILES_FILE.with_name("images.toml")
_PROFILES = TypeAdapter(dict[SafeName, Profile])


_Parsed = TypeVar("_Parsed")
_IMAGES = TypeAdapter(dict[SafeName, str])


class ProfilesError(LakemillError):
    """The profiles file or the images file is missing or malformed."""


def load_profiles(path: Path = PROFILES_FILE) -> dict[str, Profile]:
    """Return the profiles by name. Raises ProfilesError naming the file and the field."""
    return _read(path, _PROFILES.validate_python)


def load_images(path: Path = IMAGES_FILE) -> dict[str, str]:
    """Return the images by the name that an action uses. Raises ProfilesError naming the file and the field."""
    return _read(path, lambda found: _IMAGES.validate_python(found.get("images", {})))


def _read(path: Path, parse: Callable[[dict[str, Any]], _Parsed]) -> _Parsed:
    try:
        return parse(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ProfilesError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ProfilesError(f"{path}: {error}") from error

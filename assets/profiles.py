"""The named resource profiles of a deployment, from one TOML file."""

import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from contracts.identity import SafeName
from contracts.messages import ResourceProfile
from contracts.problems import LakemillError

PROFILES_FILE = Path(__file__).parent.parent / "deploy" / "profiles.toml"
_PROFILES = TypeAdapter(dict[SafeName, ResourceProfile])


class ProfilesError(LakemillError):
    """The profiles file is missing or malformed."""


def load_profiles(path: Path = PROFILES_FILE) -> dict[str, ResourceProfile]:
    """Return the profiles by name. Raises ProfilesError naming the file and the field."""
    try:
        return _PROFILES.validate_python(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ProfilesError(f"{path}: {error.strerror}; set LAKEMILL_PROFILES_FILE") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ProfilesError(f"{path}: {error}") from error

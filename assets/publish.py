"""``python -m assets.publish``: tell the control plane which actions and profiles this code location has."""

import sys
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from assets.declaration import Action
from assets.profiles import load_images, load_profiles
from assets.registry import discover
from contracts.messages import Profile
from contracts.problems import LakemillError
from contracts.reports import ActionEntry, Catalogue
from resources.control_plane import ControlPlane, HttpControlPlane
from resources.settings import compute_settings


def catalogue(actions: Iterable[Action], profiles: Mapping[str, Profile]) -> Catalogue:
    """Return what the control plane may know of these actions."""
    return Catalogue(actions=[_entry(action) for action in actions], profiles=dict(profiles))


def publish(control: ControlPlane, actions: Iterable[Action], profiles: Mapping[str, Profile]) -> int:
    """Replace the published catalogue; return the number of actions. Raises the control plane's errors."""
    published = catalogue(actions, profiles)
    control.publish(published)
    return len(published.actions)


def main() -> int:
    """Publish what is deployed here; return the exit code."""
    try:
        settings = compute_settings()
        profiles = load_profiles()
        count = publish(HttpControlPlane(settings), discover("assets.actions", profiles, load_images()), profiles)
    except (LakemillError, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"published {count} actions and {len(profiles)} profiles to {settings.api_url}\n")
    return 0


def _entry(action: Action) -> ActionEntry:
    return ActionEntry(
        name=action.name,
        dataset=action.output,
        digest=action.digest,
        description=action.description,
        inputs=action.snapshot_inputs,
        output_schema=str(action.schema),
        params_schema=action.params_model.model_json_schema(),
        profile=action.profile,
        weight=action.weight,
        registers=action.registers,
    )


if __name__ == "__main__":
    sys.exit(main())

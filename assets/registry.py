"""All actions of this code location: every file in a package of action files, checked against each other."""

import importlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

from assets.declaration import Action
from assets.errors import ActionContractError
from assets.profiles import load_images, load_profiles
from assets.sql import load_sql


@dataclass(frozen=True, slots=True)
class Registry:
    """Actions by name."""

    actions: Mapping[str, Action]

    def __iter__(self) -> Iterator[Action]:
        return iter(self.actions.values())

    def __getitem__(self, name: str) -> Action:
        """Return the action. Raises ActionContractError when this code location does not have it."""
        if name not in self.actions:
            raise ActionContractError(f"action {name!r} is not deployed here; deployed: {', '.join(self.actions)}")
        return self.actions[name]

    def digests(self) -> dict[str, str]:
        """Return action name → code digest: what the sensor tells intake it can launch."""
        return {action.name: action.digest for action in self}


@cache
def registry() -> Registry:
    """Return the actions below ``assets/actions``."""
    return discover("assets.actions", load_profiles(), load_images())


def discover(package: str, profiles: Collection[str], images: Collection[str] = ()) -> Registry:
    """Import every ``.py`` and read every ``.sql`` of ``package``. Raises ActionContractError for what cannot stand."""
    spec = find_spec(package)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    found: list[Action] = []
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        if path.suffix == ".py" and not path.stem.startswith("_"):
            found += _from_python(f"{package}.{path.stem}")
        elif path.suffix == ".sql":
            found.append(load_sql(path))
    _refuse_duplicates(found)
    _refuse_unknown(found, "profile", profiles)
    _refuse_unknown(found, "image", images)
    _refuse_cycles(found)
    return Registry({action.name: action for action in found})


def _from_python(module_name: str) -> list[Action]:
    members = vars(importlib.import_module(module_name)).values()
    # An action imported from another file belongs to that file.
    found = [member for member in members if isinstance(member, Action) and member.function.__module__ == module_name]
    if not found:
        raise ActionContractError(f"{module_name} declares no action; decorate its function, or begin its name with _")
    return found


def _refuse_duplicates(found: list[Action]) -> None:
    for what in ("name", "output"):
        seen: set[str] = set()
        for action in found:
            value = getattr(action, what)
            if value in seen:
                raise ActionContractError(f"two actions have the {what} {value!r}; there may be one")
            seen.add(value)


def _refuse_unknown(found: list[Action], what: str, known: Collection[str]) -> None:
    """Refuse an action whose profile or image the deployment does not name."""
    for action in found:
        value = getattr(action, what)
        if value is not None and value not in known:
            choices = ", ".join(sorted(known)) or f"there is no {what}"
            raise ActionContractError(f"action {action.name}: {what} {value!r} is none of {choices}")


def _refuse_cycles(found: list[Action]) -> None:
    graph = {action.output: set(action.snapshot_inputs.values()) for action in found}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise ActionContractError(f"datasets need each other in a circle: {' ← '.join(error.args[1])}") from error

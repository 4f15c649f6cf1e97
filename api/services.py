"""What the routes work with, built once per process by ``api.app`` and replaced by fakes in tests."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.rates import Rates
from control.accepting.inputs import InputCheck
from control.processes import RunReader
from control.snapshots import CommitReader
from resources.database import Database
from resources.settings import ControlSettings


@dataclass(frozen=True, slots=True)
class Services:
    """The ports of the API."""

    settings: ControlSettings
    db: Database
    lake: CommitReader
    runs: RunReader | None
    inputs: InputCheck
    rates: Rates


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Ports = Annotated[Services, Depends(_services)]
"""A route parameter: the ports."""

"""One control plane over a database that can be backed up, lost and restored, with all that happens to it."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from contracts.commit import digest
from contracts.cursor import Cursor
from contracts.identity import new_token
from contracts.intake import IntakeRequest
from contracts.storage import commit_key, committed_at_key
from control.recovery.retire import Retirer
from control.releasing.release import release_once
from resources.callbacks.networks import parse_networks
from resources.callbacks.sender import GuardedSender
from resources.database import Database
from tests.fake_dagster import FakeRuns
from tests.integration.callbacks.deliveries import deliver_due
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import DIGEST, place
from tests.integration.postgres import Cluster
from tests.integration.recovery.rebuilding import no_wait
from tests.integration.store_lake import StoreLake
from tests.memory_log import MemoryLog
from tests.receiver import Receiver

ACTIONS = {"ingest": DIGEST, "refine": DIGEST}


@dataclass
class Drill:
    """One control plane over a database of its own, with what its tenants, its runs and its receiver do and see."""

    cluster: Cluster
    plane: ControlPlane
    lake: StoreLake
    hooks: Receiver
    log: MemoryLog = field(default_factory=lambda: MemoryLog(partitions=1))
    runs: FakeRuns = field(default_factory=FakeRuns)
    ids: dict[str, UUID] = field(default_factory=dict)
    launches: dict[str, UUID] = field(default_factory=dict)
    cursor: Cursor = field(default_factory=Cursor)

    @property
    def db(self) -> Database:
        return self.plane.db

    async def submit(self, *names: str) -> None:
        for name in names:
            self.ids[name] = await self.plane.accepted(entity_id=name, callback_url=self.hooks.url)

    async def release(self) -> int:
        return await release_once(self.db, self.log, self.plane.settings)

    async def sense(self, since: Cursor | None = None) -> dict[str, str]:
        """Show intake what is new, or what comes after ``since``; return its verdicts, by story."""
        persisted = self.cursor if since is None else since
        polled = self.log.poll(persisted, wait_seconds=0, max_records=500)
        request = IntakeRequest(persisted=persisted, actions=ACTIONS, records=polled.records)
        body = request.model_dump(mode="json")
        answers = await self.plane.intake(body["records"], persisted=body["persisted"])
        self.cursor = polled.cursor
        for answer in answers:
            if "launch" in answer:
                self.launches[answer["launch"]["entity_id"]] = UUID(answer["launch"]["launch_id"])
        stories = [json.loads(record.value or b"")["entity_id"] for record in polled.records]
        return dict(zip(stories, (answer["verdict"] for answer in answers), strict=True))

    async def report(self, name: str, event: str, attempt: int = 1, **fields: Any) -> httpx.Response:
        run_id = f"run-{name}-{attempt}"
        return await self.plane.report(self.ids[name], event, attempt=attempt, run_id=run_id, **fields)

    async def start(self, *names: str) -> None:
        for name in names:
            assert (await self.report(name, "started")).status_code == 200

    async def permit(self, name: str, attempt: int = 1) -> httpx.Response:
        return await self.report(name, "committing", attempt, token=new_token(str(self.ids[name]), attempt))

    async def publish(self, *names: str, attempt: int = 1) -> None:
        for name in names:
            self.lake.commit(place(entity_id=name), self.ids[name], attempt)
            assert (await self.report(name, "succeeded", attempt)).status_code == 200

    async def call_back(self) -> None:
        await deliver_due(self.db, GuardedSender(parse_networks(("127.0.0.0/8",))), self.plane.settings)

    async def retire(self, *names: str) -> None:
        retirer = Retirer(self.db, self.lake, self.plane.settings, "cli:operator", wait=no_wait)
        for name in names:
            await retirer.retire(place(entity_id=name))

    async def states(self) -> dict[str, str]:
        """Return what the API tells of each story: its state, or the status of its refusal."""
        told = {}
        for name, process_id in self.ids.items():
            answer = await self.plane.get(f"/v1/processes/{process_id}")
            told[name] = answer.json().get("state", str(answer.status_code))
        return told

    def commits(self) -> dict[str, str]:
        """Return, by story, the digest of every commit in the lake."""
        places = [found for key in self.lake.stored() if (found := committed_at_key(key)) is not None]
        return {found.entity_id: digest(self.lake.get(commit_key(found)) or b"") for found in places}

    def heard(self) -> dict[str, set[str]]:
        """Return, by story, the webhook-ids under which the receiver has been called."""
        found: dict[str, set[str]] = {}
        for request in self.hooks.requests:
            entity_id = json.loads(request.body)["data"]["entity_id"]
            found.setdefault(entity_id, set()).add(request.headers["webhook-id"])
        return found

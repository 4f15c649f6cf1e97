"""What every part of the model shares: time, the tables, the store, the log, the decisions, and what happened."""

from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

from pydantic import SecretStr

from contracts.reports import ActionEntry
from contracts.tenancy import Tenant, TenantLimits
from resources.settings import ControlSettings
from tests.memory_log import MemoryLog
from tests.model.action import count_orders
from tests.model.clock import Clock
from tests.model.decisions import Decisions
from tests.model.history import Event
from tests.model.rows import Rows
from tests.model.store import MemoryStore

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBtb2RlbCdzIGNhbGxiYWNrcw=="
TENANTS = {
    "acme": Tenant(id="acme", limits=TenantLimits(weight=2)),
    "bolt": Tenant(id="bolt", limits=TenantLimits(in_flight=2)),
}
SETTINGS = ControlSettings(
    database_url=SecretStr("postgresql+asyncpg://model/model"),
    internal_secret=SecretStr("internal-secret-of-the-model"),
    max_in_flight=3,
)
CATALOGUE = ActionEntry(
    name=count_orders.name,
    dataset=count_orders.output,
    digest=count_orders.digest,
    description="",
    inputs={},
    output_schema=str(count_orders.schema),
    params_schema={},
    profile="small",
)


@dataclass(slots=True)
class World:
    """One deployment. Ids are counted, so that an example can be told again."""

    decisions: Decisions = field(default_factory=Decisions)
    settings: ControlSettings = SETTINGS
    history: list[Event] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    log: MemoryLog = field(default_factory=MemoryLog)
    rows: Rows = field(init=False)
    store: MemoryStore = field(init=False)
    _ids: "count[int]" = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.rows = Rows(self.history)
        self.store = MemoryStore(self.clock, self.history)

    def new_id(self) -> UUID:
        """Return the next id; later ones are greater, as UUIDv7 is."""
        return UUID(int=next(self._ids))

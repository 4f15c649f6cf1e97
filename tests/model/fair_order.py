"""The order in which waiting processes are released, in so many words; ``control/releasing/order.py`` says it in SQL.

``tests/integration/releasing/test_order.py`` holds both to be the same.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from contracts.tenancy import TenantLimits

Row = Mapping[str, Any]


def fill(room: int, waiting: Iterable[Row], in_flight: Iterable[Row], limits: Mapping[str, TenantLimits]) -> list[UUID]:
    """Return who gets ``room`` places, one by one: of the tenant that then has the fewest in flight for its weight.

    Rows have ``id``, ``tenant_id``, ``priority``, ``created_at`` and ``cores``.
    """
    flying = list(in_flight)
    count = {tenant: sum(row["tenant_id"] == tenant for row in flying) for tenant in limits}
    cores = {tenant: sum(row["cores"] for row in flying if row["tenant_id"] == tenant) for tenant in limits}
    queues = {tenant: [row for row in waiting if row["tenant_id"] == tenant] for tenant in limits}
    for queue in queues.values():
        queue.sort(key=_own_order)
    chosen: list[UUID] = []
    while len(chosen) < room:
        heads = [
            queue[0] for tenant, queue in queues.items() if queue and _may_go(queue[0], count, cores, limits[tenant])
        ]
        if not heads:
            break
        best = min(
            heads, key=lambda row: ((count[row["tenant_id"]] + 1) / limits[row["tenant_id"]].weight, _own_order(row))
        )
        queues[best["tenant_id"]].pop(0)
        count[best["tenant_id"]] += 1
        cores[best["tenant_id"]] += best["cores"]
        chosen.append(best["id"])
    return chosen


def _own_order(row: Row) -> tuple[Any, ...]:
    return (-row["priority"], row["created_at"], row["id"])


def _may_go(row: Row, count: Mapping[str, int], cores: Mapping[str, int], limits: TenantLimits) -> bool:
    """Whether the tenant has a place left; what is larger than its limit of cores goes when it can go alone."""
    number, total = count[row["tenant_id"]] + 1, cores[row["tenant_id"]] + row["cores"]
    if limits.in_flight is not None and number > limits.in_flight:
        return False
    return number == 1 or limits.in_flight_cores is None or total <= limits.in_flight_cores

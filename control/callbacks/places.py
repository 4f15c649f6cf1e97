"""Who may begin how many callbacks now: decisions only, no clock and no database."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple


class Receiver(NamedTuple):
    """Whom callbacks go to: those of one tenant at one host (with its port, if the URL names one)."""

    tenant: str
    host: str


class Waiting(NamedTuple):
    """A receiver with something due, and since when the longest due has been."""

    since: datetime
    receiver: Receiver


@dataclass(frozen=True, slots=True)
class Places:
    """How many callbacks may be under way at once: in all, at one host whoever they are from, and of one tenant."""

    in_all: int
    per_host: int
    per_tenant: int


def allot(
    waiting: Iterable[Waiting], under_way: Mapping[Receiver, int], places: Places, most: Callable[[Receiver], int]
) -> Counter[Receiver]:
    """Give the free places away one by one; returns how many more each receiver may begin.

    Each goes to the tenant that has the fewest, and of its receivers to the one that has the fewest; among equals to
    whoever has waited longest. ``most`` says how many places a receiver may have.
    """
    taken, hosts, tenants, given = Counter(under_way), Counter[str](), Counter[str](), Counter[Receiver]()
    for receiver, count in under_way.items():
        hosts[receiver.host] += count
        tenants[receiver.tenant] += count
    queues: dict[str, list[tuple[int, datetime, Receiver]]] = defaultdict(list)
    for since, receiver in waiting:
        queues[receiver.tenant].append((taken[receiver], since, receiver))
    turns = [(tenants[tenant], min(since for _, since, _ in queue), tenant) for tenant, queue in queues.items()]
    heapify(turns)
    for queue in queues.values():
        heapify(queue)
    free = places.in_all - taken.total()
    while turns and free > 0:
        _, longest, tenant = heappop(turns)
        queue = queues[tenant]
        while queue and (hosts[queue[0][2].host] >= places.per_host or queue[0][0] >= most(queue[0][2])):
            heappop(queue)
        if not queue or tenants[tenant] >= places.per_tenant:
            continue  # nothing that ends before the next look would let it go on
        count, since, receiver = queue[0]
        heapreplace(queue, (count + 1, since, receiver))
        given[receiver] += 1
        hosts[receiver.host] += 1
        tenants[tenant] += 1
        heappush(turns, (tenants[tenant], longest, tenant))
        free -= 1
    return given

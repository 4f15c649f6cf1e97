"""Lists of processes: pages without gap or overlap, and queries that are refused."""

import pytest

from tests.integration.control_plane import ControlPlane
from tests.integration.problems import is_problem

pytestmark = pytest.mark.anyio
BAD_QUERIES = [
    "limit=0",
    "limit=-1",
    "limit=1000000000",
    "limit=x",
    "cursor=x",
    "cursor=%00",
    "cursor=" + "A" * 65,
    "sort=state",
    "state=done",
    "entity_id=../x",
    "entity_id=a%00b",
    "action=Ingest",
]


async def test_pages_follow_one_another_without_gap_or_overlap(plane: ControlPlane) -> None:
    made = [str(await plane.accepted(data_version=f"v{number}")) for number in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await plane.get(f"/v1/processes?limit=3{cursor}")).json()
        seen += [process["process_id"] for process in page["processes"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made[::-1]
    one = (await plane.get("/v1/processes?data_version=v3&entity_id=cust_8842&state=accepted&action=ingest")).json()
    assert [process["process_id"] for process in one["processes"]] == [made[3]]


async def test_a_bad_list_query_is_refused(plane: ControlPlane) -> None:
    for query in BAD_QUERIES:
        is_problem(await plane.get(f"/v1/processes?{query}"), 422, "validation_failed")

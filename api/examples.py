"""One process, from its request to its callback, as the documentation shows it: an example of every answer."""

from typing import Any

_PROCESS = "01a21b8f-b500-7054-94e6-37f660391770"
_LAUNCH = "01a21b8f-b510-748e-9a11-185d235501a4"
_DIGEST = "3456d72bad063a267fbf40170cea984ffda6744c4e56803e3db014161bdfbfb7"
_TOKEN = f"{_PROCESS}-1-8e6c37019c1286a0"
_HOOK = "https://api.example.com/lakemill"
_PLACE = {"entity_id": "cust_8842", "data_version": "v2024.10.05"}
_ASKED = {**_PLACE, "action": "aggregate_revenue"}
_TARGET = {**_PLACE, "dataset": "revenue"}
_ACCEPTED_AT, _DEADLINE_AT = "2024-10-06T05:52:12.543792Z", "2024-10-13T05:52:12.543792Z"
_FINISHED_AT = "2024-10-06T05:53:19.681944Z"
_PROFILE: dict[str, Any] = {
    "driver_cores": 4,
    "driver_memory": "4g",
    "executor_instances": 8,
    "executor_cores": 4,
    "executor_memory": "16g",
    "shuffle_partitions": 64,
    "cpu_request": "4",
    "min_executors": None,
}
_GRANT = {"requested": "large", "granted": _PROFILE, "reason": "the profile 'large', as requested"}
_ARTIFACT = {
    "path": "s3://lake/cust_8842/v2024.10.05/revenue",
    "rows": 385,
    "bytes": 14201,
    "files": 1,
    "commit_digest": _DIGEST,
    "committed_at": "2024-10-06T05:53:19.102000Z",
}
_DELIVERY = {
    "webhook_id": "3182ac3d-0e96-5efd-bac2-1e9e979fb36a",
    "url": _HOOK,
    "state": "delivered",
    "tries": 1,
    "last_status": 204,
    "last_error": None,
    "delivered_at": "2024-10-06T05:53:19.902730Z",
}
_SUMMARY = {
    "process_id": _PROCESS,
    **_ASKED,
    "dataset": "revenue",
    "state": "succeeded",
    "reason": None,
    "attempt": 1,
    "priority": 0,
    "accepted_at": _ACCEPTED_AT,
    "finished_at": _FINISHED_AT,
}
_ACCEPTED = {
    "process_id": _PROCESS,
    "state": "accepted",
    **_ASKED,
    "dataset": "revenue",
    "accepted_at": _ACCEPTED_AT,
    "deadline_at": _DEADLINE_AT,
    "links": {"self": f"/v1/processes/{_PROCESS}"},
}
_ACTION = {
    "name": "aggregate_revenue",
    "dataset": "revenue",
    "digest": _DIGEST,
    "description": "Net revenue by month and market segment.",
    "inputs": {"orders": "orders", "lineitem": "lineitem"},
    "output_schema": "month date, segment string, revenue decimal(18,2), orders bigint",
    "params_schema": {"type": "object", "properties": {}, "additionalProperties": False},
    "profile": "large",
}
_SNAPSHOT = {**_TARGET, "artifact": _ARTIFACT, "process_id": _PROCESS, "retired_at": None}
_BACKFILL = {
    "backfill_id": "01a21b8f-b604-740b-b965-05c0f08f6cde",
    "action": "aggregate_revenue",
    "data_version": "v2024.10.05",
    "state": "expanding",
    "entities": 1200,
    "looked_at": 1000,
    "skipped": 3,
    "refused": 0,
    "last_refusal": None,
    "processes": {"accepted": 940, "queued": 20, "running": 12, "succeeded": 25},
    "created_at": "2024-10-06T02:00:00.808525Z",
    "updated_at": "2024-10-06T02:14:31.120044Z",
}
_POSITION = {"topic_id": "Yk1cXyBpTZ2nJ5dVtRr3mA", "partition": 0, "offset": 4711}
_LAUNCHED = {
    "launch_id": _LAUNCH,
    "action": "aggregate_revenue",
    **_PLACE,
    "process_id": _PROCESS,
    "attempt": 1,
    "profile": _PROFILE,
}


def _stage(stage: str, at: str, seconds: float, **detail: Any) -> dict[str, Any]:
    return {"stage": stage, "attempt": 1, "at": at, "seconds": seconds, "detail": detail}


EXAMPLES: dict[str, dict[str, Any]] = {
    "Accepted": _ACCEPTED,
    "ProcessView": {
        **_SUMMARY,
        "deadline_at": _DEADLINE_AT,
        "retry_of": None,
        "profile": _GRANT,
        "blocked_by": None,
        "launch_id": _LAUNCH,
        "run": {
            "run_id": "5d2f0c1e-2f6b-4e0b-9d39-0b5f7c6f4a11",
            "status": "SUCCESS",
            "started_at": "2024-10-06T05:52:21.110000Z",
            "ended_at": "2024-10-06T05:53:19.990000Z",
            "url": "https://dagster.example.com/runs/5d2f0c1e-2f6b-4e0b-9d39-0b5f7c6f4a11",
        },
        "snapshot": _ARTIFACT,
        "metrics": {"rows": 385, "bytes": 14201, "files": 1, "checks": [], "resources": {}},
        "callback": _DELIVERY,
        "timeline": [
            _stage("accepted", _ACCEPTED_AT, 0.0),
            _stage("queued", "2024-10-06T05:52:13.010000Z", 0.466, launch_id=_LAUNCH),
            _stage("running", "2024-10-06T05:52:21.110000Z", 8.1),
            _stage("committed", "2024-10-06T05:53:19.102000Z", 57.992),
            _stage("succeeded", _FINISHED_AT, 0.58, token=_TOKEN),
        ],
    },
    "ProcessPage": {"processes": [_SUMMARY], "next_cursor": "AaIbj7UAcFSU5jf2YDkXcA"},
    "Preview": {
        **_ASKED,
        "dataset": "revenue",
        "action_digest": _DIGEST,
        "inputs": {name: {**_PLACE, "dataset": name} for name in ("orders", "lineitem")},
        "profile": _GRANT,
        "callback_url": _HOOK,
        "deadline_at": _DEADLINE_AT,
    },
    "BatchAnswer": {"results": [{"status": 202, "process": _ACCEPTED, "problem": None}]},
    "Callbacks": {
        "callbacks": [
            {
                **_DELIVERY,
                "next_try_at": None,
                "log": [
                    {
                        "at": "2024-10-06T05:53:19.902730Z",
                        "number": 1,
                        "status": 204,
                        "error": None,
                        "next_try_in_seconds": None,
                    }
                ],
            }
        ]
    },
    "ActionCatalogue": {"actions": [_ACTION], "profiles": {"large": _PROFILE}},
    "SnapshotView": _SNAPSHOT,
    "SnapshotPage": {"snapshots": [_SNAPSHOT], "next_cursor": None},
    "BackfillView": _BACKFILL,
    "BackfillPreview": {"entities": 1200, "published": 3, "sample": ["cust_8842", "cust_8843"]},
    "BackfillPage": {"backfills": [_BACKFILL], "next_cursor": None},
    "Report": {
        "event": "committing",
        "at": "2024-10-06T05:53:18.900000Z",
        "run_id": "5d2f0c1e-2f6b-4e0b-9d39-0b5f7c6f4a11",
        "process_id": _PROCESS,
        "attempt": 1,
        "token": _TOKEN,
        "commit_expires_at": "2024-10-06T05:55:18.900000Z",
    },
    "ReportAnswer": {"accepted": True, "permit_until": "2024-10-06T05:55:18.910000Z"},
    "IntakeRequest": {
        "persisted": {"topics": {}},
        "actions": {"aggregate_revenue": _DIGEST},
        "records": [{"topic": "lakemill.processes", "position": _POSITION, "value": "e30="}],
    },
    "IntakeAnswer": {"answers": [{"position": _POSITION, "verdict": "launch", "launch": _LAUNCHED}]},
    "LaunchMembers": {
        "launch_id": _LAUNCH,
        "members": [
            {
                "process_id": _PROCESS,
                "attempt": 1,
                "tenant": "acme",
                **_ASKED,
                "dataset": "revenue",
                "params": {},
                "inputs": {},
                "profile": _PROFILE,
            }
        ],
    },
    "Catalogue": {"actions": [_ACTION], "profiles": {"large": _PROFILE}},
}
"""Model → one of it. They are part of the model's schema."""

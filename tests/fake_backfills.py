"""The API as schedules meet it, as a fake that keeps the backfills that were asked for."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

from contracts.backfills import BackfillPreview, BackfillRequest, BackfillState, BackfillView
from resources.backfills import BackfillRefusedError, BackfillsUnavailableError

_NAMES = UUID(int=7)


class FakeBackfills:
    """One backfill per tenant and key. ``away`` makes it silent, ``refuses`` turns down these data versions."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str], BackfillRequest] = {}
        self.previewed: list[BackfillRequest] = []
        self.calls = 0
        self.away = False
        self.refuses: set[str] = set()

    def create(self, tenant: str, request: BackfillRequest) -> tuple[BackfillView, bool]:
        self._answer(request)
        assert request.idempotency_key is not None
        place = (tenant, request.idempotency_key)
        is_new = place not in self.made
        if self.made.setdefault(place, request).request_hash() != request.request_hash():
            raise BackfillRefusedError("this key has made a backfill of another request", "idempotency_key_reused")
        return _view(request), is_new

    def preview(self, tenant: str, request: BackfillRequest) -> BackfillPreview:
        self._answer(request)
        self.previewed.append(request)
        return BackfillPreview(entities=120, published=3, sample=[tenant])

    @property
    def versions(self) -> list[str]:
        """The data versions of what was made, in that order."""
        return [request.data_version for request in self.made.values()]

    def _answer(self, request: BackfillRequest) -> None:
        self.calls += 1
        if self.away:
            raise BackfillsUnavailableError("POST /v1/backfills: ConnectError: away")
        if request.data_version in self.refuses:
            raise BackfillRefusedError(f"422 unknown_action: {request.action}", "unknown_action")


def _view(request: BackfillRequest) -> BackfillView:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    return BackfillView(
        backfill_id=uuid5(_NAMES, str(request.idempotency_key)),
        action=request.action,
        data_version=request.data_version,
        state=BackfillState.EXPANDING,
        entities=120,
        looked_at=0,
        skipped=0,
        refused=0,
        last_refusal=None,
        processes={},
        created_at=now,
        updated_at=now,
    )

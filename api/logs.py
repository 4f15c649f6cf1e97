"""One line and one count per request. Every line written meanwhile carries its id. No header and no body is logged."""

import time
import uuid

import structlog
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import RequestMetrics

log = structlog.get_logger("api")

REQUEST_ID_HEADER = b"x-request-id"


class RequestLog:
    """ASGI middleware: binds ``request_id``, answers it in ``X-Request-Id``, logs method, path, status and time."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, begun, status = uuid.uuid4().hex, time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID_HEADER, request_id.encode())]
            await send(message)

        # Not unbound at the end: the handler of unforeseen errors runs after this one and logs the id too.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, answer)
        finally:
            spent = time.perf_counter() - begun
            told = {"method": scope["method"], "status": status or 500}
            log.info("request", **told, path=scope["path"], ms=round(spent * 1000, 1))
            self._metrics.answered(**told, route=_route(scope), seconds=spent)


def _route(scope: Scope) -> str:
    """Return the path as it was declared: whatever a client makes up is one word."""
    route: BaseRoute | None = scope.get("route")
    return str(getattr(route, "path", "unknown"))

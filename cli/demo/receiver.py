"""A callback receiver as a customer would write one: verify the signature, de-duplicate by webhook-id, answer 200."""

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from standardwebhooks import Webhook, WebhookVerificationError

from contracts.callbacks import Callback
from deploy.local.ports import HOST


class CallbackReceiver:
    """Listens on a port (0: any free one) of the loopback address, or of ``host``, while its ``with`` block runs.

    ``callbacks`` yields each verified callback once; ``rejected`` counts requests whose signature did not verify.
    """

    def __init__(self, secret: str, port: int = 0, host: str = HOST) -> None:
        self.callbacks: queue.Queue[Callback] = queue.Queue()
        self.rejected = 0
        self._host = host
        self._webhook = Webhook(secret)
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where callbacks are to be sent."""
        return f"http://{self._host}:{self._server.server_port}/callbacks"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def receive(self, body: bytes, headers: dict[str, str]) -> int:
        """Handle one request; return the HTTP status to answer."""
        try:
            self._webhook.verify(body, headers)
        except WebhookVerificationError:
            with self._lock:
                self.rejected += 1
            return 401
        with self._lock:
            is_new = headers["webhook-id"] not in self._seen
            self._seen.add(headers["webhook-id"])
        if is_new:
            self.callbacks.put(Callback.model_validate_json(body))
        return 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(receiver.receive(body, headers))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay silent: the demo prints its own progress."""

        return Handler

"""As much of the Kubernetes API as Spark asks for: pods of one namespace, for an account with a list of rights."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from resources.cluster.review import Access

_VERBS = {"POST": ("create", "create"), "GET": ("get", "list"), "DELETE": ("delete", "deletecollection")}
"""Method → the verb on one object, and on a collection."""
_STATUS = {"kind": "Status", "apiVersion": "v1"}
_LIST = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}


class KubeApi:
    """A namespace without nodes: its pods stay Pending. Whatever is not ``granted`` is refused with 403."""

    def __init__(self, granted: Collection[Access]) -> None:
        self.granted = granted
        self.refused: set[Access] = set()
        self.pods: dict[str, dict[str, Any]] = {}
        self.url = ""

    def may(self, access: Access) -> bool:
        if access not in self.granted:
            self.refused.add(access)
        return access in self.granted

    def add(self, pod: dict[str, Any], phase: str = "Pending") -> dict[str, Any]:
        """Add a pod as the API server does; return it with what the server fills in."""
        name = pod["metadata"]["name"]
        ready = {"type": "Ready", "status": str(phase == "Running")}
        more = {"namespace": "mill", "uid": f"uid-of-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        kind = {"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase, "conditions": [ready]}}
        self.pods[name] = {**pod, **kind, "metadata": pod["metadata"] | more}
        return self.pods[name]

    def found(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """Return the pods that a query selects by equal labels or by name."""
        labels = dict(pair.split("=") for pair in ",".join(query.get("labelSelector", [])).split(",") if "=" in pair)
        named = [field.removeprefix("metadata.name=") for field in query.get("fieldSelector", [])]
        return [
            pod
            for name, pod in tuple(self.pods.items())  # Spark makes more meanwhile
            if pod["metadata"].get("labels", {}).items() >= labels.items() and name in (named or [name])
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: KubeApi

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        access, name, query = self._asked()
        if not self.api.may(access):
            self._send(403, _STATUS | {"status": "Failure", "code": 403})
        elif access.verb == "watch":
            self._send(200, None)  # nothing happens here; who wants to know more lists
        elif access.verb == "create":
            self._send(201, self.api.add(json.loads(body)))
        elif access.verb == "get":
            pod = self.api.pods.get(name)
            self._send(200 if pod else 404, pod or _STATUS | {"code": 404})
        else:
            found = [self.api.pods[name]] if name in self.api.pods else self.api.found(query)
            for pod in found if access.verb.startswith("delete") else ():
                del self.api.pods[pod["metadata"]["name"]]
            self._send(200, _LIST | {"items": found})

    def _asked(self) -> tuple[Access, str, dict[str, list[str]]]:
        """Return what is to be done, to which object if to one, and the query."""
        asked = urlsplit(self.path)
        query = parse_qs(asked.query)
        whole, _, below = asked.path.partition("/namespaces/mill/")
        resource, _, name = below.partition("/")
        one, many = _VERBS.get(self.command, (self.command, self.command))
        verb = "watch" if "watch" in query else one if name else many
        return Access(whole.split("/")[2] if whole.startswith("/apis/") else "", resource, verb), name, query

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _answer  # noqa: N815 - the library's names

    def _send(self, status: int, content: dict[str, Any] | None) -> None:
        body = json.dumps(content).encode() if content else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def kube_api(granted: Collection[Access]) -> Iterator[KubeApi]:
    """Yield the API server of a namespace ``mill`` for an account that may do what is ``granted``."""
    api = KubeApi(granted)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()

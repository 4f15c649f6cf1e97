"""How the Kubernetes API is reached, and what its refusals and its silence are called."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiClient, ApiException, Configuration
from urllib3.exceptions import HTTPError

from resources.cluster.port import ClusterAbsentError, ClusterError, ClusterRefusedError, ClusterUnavailableError

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class BoundedApiClient(ApiClient):  # type: ignore[misc]  # kubernetes has no types
    """Bounds the calls that set no limit of their own, as Dagster's do: a mute server would keep them for ever."""

    timeout = (3.0, 10.0)
    """Seconds to connect, and to wait for an answer."""

    def request(self, *arguments: Any, _request_timeout: Any = None, **options: Any) -> Any:
        """Send one request: all calls of the API's classes come through here."""
        return super().request(*arguments, _request_timeout=_request_timeout or self.timeout, **options)


def connect() -> tuple[BoundedApiClient, str]:
    """Return a client with the pod's token, or else the kubeconfig's, and the namespace that goes with it.

    It tries each call twice.

    Nothing is sent yet. Raises ClusterAbsentError.
    """
    settings = Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
        namespace = _NAMESPACE_FILE.read_text().strip()
    except (config.ConfigException, OSError):
        try:
            config.load_kube_config(client_configuration=settings)
            _, current = config.list_kube_config_contexts()
        except config.ConfigException as error:
            raise ClusterAbsentError(f"neither in a pod with a token nor with a kubeconfig ({error})") from error
        namespace = current["context"].get("namespace", "default")
    settings.retries = 1  # for a connection that has died meanwhile; urllib3's own three would take minutes
    return BoundedApiClient(settings), namespace


@contextmanager
def answering(what: str = "") -> Iterator[None]:
    """Translate what the client raises in the block into ClusterError; ``what`` was asked is part of a refusal."""
    try:
        yield
    except (ApiException, HTTPError, OSError) as error:
        raise cluster_error(error, what) from error


def cluster_error(error: BaseException, what: str = "") -> ClusterError:
    """Translate what the client raised."""
    status, text = getattr(error, "status", None), _said(error)
    if isinstance(status, int) and 400 <= status < 500 and status != 429:
        return ClusterRefusedError(f"{what}: {text}" if what else text)
    return ClusterUnavailableError(f"the Kubernetes API server does not answer ({text})")


def _said(error: BaseException) -> str:
    """Return the API server's own sentence, or the client's."""
    try:
        return str(json.loads(getattr(error, "body", None) or "{}")["message"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"

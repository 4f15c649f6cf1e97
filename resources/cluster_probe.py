"""Questions to the Kubernetes API that only a set-up asks: who are we, what may an account do, does an image start."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from resources.cluster_port import (
    Access,
    ClusterAbsentError,
    ClusterError,
    ImpersonationError,
    PodEnd,
    PodModel,
    ShortPod,
)
from resources.short_pod import run_to_its_end

_SECONDS = 10
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class KubernetesCluster:
    """One API server, by the pod's own token or by a kubeconfig."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    @classmethod
    def connect(cls, namespace: str | None = None) -> "KubernetesCluster":
        """Read the pod's token or the kubeconfig; nothing is sent yet. Raises ClusterAbsentError."""
        settings = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=settings)
            here = _NAMESPACE_FILE.read_text().strip()
        except (config.ConfigException, OSError):
            try:
                config.load_kube_config(client_configuration=settings)
                _, current = config.list_kube_config_contexts()
            except config.ConfigException as error:
                raise ClusterAbsentError(f"neither in a pod with a token nor with a kubeconfig ({error})") from error
            here = current["context"].get("namespace", "default")
        settings.retries = 1
        return cls(client.ApiClient(settings), namespace or here)

    def user(self) -> str:
        """See Cluster."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        with answering("a SelfSubjectReview"):
            found = client.AuthenticationV1Api(self._api).create_self_subject_review(body, _request_timeout=_SECONDS)
        return str(found.status.user_info.username)

    def version(self) -> str:
        """See Cluster."""
        with answering("its version"):
            return str(client.VersionApi(self._api).get_code(_request_timeout=_SECONDS).git_version)

    def may(self, access: Access, account: str | None = None) -> bool:
        """See Cluster."""
        resource, _, subresource = access.resource.partition("/")
        attributes = {
            "namespace": self.namespace,
            "group": access.group,
            "resource": resource,
            "subresource": subresource,
            "verb": access.verb,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        try:
            return self._review(self._api if account is None else self._as(account), body)
        except client.ApiException as error:
            if error.status == 403 and account is not None:
                raise ImpersonationError(f"{self._me} may not act as {account!r}") from error
            raise ClusterError(f"the API server answers {error.status} to an access review") from error

    def model(self, account: str) -> PodModel | None:
        """See Cluster."""
        with answering("a list of pods"):
            found = client.CoreV1Api(self._api).list_namespaced_pod(
                self.namespace, field_selector=f"spec.serviceAccountName={account}", limit=1, _request_timeout=_SECONDS
            )
        if not found.items:
            return None
        spec = self._api.sanitize_for_serialization(found.items[0].spec)
        kept = {name: spec[name] for name in ("imagePullSecrets", "nodeSelector", "affinity") if name in spec}
        # The node's own taints come with their tolerations in every pod; those say nothing.
        tolerations = [
            each for each in spec.get("tolerations", ()) if not each.get("key", "").startswith("node.kubernetes.io/")
        ]
        return PodModel(spec["containers"][0]["image"], kept | ({"tolerations": tolerations} if tolerations else {}))

    def run(self, pod: ShortPod) -> PodEnd:
        """See Cluster."""
        with answering("the doctor's Job"):
            return run_to_its_end(self._api, self.namespace, pod)

    @cached_property
    def _me(self) -> str:
        return self.user()

    def _as(self, account: str) -> Any:
        other = client.ApiClient(self._api.configuration)
        other.set_default_header("Impersonate-User", f"system:serviceaccount:{self.namespace}:{account}")
        return other

    def _review(self, api: Any, body: dict[str, Any]) -> bool:
        with answering("an access review", refused=False):
            asked = client.AuthorizationV1Api(api)
            return bool(asked.create_self_subject_access_review(body, _request_timeout=_SECONDS).status.allowed)


@contextmanager
def answering(what: str, *, refused: bool = True) -> Iterator[None]:
    """Translate what the API server does into ClusterError; ``refused=False`` leaves its refusals to the caller."""
    try:
        yield
    except client.ApiException as error:
        if not refused:
            raise
        raise ClusterError(f"the API server answers {error.status} {error.reason} to {what}: {said(error)}") from error
    except (HTTPError, OSError) as error:
        raise ClusterError(f"the API server does not answer ({type(error).__name__})") from error


def said(error: Any) -> str:
    """Return the message in an API error's body, or the body."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body or "")[:300]

"""Questions to the Kubernetes API that only a set-up asks: who are we, what may an account do, does an image start."""

from functools import cached_property
from typing import Any

from kubernetes import client

from resources.cluster.api import BoundedApiClient, answering, connect
from resources.cluster.port import ClusterRefusedError, ImpersonationError
from resources.cluster.review import Access, PodEnd, PodModel, ShortPod
from resources.cluster.short_pod import run_to_its_end


class KubernetesReview:
    """One API server, by the pod's own token or by a kubeconfig."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    @classmethod
    def connect(cls, namespace: str | None = None) -> "KubernetesReview":
        """Read the pod's token or the kubeconfig; nothing is sent yet. Raises ClusterAbsentError."""
        api, here = connect()
        return cls(api, namespace or here)

    def user(self) -> str:
        """See ClusterReview."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        with answering("a SelfSubjectReview"):
            found = client.AuthenticationV1Api(self._api).create_self_subject_review(body)
        return str(found.status.user_info.username)

    def version(self) -> str:
        """See ClusterReview."""
        with answering("its version"):
            return str(client.VersionApi(self._api).get_code().git_version)

    def may(self, access: Access, account: str | None = None) -> bool:
        """See ClusterReview."""
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
        except ClusterRefusedError as error:
            if account is None:
                raise
            raise ImpersonationError(f"{self._me} may not act as {account!r}") from error

    def model(self, account: str) -> PodModel | None:
        """See ClusterReview."""
        with answering("a list of pods"):
            found = client.CoreV1Api(self._api).list_namespaced_pod(
                self.namespace, field_selector=f"spec.serviceAccountName={account}", limit=1
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
        """See ClusterReview."""
        with answering("the doctor's Job"):
            return run_to_its_end(self._api, self.namespace, pod)

    @cached_property
    def _me(self) -> str:
        return self.user()

    def _as(self, account: str) -> Any:
        other = BoundedApiClient(self._api.configuration)
        other.set_default_header("Impersonate-User", f"system:serviceaccount:{self.namespace}:{account}")
        return other

    def _review(self, api: Any, body: dict[str, Any]) -> bool:
        with answering("an access review"):
            asked = client.AuthorizationV1Api(api)
            return bool(asked.create_self_subject_access_review(body).status.allowed)

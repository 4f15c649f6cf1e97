"""What a granted profile becomes on Kubernetes: the run's Job, by Dagster's tag, and Spark's settings.

Both are made here and nowhere else, so that nothing of a request reaches a pod except through a profile.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from contracts.messages import Profile
from contracts.reports import MAX_RUN_SECONDS
from resources.cluster.port import Pod
from resources.settings import ComputeSettings

CONFIG_TAG = "dagster-k8s/config"
PROFILE_TAG = "lakemill/profile"
ALLOWED_FIELDS = {
    "container_config": {"image": True, "resources": True},
    "job_spec_config": {"active_deadline_seconds": True},
}
"""All that ``run_tags`` may set: the run launcher's ``only_allow_user_defined_k8s_config_fields``."""

DRIVER_PORT, BLOCK_MANAGER_PORT = 7078, 7079
"""Fixed, so that a NetworkPolicy can name them."""
_DEADLINE_LEAD_SECONDS = 120
"""The Job's deadline comes before run monitoring's limit, which would end the run without saying why."""
_DRIVER_PYTHON_MB = 768
"""Dagster, the runner and pyarrow, beside the driver's JVM."""
_OVERHEAD, _MIN_OVERHEAD_MB = 0.10, 384  # Spark's own for what a JVM needs beyond its heap
_UNBOUNDED = str(2**31 - 1)
_MAX_PREFIX = 47  # of an executor's name, which goes on with "-exec-" and a number, and ends at 63 characters


@dataclass(frozen=True, slots=True)
class PodSize:
    """What one pod asks of a node. CPU has no limit: idle cores are lent, and throttling would only slow Spark."""

    cpu: str
    memory_mb: int

    def requirements(self) -> dict[str, dict[str, str]]:
        """Return it as Kubernetes' ``resources``."""
        memory = f"{self.memory_mb}Mi"
        return {"requests": {"cpu": self.cpu, "memory": memory}, "limits": {"memory": memory}}


def driver_size(profile: Profile) -> PodSize:
    """Return the size of the run pod, which is Spark's driver."""
    return PodSize(
        profile.cpu_request or str(profile.driver_cores), _with_overhead(profile.driver_memory_mb) + _DRIVER_PYTHON_MB
    )


def executor_size(profile: Profile) -> PodSize:
    """Return the size of one executor pod, as Spark will ask for it."""
    cpu = profile.cpu_request or str(profile.executor_cores)
    return PodSize(cpu, _with_overhead(profile.executor_memory_mb))


def job_config(profile: Profile, image: str | None = None) -> dict[str, Any]:
    """Return the run's part of its Job, in the form of Dagster's ``dagster-k8s/config``.

    ``image`` replaces the deployment's usual one.
    """
    container: dict[str, Any] = {"resources": driver_size(profile).requirements()}
    return {
        "container_config": container | ({"image": image} if image else {}),
        "job_spec_config": {"active_deadline_seconds": MAX_RUN_SECONDS - _DEADLINE_LEAD_SECONDS},
    }


def run_tags(profile: Profile, image: str | None = None) -> dict[str, str]:
    """Return the tags that give a run its size. Where runs are processes of one machine, they change nothing."""
    return {
        CONFIG_TAG: json.dumps(job_config(profile, image), sort_keys=True),
        PROFILE_TAG: profile.model_dump_json(exclude_defaults=True),
    }


def pod_variables(tags: Mapping[str, str], profiles: Collection[Profile]) -> list[str]:
    """Return what a run's pod finds in its environment beside what every pod does, as ``NAME=value``.

    A profile that is none of ``profiles`` is not told: Spark starts when the run has been granted it.
    """
    spelled = {profile.model_dump_json(exclude_defaults=True) for profile in profiles}
    named = tags.get(PROFILE_TAG)
    return [f"LAKEMILL_RUN_PROFILE={named}"] if named in spelled else []


def spark_settings(profile: Profile, pod: Pod, settings: ComputeSettings) -> dict[str, str]:
    """Return what makes the driver in ``pod`` start its executors as pods. Secret-free: Spark makes its own secret."""
    address = settings.pod_ip or ""
    return {
        "spark.master": settings.spark_master,
        "spark.submit.deployMode": "client",
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        "spark.driver.port": str(DRIVER_PORT),
        "spark.driver.blockManager.port": str(BLOCK_MANAGER_PORT),
        "spark.blockManager.port": str(BLOCK_MANAGER_PORT),
        "spark.kubernetes.namespace": settings.pod_namespace or "default",
        # The executors are owned by the run pod: they go when it goes.
        "spark.kubernetes.driver.pod.name": pod.name,
        "spark.kubernetes.executor.podNamePrefix": pod.name.removeprefix("dagster-")[-_MAX_PREFIX:].lstrip("-"),
        "spark.kubernetes.executor.podTemplateFile": str(settings.executor_template),
        "spark.kubernetes.authenticate.executor.serviceAccountName": settings.executor_service_account,
        "spark.kubernetes.container.image": pod.image,
        "spark.kubernetes.container.image.pullPolicy": pod.pull_policy,
        **({"spark.kubernetes.container.image.pullSecrets": ",".join(pod.pull_secrets)} if pod.pull_secrets else {}),
        # The driver has neither a service nor claims, and no right to look for any. The executors' ConfigMap would hold
        # files for a folder that our image does not read.
        "spark.kubernetes.driver.service.deleteOnTermination": "false",
        "spark.kubernetes.driver.ownPersistentVolumeClaim": "false",
        "spark.kubernetes.driver.reusePersistentVolumeClaim": "false",
        "spark.kubernetes.executor.disableConfigMap": "true",
        # The run waits for its executors itself, and can say why they do not come; Spark would wait for 30 s without.
        "spark.scheduler.minRegisteredResourcesRatio": "0",
        **_executors(profile),
        **_SAFE,
    }


def executor_pod(profile: Profile, driver: Pod, settings: ComputeSettings) -> dict[str, Any]:
    """Return an executor's pod as Spark makes it of the template, as far as the API server judges it.

    Raises OSError without the template.
    """
    pod: dict[str, Any] = yaml.safe_load(settings.executor_template.read_text())
    pod.setdefault("metadata", {})["generateName"] = "executor-"
    pod["spec"] |= {"restartPolicy": "Never", "serviceAccountName": settings.executor_service_account}
    container = pod["spec"]["containers"][0]
    stated = container.get("resources", {})  # by the template: of what Spark does not size
    resources = {kind: stated.get(kind, {}) | size for kind, size in executor_size(profile).requirements().items()}
    container |= {"image": driver.image, "imagePullPolicy": driver.pull_policy, "resources": resources}
    return pod


def _executors(profile: Profile) -> dict[str, str]:
    fixed = {
        "spark.executor.cores": str(profile.executor_cores),
        "spark.executor.memory": f"{profile.executor_memory_mb}m",
        "spark.executor.extraJavaOptions": "-XX:+UseParallelGC -Duser.timezone=UTC",
        "spark.executor.metrics.pollingInterval": "1s",  # else a short job's peak is never seen
        "spark.kubernetes.executor.request.cores": executor_size(profile).cpu,
        # Spark's own bound, twice the executors, would end its JVM without a word, and a long run on nodes that come
        # and go. What fails again and again is bounded by its tasks' failures, by our watch and by the run's time.
        "spark.executor.maxNumFailures": _UNBOUNDED,
    }
    if profile.min_executors is None:
        return fixed | {"spark.executor.instances": str(profile.executor_instances)}
    return fixed | {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": str(profile.min_executors),
        "spark.dynamicAllocation.maxExecutors": str(profile.executor_instances),
    }


_SAFE = {
    "spark.authenticate": "true",
    # In counter mode, Spark's default: with AES/GCM an executor of Spark 4.1.1 waits for ever for its first answer.
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.authEngineVersion": "2",
    # A node that is drained hands over what was shuffled, instead of having it computed again.
    "spark.decommission.enabled": "true",
    "spark.kubernetes.executor.terminationGracePeriodSeconds": "60s",  # which Spark puts in place of the template's
    "spark.kubernetes.decommission.script": "/usr/local/bin/decommission",
    "spark.storage.decommission.enabled": "true",
    "spark.storage.decommission.rddBlocks.enabled": "true",
    "spark.storage.decommission.shuffleBlocks.enabled": "true",
}


def _with_overhead(heap_mb: int) -> int:
    return heap_mb + max(int(heap_mb * _OVERHEAD), _MIN_OVERHEAD_MB)

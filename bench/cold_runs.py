"""``python -m bench.cold_runs ACTION ENTITY VERSION…``: runs in Dagster's storage that wait to be executed.

Prints for each version, as one line of JSON, the command that executes its run, and what is added to its environment:
those of a run pod. The environment names the instance (``Stack.dagster_env``).
"""

import json
import sys

from dagster import DagsterInstance
from dagster._core.definitions.partitions.utils import get_tags_from_multi_partition_key
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.types import ExecuteRunArgs

from assets.partitions import add_keys, partition_key
from assets.profiles import load_profiles
from deploy.local.site import DEFINITIONS, ROOT
from orchestration.k8s import pod_variables


def _commands(instance: DagsterInstance, action: str, entity: str, versions: list[str]) -> list[dict[str, list[str]]]:
    repository = ReconstructableRepository.for_module(DEFINITIONS, "defs", str(ROOT))
    job = repository.get_reconstructable_job(action)
    definition, origin = job.get_definition(), job.get_python_origin()
    commands = []
    for version in versions:
        add_keys(instance, entity, version)
        tags = {**definition.tags, **get_tags_from_multi_partition_key(partition_key(entity, version))}
        run = instance.create_run_for_job(definition, tags=tags, job_code_origin=origin)
        arguments = ExecuteRunArgs(origin, run.run_id, instance.get_ref(), set_exit_code_on_failure=True)
        # As deploy/images/entrypoint has it: ``dagster …`` becomes this module with the same arguments.
        command = [sys.executable, "-m", "orchestration.run_pod", *arguments.get_command_args()[1:]]
        commands.append({"command": command, "variables": pod_variables(tags, load_profiles().values())})
    return commands


if __name__ == "__main__":
    with DagsterInstance.get() as found:
        for command in _commands(found, sys.argv[1], sys.argv[2], sys.argv[3:]):
            print(json.dumps(command))

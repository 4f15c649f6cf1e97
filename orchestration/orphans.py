"""After a stop of the whole stack no run is alive: say so in Dagster's storage, before its daemon starts.

``python -m orchestration.orphans`` with DAGSTER_HOME set. Queued runs stay queued: they have no process to lose.
"""

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

_DEAD = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_MESSAGE = "The stack was stopped while this run was in progress; its process is gone."


def end_orphans(instance: DagsterInstance) -> int:
    """Mark every run that claims to be in progress as failed (or cancelled, when that was asked); return how many."""
    runs = instance.get_runs(filters=RunsFilter(statuses=_DEAD))
    for run in runs:
        if run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message=_MESSAGE)
        else:
            instance.report_run_failed(run, message=_MESSAGE)
    return len(runs)


if __name__ == "__main__":
    with DagsterInstance.get() as found:
        print(f"{end_orphans(found)} runs were in progress when the stack stopped")  # noqa: T201 - a command's answer

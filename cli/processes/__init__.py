"""``lakemill submit | status | watch | cancel | retry | ls``: processes, over the REST API."""

from cli.processes.commands import register

__all__ = ["register"]

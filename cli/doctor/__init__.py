"""``lakemill doctor``: the deployment checklist as a program. One file for each boundary; ``checks`` has them all."""

from cli.doctor.command import register

__all__ = ["register"]

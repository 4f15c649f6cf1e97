"""Tenants and what their keys may do."""

from enum import StrEnum

DEFAULT_TENANT = "default"
"""The tenant that the migrations create."""


class Scope(StrEnum):
    """What a key may do. They do not include one another."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"

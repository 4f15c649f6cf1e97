"""Just enough of S3's policy language to ask a bucket policy: who may do what, to which key, under which conditions."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.s3_server import Seen
from tests.test_architecture import ROOT

S3_TEMPLATE = ROOT / "deploy" / "templates" / "s3"
BUCKET = "lake"
ROLES = ("WRITER", "READER", "GC")


def filled(arns: Mapping[str, str], bucket: str = BUCKET, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the policy with its placeholders filled, as the README's command does, and ``without`` some statements."""
    text = (S3_TEMPLATE / "bucket-policy.json").read_text().replace("LAKE_BUCKET", bucket)
    for role in ROLES:
        text = text.replace(f"{role}_ROLE_ARN", arns[role])
    policy: dict[str, Any] = json.loads(text)
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Sid"] not in without]
    return policy


def is_allowed(
    policy: dict[str, Any],
    principal: str,
    action: str,
    key: str | None = None,
    context: Mapping[str, str] | None = None,
    *,
    is_admin: bool = False,
) -> bool:
    """Return the verdict: an explicit deny wins, then an allow of the policy, or of an administrator's own rights.

    ``context`` holds condition keys beside those of every request over TLS.
    """
    resource = f"arn:aws:s3:::{BUCKET}" + ("" if key is None else f"/{key}")
    facts = {"aws:SecureTransport": "true", "aws:PrincipalArn": principal, **(context or {})}
    matching = [
        statement["Effect"]
        for statement in policy["Statement"]
        if _names(statement["Principal"], principal)
        and any(_like(pattern, action) for pattern in _list(statement["Action"]))
        and _covers(statement, resource)
        and all(_holds(kind, tests, facts) for kind, tests in statement.get("Condition", {}).items())
    ]
    return "Deny" not in matching and (is_admin or "Allow" in matching)


def actions_of(seen: Seen) -> Iterator[tuple[str, str | None, dict[str, str]]]:
    """Yield what a request (path style) asks for: action, key, and the condition keys it carries."""
    address = urlsplit(seen.path)
    key, query = (
        unquote(address.path).removeprefix(f"/{BUCKET}").removeprefix("/") or None,
        parse_qs(address.query, True),
    )
    is_conditional = any(name.lower() == "if-none-match" for name in seen.headers)
    conditions = {"s3:if-none-match": "*"} if is_conditional else {}
    if key is None and seen.method == "POST" and "delete" in query:
        namespace = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}
        for found in ET.fromstring(seen.body).findall("s3:Object/s3:Key", namespace):  # noqa: S314 -- our own client's
            yield "s3:DeleteObject", found.text, conditions
    elif key is None:
        yield "s3:ListBucketMultipartUploads" if "uploads" in query else "s3:ListBucket", None, conditions
    elif seen.method == "DELETE":
        yield "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", key, conditions
    else:
        yield "s3:GetObject" if seen.method in {"GET", "HEAD"} else "s3:PutObject", key, conditions


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _like(pattern: str, text: str) -> bool:
    """Match as S3 does: ``*`` is any text, slashes too, and ``?`` is one character."""
    parts = (".*" if character == "*" else "." if character == "?" else re.escape(character) for character in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _names(principal: Any, who: str) -> bool:
    return principal == "*" or who in _list(principal["AWS"])


def _covers(statement: dict[str, Any], resource: str) -> bool:
    if "NotResource" in statement:
        return not any(_like(pattern, resource) for pattern in _list(statement["NotResource"]))
    return any(_like(pattern, resource) for pattern in _list(statement["Resource"]))


def _holds(kind: str, tests: dict[str, str], facts: dict[str, str]) -> bool:
    verdicts: dict[str, Callable[[str, Any], bool]] = {
        "Bool": lambda name, wanted: facts.get(name) == wanted,
        "Null": lambda name, wanted: (name not in facts) == (wanted == "true"),
        "StringNotEquals": lambda name, wanted: facts.get(name) not in _list(wanted),
    }
    return all(verdicts[kind](name, wanted) for name, wanted in tests.items())

"""``python -m cli.chart_docs``: write what the chart repeats: tables in its README and in docs/, files in its values.

The values' table is made from the comments in values.yaml, the rights' table from rbac.yaml; the default profiles,
images and schedules are the files of deploy/.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contracts.problems import LakemillError

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy" / "chart"
VALUES = CHART / "values.yaml"
README = CHART / "README.md"
DEPLOYING = ROOT / "docs" / "deploying.md"
COPIES = {"profiles": "profiles.toml", "actionImages": "images.toml", "schedules": "schedules.toml"}
"""Values that are a file of deploy/, so that the chart needs nothing outside its folder."""
WITHOUT_RIGHTS = ("code", "control", "executor")
"""Service accounts that rbac.yaml does not name: they may ask nothing and get no token."""


class ChartDocsError(LakemillError):
    """A value has no comment, or a document has no place for its table."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value that a user may set."""

    name: str
    default: Any
    meaning: str


def values(text: str) -> list[Value]:
    """Return the values of a commented values.yaml, in its order. Raises ChartDocsError naming one without a comment.

    A mapping none of whose keys has a comment is one value.
    """
    return list(_values(yaml.compose(text), yaml.safe_load(text), text.splitlines(), ()))


def _values(node: Any, content: Any, lines: list[str], path: tuple[str, ...]) -> Iterator[Value]:
    for key, child in node.value:
        here = (*path, key.value)
        if _has_comments(child, lines):
            yield from _values(child, content[key.value], lines, here)
            continue
        meaning = _comment(key, lines)
        if not meaning:
            raise ChartDocsError(f"values.yaml: no comment above {'.'.join(here)} (line {key.start_mark.line + 1})")
        yield Value(".".join(here), content[key.value], meaning)


def _has_comments(node: Any, lines: list[str]) -> bool:
    return isinstance(node, yaml.MappingNode) and any(
        _comment(key, lines) or _has_comments(child, lines) for key, child in node.value
    )


def _comment(key: Any, lines: list[str]) -> str:
    """Return the comment right above ``key``; nothing where the line is another key's too."""
    number = key.start_mark.line
    if lines[number][: key.start_mark.column].strip():
        return ""
    found: list[str] = []
    while number > 0 and lines[number - 1].lstrip().startswith("# "):
        number -= 1
        found.insert(0, lines[number].lstrip().removeprefix("# "))
    return " ".join(found)


def values_table(text: str) -> str:
    """Return the values of ``text`` as a Markdown table."""
    rows = (f"| `{value.name}` | {_default(value.default)} | {value.meaning} |" for value in values(text))
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def _default(value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        return "see values.yaml"
    return f"`{json.dumps(value)}`"


def rights_table(text: str) -> str:
    """Return the rights in ``text``, the content of an rbac.yaml, as a Markdown table."""
    rows = [
        f"| `{account}` | {', '.join(group or 'core' for group in rule['apiGroups'])} "
        f"| {', '.join(rule['resources'])} | {', '.join(rule['verbs'])} |"
        for account, rules in yaml.safe_load(text).items()
        for rule in rules
    ]
    rows += [f"| `{account}` | | nothing: it gets no token | |" for account in WITHOUT_RIGHTS]
    return "\n".join(["| service account | API group | resources | verbs |", "|---|---|---|---|", *rows])


def rendered() -> dict[Path, str]:
    """Return file → content for what is written. Raises ChartDocsError."""
    stated = VALUES.read_text()
    for name, file in COPIES.items():
        stated = _copied(stated, name, (CHART.parent / file).read_text())
    return {
        VALUES: stated,
        README: _placed(README, "values", values_table(stated)),
        DEPLOYING: _placed(DEPLOYING, "rbac", rights_table((CHART / "rbac.yaml").read_text())),
    }


def _copied(stated: str, name: str, content: str) -> str:
    block = re.compile(rf"^{name}: \|\n(?:  .*\n|\n)*", re.MULTILINE)
    lines = "".join(f"  {line}\n" if line else "\n" for line in content.strip().splitlines())
    return block.sub(lambda _: f"{name}: |\n{lines}\n", stated, count=1)


def _placed(document: Path, name: str, table: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    content, count = pattern.subn(lambda _: f"{begin}\n{table}\n{end}", document.read_text())
    if count != 1:
        raise ChartDocsError(f"{document}: the table needs one {begin} … {end}")
    return content


def main() -> int:
    """Write every file."""
    for path, content in rendered().items():
        path.write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m cli.problem_docs``: write docs/problems.md from the refusals that the API knows."""

from pathlib import Path

from contracts.problem_codes import PROBLEMS

PAGE = Path(__file__).parent.parent / "docs" / "problems.md"
_HEAD = """# What the API refuses, and what to do
Every refusal and failure is a problem document (RFC 9457, `application/problem+json`) with a stable `code`. `detail`
says what it was about this time, and some codes add members, such as `errors` (each with `field` and `rule`; the first
20, and in `more_errors` how many others), `process_id` or `retry_after`. This page is made by
`python -m cli.problem_docs`.

| code | status | what | cause | remedy |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = sorted(PROBLEMS.values(), key=lambda problem: (problem.status, problem.code))
    return _HEAD + "".join(
        f"| `{problem.code}` | {problem.status} | {problem.title} | {problem.cause} | {problem.remedy} |\n"
        for problem in rows
    )


if __name__ == "__main__":
    PAGE.write_text(page())

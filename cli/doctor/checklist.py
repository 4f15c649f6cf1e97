"""``python -m cli.doctor.checklist``: write docs/checklist.md anew from the checks."""

import sys
from itertools import groupby
from pathlib import Path

from cli.doctor.check import Group
from cli.doctor.checks import ALL

FILE = Path(__file__).parent.parent.parent / "docs" / "checklist.md"
_TITLES = {
    Group.POSTGRES: "PostgreSQL",
    Group.KAFKA: "Kafka",
    Group.STORAGE: "Object storage",
    Group.CONTRACT: "Storage contract",
    Group.CLUSTER: "Kubernetes",
    Group.IMAGES: "Images",
    Group.CALLBACKS: "Callbacks",
}
_HEAD = """# Deployment checklist
Made from the checks by `python -m cli.doctor.checklist`; edit them in `cli/doctor/`, not here.

`lakemill doctor` makes every check that can be made from where it runs and prints one line for each: `pass`, `warn`,
`fail` or `skip`, the check's name, what was found and, unless all is well, what to do. It reads the same `LAKEMILL_…`
variables as the component whose image it runs in: in the control image it sees PostgreSQL, Kafka, the object store and
receivers of callbacks, in the compute image the object store, Kafka and the Kubernetes API. What it writes it removes.

`helm test` runs it in a release: PostgreSQL, Kafka, the object store and the storage contract in a pod of the control
image; Kafka again in one of the compute image, as the sensor's user; Kubernetes, images and again the object store in
another, as the launcher. It cannot know a receiver of callbacks: name one with `--callback`, in a worker's pod. Rights
of other accounts than the launcher are asked about from a workstation, whose kubeconfig may impersonate them.

| option | meaning |
|---|---|
| `--only GROUP` | Make the checks of this group only, repeatable. What is not configured is then a failure. |
| `--json` | Print one JSON document instead of lines. |
| `--junit FILE` | Write a JUnit report too. |
| `--writers N`, `--rounds M` | How hard `storage.conditional_put` tries: N writers at once, M times. |
| `--partitions N`, `--replication-factor N` | What the topic must have at least. |
| `--callback URL` | The receiver that gets a signed test callback. |
| `--logs BUCKET` | The bucket of Dagster's compute logs. |
| `--namespace NS`, `--release NAME` | Where the release is, and its full name. From a pod both are known. |
| `--image IMAGE` | The compute image to try. By default the one that the code location runs. |

| exit code | meaning |
|---|---|
| 0 | Every check passed, warned, or could not be made from here. |
| 1 | A check failed. |
| 2 | Wrong usage. |
| 3 | Nothing is configured here, or a setting cannot be read. |
"""


def rendered() -> str:
    """Return the whole page."""
    sections = [_HEAD]
    for group, checks in groupby(ALL, key=lambda check: check.group):
        rows = [f"| `{check.name}` | {check.question} | {check.remedy} |" for check in checks]
        table = ["| check | what is measured | what to do when it does not pass |", "|---|---|---|", *rows]
        sections.append("\n".join([f"## {_TITLES[group]} (`--only {group}`)", *table, ""]))
    return "\n".join(sections)


def main() -> int:
    """Write the file."""
    FILE.write_text(rendered())
    return 0


if __name__ == "__main__":
    sys.exit(main())

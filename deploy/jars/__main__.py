"""``python -m deploy.jars``: print the difference between ivy.xml and SHA256SUMS; ``--renew`` writes it down."""

import sys
import tempfile
from pathlib import Path

from deploy.jars.java import find_java
from deploy.jars.retrieve import SUMS_FILE, differences, present_sums, read_sums, run_ivy


def main(arguments: list[str]) -> int:
    """Fetch everything afresh and compare. Returns 0 when nothing differs or the difference was written."""
    with tempfile.TemporaryDirectory() as scratch:
        present = present_sums(run_ivy(Path(scratch), find_java()))
    changes = list(differences(read_sums() if SUMS_FILE.exists() else {}, present))
    sys.stdout.writelines(f"{line}\n" for line in changes)
    if changes and "--renew" in arguments:
        SUMS_FILE.write_text("".join(f"{digest}  {name}\n" for name, digest in present.items()))
        return 0
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

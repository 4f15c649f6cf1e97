"""``python -m deploy.jars``: the jars of ivy.xml.

Without options: print the difference to SHA256SUMS; ``--renew`` writes it down. ``--into FOLDER --only spark`` fetches
one folder of them, checked, as an image build does. ``--list tests/jars`` is about what only tests need.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from deploy.jars.java import find_java
from deploy.jars.retrieve import HERE, SUMS_NAME, differences, ensure_jars, present_sums, read_sums, run_ivy


def main(arguments: list[str]) -> int:
    """Fetch or compare. Returns 0 when what lies there now is what is checked in."""
    parser = argparse.ArgumentParser(prog="deploy.jars")
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--only", choices=("spark", "broker"))
    parser.add_argument("--list", type=Path, default=HERE)
    options = parser.parse_args(arguments)
    if options.into:
        ensure_jars(options.into, find_java(), only=options.only, listed=options.list)
        return 0
    return _compare(options.list, renew=options.renew)


def _compare(listed: Path, *, renew: bool) -> int:
    sums = listed / SUMS_NAME
    with tempfile.TemporaryDirectory() as scratch:
        present = present_sums(run_ivy(Path(scratch), find_java(), listed=listed))
    changes = list(differences(read_sums(sums) if sums.exists() else {}, present))
    sys.stdout.writelines(f"{line}\n" for line in changes)
    if changes and renew:
        sums.write_text("".join(f"{digest}  {name}\n" for name, digest in present.items()))
        return 0
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

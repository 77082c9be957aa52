#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""count_instructions: user instructions that one transaction costs the session core, by callgrind.

    count_instructions.py BINARY simple|prepared BUDGET

Two runs of different length; the difference has no start-up in it. Exit code 1 above the budget,
77 (skipped) without valgrind.
"""

import re
import shutil
import subprocess
import sys
import tempfile

SHORT, LONG = 2000, 6000  # the short one is long enough to warm every cache and free list
SKIPPED = 77


def instructions(binary, protocol, transactions):
    with tempfile.NamedTemporaryFile(prefix="callgrind.") as out:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}",
             "--error-exitcode=1", binary, protocol, str(transactions)],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"core_instructions failed under valgrind:\n{done.stderr[-2000:]}")
        found = re.search(r"^(?:totals|summary): (\d+)", out.read().decode(), re.M)
    if found is None:
        sys.exit("callgrind left no total")
    return int(found[1])


def main():
    binary, protocol, budget = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="switchgear-perf-") as directory:
        # without debugging information, of which an older valgrind cannot read clang's
        stripped = f"{directory}/core_instructions"
        subprocess.run(["strip", "-o", stripped, binary], check=True)
        difference = (instructions(stripped, protocol, LONG) -
                      instructions(stripped, protocol, SHORT))
    each = difference / (LONG - SHORT)
    print(f"{protocol}: {each:.0f} user instructions a transaction, budget {budget}")
    return 0 if each <= budget else 1


if __name__ == "__main__":
    sys.exit(main())

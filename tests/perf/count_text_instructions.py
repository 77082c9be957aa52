#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""count_text_instructions: what hostile texts cost the worker that reads them, by callgrind.

    count_text_instructions.py BINARY

Each kind comes in 128 kB and in 256 kB. None may take more than 50 million instructions, which are
20 ms where a core does 2,500 in a microsecond, and twice the text not more than 2.5 times as many.
Exit code 1 otherwise, 77 (skipped) without valgrind.
"""

import glob
import re
import shutil
import subprocess
import sys
import tempfile

MAX = 50_000_000
RATIO_MAX = 2.5
SMALL_ENOUGH = 25_000_000  # what takes less may grow: a text is parsed up to some length only
SKIPPED = 77


def counts(binary, directory):
    """{kind: [(bytes, instructions), (bytes, instructions)]}"""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out",
         "--error-exitcode=1", binary], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"text_instructions failed under valgrind:\n{done.stderr[-2000:]}")
    found = {}
    for name in glob.glob(f"{directory}/out*"):
        with open(name, encoding="utf-8", errors="replace") as file:
            dump = file.read()
        label = re.search(r"^desc: Trigger: Client Request: (.*)\t(\d+)$", dump, re.M)
        total = re.search(r"^(?:totals|summary): (\d+)", dump, re.M)
        if label is not None and total is not None:
            found.setdefault(label[1], []).append((int(label[2]), int(total[1])))
    return {kind: sorted(pairs) for kind, pairs in found.items()}


def main():
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="switchgear-perf-") as directory:
        # without debugging information, of which an older valgrind cannot read clang's
        stripped = f"{directory}/text_instructions"
        subprocess.run(["strip", "-o", stripped, sys.argv[1]], check=True)
        found = counts(stripped, directory)
    bad = []
    for kind, pairs in sorted(found.items(), key=lambda item: -item[1][-1][1]):
        (_, small), (size, large) = pairs
        ratio = large / small
        line = f"{large:11,} instructions, {ratio:4.2f} times those of half: {kind}, {size} bytes"
        print(line)
        if large > MAX or (ratio > RATIO_MAX and large > SMALL_ENOUGH):
            bad.append(line)
    print(f"{len(found)} kinds; too many instructions: {len(bad)}")
    print("\n".join(bad))
    return 1 if bad or len(found) < 100 else 0


if __name__ == "__main__":
    sys.exit(main())

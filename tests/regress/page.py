# SPDX-License-Identifier: PostgreSQL
"""docs/reference/regression.md: which tests may differ in which mode and why, the last results, and
the lines that differ, which are compared with what a run finds."""
import os
import re

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PATH = os.path.join(ROOT, "docs", "reference", "regression.md")
RESULTS, LINES = "## The last run\n", "## Line by line\n"
ORDER = ("once", "session", "transaction", "kept", "shuffled")
# What depends on which connection a statement happens to run on, and on when it last reported; and
# on the numbers of processes.
VARYING = ("constraints", "guc", "indirect_toast", "isolation/async-notify", "stats", "triggers")


def is_line(line):
    """Of a unified diff: one that was taken away or added."""
    return line[:1] in "+-" and not line.startswith(("+++ ", "--- "))


def hunks_of(lines):
    """The hunks of a unified diff, without its head."""
    hunks = []
    for line in lines:
        if line.startswith("@@"):
            hunks.append([line])
        elif hunks:
            hunks[-1].append(line)
    return hunks


class Page:
    """hunks: {test: [[line]]}; results: {mode: row of the table}."""

    def __init__(self):
        with open(PATH, encoding="utf-8") as f:
            text = f.read()
        self.head = text.split(RESULTS)[0]
        self.results = dict(re.findall(r"^\| (\w+) \| (\d.*) \|$", text, re.M))
        blocks = re.findall(r"^```diff\n--- direct/(.*?)\.out\n(.*?)^```$", text, re.M | re.S)
        self.hunks = {name: hunks_of(body.splitlines()) for name, body in blocks}

    def explained(self, mode):
        """The tests that differ in this mode: | `test` | modes | why |"""
        rows = re.findall(r"^\| `([\w./-]+)` \| ([a-z, ]+) \|", self.head, re.M)
        return {name for name, modes in rows if mode in re.split(r",\s*", modes.strip())}

    def known(self, test):
        return {line for hunk in self.hunks.get(test, []) for line in hunk if is_line(line)}

    def unlisted(self, test, lines):
        """What differs in this test and is not on the page."""
        if test in VARYING:
            return []
        known = self.known(test)
        return [line for line in lines if is_line(line) and line not in known]

    def take(self, mode, tests, different, seconds):
        """The results of a run. What is listed already stays: it may differ another time."""
        self.results[mode] = (f"{tests} | {len(different)} | {seconds:.0f} s | "
                              f"{', '.join(f'`{name}`' for name in sorted(different)) or 'none'}")
        for name, lines in different.items() if mode != "shuffled" else ():
            for hunk in hunks_of(lines):
                if any(is_line(line) and line not in self.known(name) for line in hunk):
                    self.hunks.setdefault(name, []).append(hunk)

    def write(self, version):
        text = [self.head, RESULTS, f"\nOf PostgreSQL {version}, each mode on a cluster of its own; "
                "written by `tests/regress/run.py --write`.\n\n",
                "| mode | tests | differ | time | which |\n| --- | --- | --- | --- | --- |\n",
                *(f"| {mode} | {self.results[mode]} |\n" for mode in ORDER if mode in self.results),
                "\n", LINES, "\nWhat may differ, in any of the modes. A line that is not here fails the "
                f"run, but for those of {', '.join(f'`{name}`' for name in VARYING)}: they vary.\n"]
        for name, hunks in sorted(self.hunks.items()):
            body = "\n".join(line for hunk in hunks for line in hunk)
            text.append(f"\n```diff\n--- direct/{name}.out\n+++ proxied/{name}.out\n{body}\n```\n")
        with open(PATH, "w", encoding="utf-8") as f:
            f.write("".join(text))

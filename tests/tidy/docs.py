#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""docs: links in the documentation lead somewhere, the tests that it names exist, the reference is
what the program prints, and its pages have every metric, SQLSTATE, reason and table of the source.

docs.py [path of switchgear]. Without a program the reference is not compared.
"""
import os
import re
import subprocess
import sys

from text import ROOT, our_files, read

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
REFERENCE = "docs/reference/configuration.md"
NAMES = {  # what, in files, is on which page
    re.compile(r'"(switchgear_\w+)",\s*METRICS_'): ("proxy/proxy_metrics", "docs/reference/metrics.md"),
    re.compile(r'^    \{"([A-Z_]+)", "', re.M): ("proxy/proxy_admin_show.c", "docs/reference/admin-console.md"),
    re.compile(r'\bX\([A-Z_]+, "(\w+)"\)'): ("router/router_reason.h", "docs/reference/sql.md"),
    re.compile(r'"(?=[0-9A-Z]*[0-9])([0-9A-Z]{5})"'): ("proxy/", "docs/reference/errors.md"),
}
TEST = re.compile(r"`(tests/[\w/.]+)::(\w+)`")  # as isolation.md names what shows a promise
EXTERNAL = ("http:", "https:", "mailto:")


def prose(text):
    """The lines outside code blocks, with `code` taken out."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchors(text):
    """The anchors that a page's headings make, as the usual renderers do."""
    found = set()
    for _, line in prose(text):
        heading = HEADING.match(line)
        if heading:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower()
            slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            number = 0
            while (name := slug if number == 0 else f"{slug}-{number}") in found:
                number += 1
            found.add(name)
    return found


def check_links(name, text):
    for number, line in prose(text):
        for found in LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            target = found.group(1)
            if target.startswith(EXTERNAL):
                continue
            path, _, anchor = target.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not os.path.exists(os.path.join(ROOT, there)) or there.startswith(".."):
                yield f"{name}:{number}: {target} does not exist"
            elif anchor and there.endswith(".md") and anchor not in anchors(read(there)):
                yield f"{name}:{number}: {there} has no heading #{anchor}"


def check_tests(name, text):
    """A test that a page names is there."""
    for number, line in prose(text):
        for path, test in TEST.findall(line):
            source = read(path) if os.path.isfile(os.path.join(ROOT, path)) else ""
            if not re.search(rf"^(?:async def|def|(?:static )?\w+) {test}\(", source, re.M):
                yield f"{name}:{number}: there is no {path}::{test}"


def check_decisions(pages):
    """No two decisions have one number."""
    seen = {}
    for name in pages:
        folder, _, page = name.rpartition("/")
        if folder == "docs/decisions" and page[:4] in seen:
            yield f"{name}: {seen[page[:4]]} has this number too"
        elif folder == "docs/decisions":
            seen[page[:4]] = page


def check_names(files):
    """Lines that compare a name say nothing of their own."""
    for pattern, (where, page) in NAMES.items():
        text = read(page)
        for name in files:
            if not name.startswith(where) or not name.endswith((".c", ".h")):
                continue
            source = "\n".join(line for line in read(name).split("\n") if "cmp(" not in line)
            for word in sorted(set(pattern.findall(source))):
                if not re.search(rf"\b{word}(_total|_info)?\b", text):
                    yield f"{page} has no {word}, which is in {name}"


def check_reference(program):
    done = subprocess.run([program, "show", "reference"], capture_output=True, text=True, timeout=60,
                          check=False)
    if done.returncode != 0:
        yield f"{program} show reference: exit {done.returncode}"
    elif read(REFERENCE) != done.stdout:
        yield f"{REFERENCE} is not what `switchgear show reference` prints: write it anew"


def main():
    errors = []
    pages = [name for name in our_files() if name.endswith(".md")]
    for name in pages:
        errors += check_links(name, read(name))
        errors += check_tests(name, read(name))
    errors += check_decisions(pages)
    errors += check_names(our_files())
    if len(sys.argv) > 1:
        if os.path.exists(os.path.join(ROOT, REFERENCE)):
            errors += check_reference(os.path.abspath(sys.argv[1]))
        else:
            errors.append(f"{REFERENCE} is missing")
    for text in errors:
        print("error: " + text)
    print(f"docs: {len(pages)} pages, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())

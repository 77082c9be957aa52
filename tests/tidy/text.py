#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""text: what every source file must look like, beyond its format.

Errors: banned calls, a shell library in a pure folder, lines over 100 columns, trailing blanks, no
final newline, no licence line, unfinished work. Warnings: long files and functions.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BANNED = "strcpy strcat sprintf strtok atoi rand gets localtime usleep alloca".split()
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
PURE = ("config/", "protocol/", "breaker/", "router/", "proxy/core/")
SHELL_INCLUDE = re.compile(r'#\s*include\s*[<"](uv\.h|uv/|openssl/|libpq-fe\.h|ck_|microhttpd\.h|cjson/)')
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
COMMENT_OR_STRING = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
WITH_LICENCE = (".c", ".h", ".py", ".sh", ".re")
COLUMNS, FILE_LINES, FUNCTION_LINES = 100, 500, 70


def our_files():
    out = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT)
    names = (name.decode() for name in out.split(b"\0") if name)
    return sorted(n for n in set(names) if os.path.isfile(os.path.join(ROOT, n)))


def read(name):
    """The file's text, or None where it is no text."""
    with open(os.path.join(ROOT, name), "rb") as f:
        raw = f.read()
    if b"\0" in raw or "/corpus" in name:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def without_comments(text):
    """The code alone, with the same line numbers."""
    return COMMENT_OR_STRING.sub(lambda m: "\n" * m.group().count("\n"), text)


def check_lines(name, text):
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > COLUMNS and name.endswith((".c", ".h", ".re")):
            yield f"{name}:{number}: {len(line)} columns"
        if line != line.rstrip() and not name.endswith((".md", ".patch")):
            yield f"{name}:{number}: trailing blanks"
        if UNFINISHED.search(line):
            yield f"{name}:{number}: unfinished work"
    if text and not text.endswith("\n"):
        yield f"{name}: no final newline"
    if name.endswith(WITH_LICENCE) and "SPDX-License-Identifier" not in text[:200]:
        yield f"{name}: no SPDX line"


def check_code(name, text):
    is_pure = name.startswith(PURE)
    for number, line in enumerate(text.split("\n"), 1):
        if is_pure and SHELL_INCLUDE.search(line):
            yield f"{name}:{number}: a pure folder includes {line.strip()}"
    for number, line in enumerate(without_comments(text).split("\n"), 1):
        found = BANNED_CALL.search(line)
        if found:
            yield f"{name}:{number}: {found.group(1)}() is banned"


def long_functions(name, text):
    """A body begins with { in the first column and ends with } there."""
    start = None
    for number, line in enumerate(text.split("\n"), 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            if number - start - 1 > FUNCTION_LINES:
                yield f"{name}:{start}: a function of {number - start - 1} lines"
            start = None


def main():
    errors, warnings = [], []
    for name in our_files():
        text = read(name)
        if text is None:
            continue
        errors += check_lines(name, text)
        if name.endswith((".c", ".h", ".re")):
            errors += check_code(name, text)
        if name.endswith((".c", ".h", ".py")):
            lines = text.count("\n")
            if lines > FILE_LINES:
                warnings.append(f"{name}: {lines} lines")
            warnings += long_functions(name, text)
    for text in warnings:
        print("warning: " + text)
    for text in errors:
        print("error: " + text)
    print(f"text: {len(errors)} errors, {len(warnings)} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""counters: a counter that is shown is counted somewhere.

A field of the structs below that no line of the proxy writes is always 0 for who reads it.
"""
import os
import re
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
STRUCTS = {"proxy/proxy_shared.h": ("stats_database", "stats_worker", "shared_pool_worker"),
           "proxy/core/core_state.h": ("core_counters",)}
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
WRITES = (r"shared_(?:set|add)\(\s*&[^;]*?\b{0}(?:\[[^;]*?\])*,",  # a store
          r"ck_pr_\w+\(\s*&[^;]*?\b{0}\b",
          r"histogram_observe\(\s*&[^;]*?\b{0}(?:\[[^;]*?\])*,",
          r"\.\w+ = [^;]*?database_stats\[\w+\]\.{0}\b",  # lent to the core
          r"counters\.{0}(?:\[[^;]*?\])*(?:\+\+| \+?=)")


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return COMMENT.sub("", f.read())


def fields(text, struct):
    body = re.search(r"struct " + struct + r" \{(.*?)\n *\}", text, re.DOTALL).group(1)
    for declaration in body.split(";"):
        for part in declaration.replace("CK_CC_CACHELINE", "").split(","):
            name = re.search(r"(\w+)(?:\[\w+\])?\s*$", part)
            if name:
                yield name.group(1)


def sources():
    for folder in ("proxy", "proxy/core"):
        for name in sorted(os.listdir(os.path.join(ROOT, folder))):
            if name.endswith(".c") and name != "proxy_sum.c":
                yield os.path.join(folder, name)


def main():
    code = "\n".join(read(name) for name in sources())
    idle, count = [], 0
    for header, structs in STRUCTS.items():
        text = read(header)
        for struct in structs:
            for field in fields(text, struct):
                count += 1
                if not any(re.search(w.format(field), code) for w in WRITES):
                    idle.append(f"error: {header}: nobody counts {struct}.{field}")
    print("\n".join(idle + [f"counters: {count} counters, {len(idle)} without a writer"]))
    return 1 if idle or count < 50 else 0


if __name__ == "__main__":
    sys.exit(main())

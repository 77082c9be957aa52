# SPDX-License-Identifier: PostgreSQL
"""docs/reference/protocol.md says which tests show what: they exist, and no item is left out."""
import os
import re

import pytest

import scripts_copy  # noqa: F401  (they register their scripts)
import scripts_extended  # noqa: F401
import scripts_mixed  # noqa: F401
import scripts_simple  # noqa: F401
import scripts_startup  # noqa: F401
from talk import SCRIPTS

ITEMS = 46
TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
PAGE = os.path.join(TESTS, "..", "docs", "reference", "protocol.md")


def rows():
    with open(PAGE, encoding="utf-8") as f:
        return {int(number): tests for number, tests in
                re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", f.read(), re.MULTILINE)}


def test_every_item_has_a_row():
    assert sorted(rows()) == list(range(1, ITEMS + 1))


@pytest.mark.parametrize("item", range(1, ITEMS + 1))
def test_an_items_tests_exist(item):
    named = rows()[item]
    has_scripts = any(item in s.items for s in SCRIPTS.values())
    assert ("scripts" in named.split(", ")) == has_scripts
    tests = re.findall(r"`([\w/.]+)::(\w+)`", named)
    assert tests or has_scripts
    for path, name in tests:
        with open(os.path.join(TESTS, path), encoding="utf-8") as f:
            assert re.search(rf"^def {name}\(", f.read(), re.MULTILINE), f"{path}::{name}"

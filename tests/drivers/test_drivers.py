# SPDX-License-Identifier: PostgreSQL
"""Any client, unmodified: every driver of the matrix through the proxy, over TLS and SCRAM.

One program a driver (drive_*), one test a feature. DRIVERS_TABLE=write writes
docs/reference/drivers.md; else it is compared with what the programs said.
"""
import difflib
import os

import pytest

import table
from matrix import DRIVERS, NOT_YET
from proxy import ROOT

PAGE = os.path.join(ROOT, "docs", "reference", "drivers.md")
CASES = [(name, feature) for name, driver in DRIVERS.items() for feature in driver.features]


def need(outcome):
    """Skips what cannot be had here; where CI runs, everything can be had."""
    if outcome.missing is None:
        return
    text = f"{outcome.driver.title} cannot be had: {outcome.missing} is missing"
    if os.environ.get("CI") == "true" and not outcome.driver.may_be_missing:
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


@pytest.mark.parametrize("driver, feature", CASES)
def test_feature(transaction, driver, feature):
    outcome = transaction.outcome(driver)
    need(outcome)
    ok, detail = outcome.of(feature)
    if ok is False and (driver, feature) in NOT_YET:
        pytest.xfail(NOT_YET[driver, feature])
    if ok is False:
        pytest.fail(f"{outcome.driver.title}: {detail}", pytrace=False)


def test_nothing_is_left_of_them(transaction):
    transaction.wait_all()
    transaction.wait_at_rest()
    transaction.proxy.insist_alive()


@pytest.mark.parametrize("driver", DRIVERS)
def test_session_pooling(session_mode, driver):
    """One server for all that a session does, the primary's: so nothing is read on replicas."""
    outcome = session_mode.outcome(driver)
    need(outcome)
    failures = outcome.failures(but=("split",))
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


def test_nothing_is_left_of_them_in_session_pooling(session_mode):
    session_mode.wait_all()
    session_mode.wait_at_rest()


def test_the_table_of_drivers_is_current(transaction):
    """A driver that cannot be had here has no row in what is compared."""
    transaction.wait_all()
    outcomes = {name: transaction.outcome(name) for name in DRIVERS}
    there = {name: outcome for name, outcome in outcomes.items() if outcome.missing is None}
    text = table.page(there)
    if os.environ.get("DRIVERS_TABLE") == "write":
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(text)
    with open(PAGE, encoding="utf-8") as f:
        lines = f.read().splitlines()
    absent = tuple(f"| {d.title} |" for n, d in DRIVERS.items() if n not in there)
    notes = tuple(f"- {d.title}," for n, d in DRIVERS.items() if n not in there)
    lines = [line for line in lines if not line.startswith(absent + notes)]
    difference = list(difflib.unified_diff(lines, text.splitlines(), "committed", "now", lineterm=""))
    if difference:
        pytest.fail("DRIVERS_TABLE=write writes it:\n" + "\n".join(difference), pytrace=False)

# SPDX-License-Identifier: PostgreSQL
"""`switchgear classify`: verdicts without a server, held against what real servers did."""
import os
import subprocess

import pytest

from proxy import ROOT

ORACLE = os.path.join(ROOT, "tests", "unit", "router", "oracle.tsv")
VERDICTS = {"read", "write", "transaction", "session", "pin", "local"}

# Text alone does not tell: a foreign table, a sequence read as a table, unlogged tables.
NEEDS_CATALOG = {28, 156, 235, 361}
# The oracle's own functions and operators: reads by their declaration, unknown without a catalog.
USER_MADE = ("f_stable", "f_immut", "@#@", "crosstab")
# A cast to regclass; a SET LOCAL among others.
MISSED = {141, 372}


def oracle():
    """(id, class, text) of every single statement whose outcome the oracle recorded."""
    with open(ORACLE, encoding="utf-8") as f:
        next(f)
        for line in f:
            fields = line.rstrip("\n").split("\t")
            if " \u23f5 " not in fields[6]:  # a sequence of statements
                yield int(fields[0]), fields[1], fields[6]


def classify(binary, texts, *options, end="\0"):
    """[(verdict, reason)] of each text."""
    done = subprocess.run([binary, "classify", *options], input="".join(t + end for t in texts),
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    result = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
    assert len(result) == len(texts)
    return result


@pytest.fixture(scope="module")
def judged(binary):
    rows = list(oracle())
    assert len(rows) > 200
    return [(*row, *verdict) for row, verdict in
            zip(rows, classify(binary, [text for _, _, text in rows], "-0"))]


def test_no_statement_that_a_standby_must_not_run_is_called_a_read(judged):
    wrong = [row for row in judged
             if row[3] == "read" and row[1] != "read" and row[0] not in NEEDS_CATALOG]
    assert wrong == []


def test_nearly_every_read_is_found(judged):
    reads = [row for row in judged
             if row[1] == "read" and not any(name in row[2] for name in USER_MADE)]
    assert len(reads) > 40
    assert [row for row in reads if row[3] != "read" and row[0] not in MISSED] == []


def test_every_verdict_is_a_known_word_with_a_reason(judged):
    assert {row[3] for row in judged} <= VERDICTS
    assert all(row[4] for row in judged)


def test_one_statement_a_line_is_enough(binary):
    texts = ["select 1", "update t set v = 1", "begin", "listen news", "set work_mem = '1MB'",
             "select * from t for update"]
    verdicts = [verdict for verdict, _ in classify(binary, texts, end="\n")]
    assert verdicts == ["read", "write", "transaction", "pin", "session", "write"]


def test_a_text_may_span_lines_with_nul_terminators(binary):
    assert classify(binary, ["select 1\n/*\n*/", "delete\nfrom t"], "-0") == \
        [("read", "select"), ("write", "dml")]

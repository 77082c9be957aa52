# SPDX-License-Identifier: PostgreSQL
"""Writes docs/reference/drivers.md from what the programs of the matrix said."""
from matrix import DRIVERS, FEATURES, NOT_YET, TOOL_FEATURES

HEADS = {"read_your_writes": "own writes", "split": "replicas", "large": "4 MB", "notify": "LISTEN",
         "copy": "COPY", "pipeline": "batches"}

TOP = """# Drivers

This page is made by the driver matrix (`tests/drivers`), which `make test` runs; do not edit it.

Each program below runs unmodified against the proxy: over TLS with a verified certificate, log-in by SCRAM,
transaction pooling, a primary and two replicas. All of it runs in session pooling too, where nothing is read on
replicas. "yes": it does what it does on PostgreSQL; "-": the driver has no such thing.

"""

MEANING = """
| column | what is tried |
| --- | --- |
| connect | the first query, and a wrong password, which fails with 28P01 |
| autocommit | statements outside transactions |
| transactions | commit, rollback, savepoints; levels of isolation, READ ONLY and cursors where the driver has calls for them |
| prepared | statements that are executed 30 times and more, in and outside transactions, and dropped |
| batches | what the driver has to send much at once: pipeline mode, batches of rows, many statements in one string |
| COPY | in and out, and a bad line in it |
| cancel | a statement that runs is cancelled three times, and the session is usable |
| LISTEN | a notification of another session arrives |
| 4 MB | a value of that size as a parameter and as a result |
| errors | their SQLSTATE, in and outside transactions, and the session is usable |
| reconnect | the server ends the connection in a transaction: the client is told, and what it has to connect again works |
| replicas | reads of a session that has written nothing run on replicas, and writes on the primary |
| own writes | 100 times a write, and a read that has to see it |
"""

BOTTOM = """
How to run one of them alone: [run the tests](../howto/run-the-tests.md).
"""


def cell(name, feature, ok):
    if (name, feature) in NOT_YET:
        return "not yet"
    return {True: "yes", None: "-", False: "NO"}[ok]


def rows(outcomes, features):
    head = [HEADS.get(f, f) for f in features]
    lines = ["| | " + " | ".join(head) + " |", "| --- |" + " --- |" * len(features)]
    for name, driver in DRIVERS.items():
        if driver.features is features and name in outcomes:
            cells = [cell(name, f, outcomes[name].of(f)[0]) for f in features]
            lines.append(f"| {driver.title} | " + " | ".join(cells) + " |")
    return lines


def notes(outcomes):
    """Why a driver has no such thing, in its program's words."""
    found = {}
    for name, outcome in outcomes.items():
        for feature in DRIVERS[name].features:
            ok, detail = outcome.of(feature)
            if ok is None and detail:
                heads = found.setdefault((DRIVERS[name].title, detail), [])
                heads.append(HEADS.get(feature, feature))
    for (name, feature), why in NOT_YET.items():
        if name in outcomes:
            found.setdefault((DRIVERS[name].title, why), []).append(HEADS.get(feature, feature))
    return [f"- {title}, {', '.join(heads)}: {detail}" for (title, detail), heads in found.items()]


def page(outcomes):
    """outcomes: {name: Outcome}; a driver that is not among them has no row."""
    tools = ["## PostgreSQL's tools", "", *rows(outcomes, TOOL_FEATURES)]
    return (TOP + "\n".join(rows(outcomes, FEATURES)) + "\n" + MEANING + "\nWhere it does not say \"yes\":\n\n"
            + "\n".join(notes(outcomes)) + "\n\n" + "\n".join(tools) + "\n" + BOTTOM)

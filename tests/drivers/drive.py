# SPDX-License-Identifier: PostgreSQL
"""What the Python programs of the driver matrix share: one line of JSON a feature."""
import json
import os
import time
import traceback

HOST, PORT = os.environ["PGHOST"], int(os.environ["PGPORT"])
USER, PASSWORD = os.environ["PGUSER"], os.environ["PGPASSWORD"]
DATABASE = os.environ["PGDATABASE"]
SSLMODE = os.environ.get("PGSSLMODE", "disable")
ROOT_CERTIFICATE = os.environ.get("PGSSLROOTCERT")
TABLE, TEMP = os.environ["DRIVER_TABLE"], os.environ["DRIVER_TEMP"]

BIG = "abcdefghijklmnopqrstuvwxyz" * (4 * 1024 * 1024 // 26)
READS, WRITES, TIMES = 40, 100, 30
KEPT = [10, 12, 14]  # what the transactions leave of the rows 10 to 19


class DoesNotApply(Exception):
    """The driver has no such feature; the text says what is done instead."""


def report(feature, ok, detail=""):
    print(json.dumps({"feature": feature, "ok": ok, "detail": str(detail)}), flush=True)


def where(error):
    """The error with the line of the program that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if os.path.basename(f.filename).startswith("drive")] or frames
    return f"{type(error).__name__}: {error} (line {ours[-1].lineno})"


def feature(name, function):
    try:
        function()
    except DoesNotApply as reason:
        report(name, None, reason)
    except Exception as error:
        report(name, False, where(error))
    else:
        report(name, True)


def expect(got, wanted, what="result"):
    if got != wanted:
        raise AssertionError(f"{what}: {str(got)[:300]!r}, not {str(wanted)[:300]!r}")


def expect_split(roles):
    """Reads of a session that wrote nothing run on replicas; a few may find them too old."""
    if roles.count("replica") < len(roles) // 4:
        raise AssertionError(f"{roles.count('replica')} of {len(roles)} reads on replicas")


FEATURES = ("connect", "autocommit", "transactions", "prepared", "pipeline", "copy", "cancel", "notify",
            "large", "errors", "reconnect", "split", "read_your_writes")


def features(functions, names=FEATURES):
    """Runs the test_<feature> of a module, all of them."""
    for name in names:
        if name == "split":
            time.sleep(0.5)  # replicas show what the features before it did
        feature(name, functions["test_" + name])

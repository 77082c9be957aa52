# SPDX-License-Identifier: PostgreSQL
"""Fixtures of the driver matrix: the cluster of the integration tests, and one proxy a pool mode,
over TLS, in front of which each program runs once. Its features become one test each."""
import importlib.util
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
INTEGRATION = os.path.join(HERE, "..", "integration")
sys.path.insert(0, HERE)
sys.path.insert(0, INTEGRATION)

_spec = importlib.util.spec_from_file_location("integration_conftest",
                                               os.path.join(INTEGRATION, "conftest.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

pytest_configure = _module.pytest_configure
cluster = _module.cluster
binary = _module.binary

from matrix import DRIVERS, Run  # noqa: E402

_runs = []


def wanted(request, mode):
    """The drivers that the chosen tests ask for; the table asks for all of them."""
    names = set()
    for item in request.session.items:
        called = getattr(item, "callspec", None)
        if called is not None and "driver" in called.params:
            names.add(called.params["driver"])
        elif mode == "transaction":
            names.update(DRIVERS)
    return sorted(names)


def run_of(request, cluster, tmp_path_factory, mode):
    run = Run(cluster, mode, tmp_path_factory.mktemp(mode))
    _runs.append(run)
    run.start(wanted(request, mode))
    return run


@pytest.fixture(scope="session")
def transaction(request, cluster, binary, tmp_path_factory):
    run = run_of(request, cluster, tmp_path_factory, "transaction")
    yield run
    run.stop()


@pytest.fixture(scope="session")
def session_mode(request, cluster, binary, tmp_path_factory):
    run = run_of(request, cluster, tmp_path_factory, "session")
    yield run
    run.stop()


def pytest_terminal_summary(terminalreporter):
    """What was there, so that a log of a run says what it was a run of."""
    for run in _runs:
        terminalreporter.write_line(f"drivers in pool_mode = {run.mode}:")
        for line in run.summary():
            terminalreporter.write_line("   " + line)

# SPDX-License-Identifier: PostgreSQL
"""Fixtures: one real cluster a run, proxies as the tests want them.

cluster  a primary and two streaming replicas, healed after each test
proxy    a factory: proxy(database={"pool_size": 10}) starts one; it is checked when the test ends
gear     a proxy with the defaults, shared by the tests of one file that only look
hba      a factory: hba("host all all all trust") starts a proxy with that file
secure, trusting   a proxy that wants TLS, with SCRAM or without a password; `certificates` are its own
"""
import itertools
import os
import signal
import sys
import threading

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import tls  # noqa: E402
from cluster import APP_PASSWORD, APP_USER, Cluster, postgres_bindir  # noqa: E402
from proxy import Proxy, binary_path  # noqa: E402

TEST_SECONDS = 120  # a test that takes longer hangs

_numbers = itertools.count(1)
_proxies = []  # all that were started


def pytest_configure(config):
    config.addinivalue_line("markers", "core: the small part that `make test-quick` runs")
    config.addinivalue_line("markers", "one_session: of one session's bytes: run under ASan only")
    config.addinivalue_line("markers", "invariant: what must never happen: a failure is final")
    if config.option.collectonly:
        return
    if postgres_bindir() is None:
        pytest.exit("PostgreSQL's server programs were not found: skipped", returncode=77)


@pytest.fixture(scope="session")
def cluster():
    with Cluster() as c:
        yield c


class Watchdog:
    """Ends a test that hangs: without the proxy every client of it gets an error."""

    def __init__(self, cluster):
        self.cluster, self.barked = cluster, False
        self.timer = threading.Timer(TEST_SECONDS, self.bark)
        self.timer.daemon = True

    def bark(self):
        self.barked = True
        for node in self.cluster.nodes:
            node.sigcont()
        for p in _proxies:
            if p.alive():
                p.signal(signal.SIGKILL)

    def __enter__(self):
        self.timer.start()
        return self

    def __exit__(self, *_):
        self.timer.cancel()


@pytest.fixture(autouse=True)
def healthy(request):
    """Each test begins with healthy nodes and sees only its own statements in their logs."""
    if not {"cluster", "proxy", "gear"} & set(request.fixturenames):
        yield
        return
    c = request.getfixturevalue("cluster")
    c.mark_logs()
    with Watchdog(c) as watchdog:
        yield
    c.heal()
    if watchdog.barked:
        pytest.fail(f"hung for {TEST_SECONDS} s: the proxy was killed", pytrace=False)


@pytest.fixture(scope="session")
def binary():
    path = binary_path()
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is not there: build it, or set SWITCHGEAR", pytrace=False)
    return path


@pytest.fixture
def proxy(cluster, healthy, binary):
    started = []

    def make(wait=True, **options):
        p = Proxy(cluster, f"proxy{next(_numbers)}", **options)
        started.append(p)
        _proxies.append(p)
        return p.start(wait)

    yield make
    problems = []
    for p in started:
        try:
            p.stop()
        except Exception as problem:  # every proxy is stopped before the first is blamed
            problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture(scope="module")
def module_proxy(cluster, binary):
    shared = Proxy(cluster, f"proxy{next(_numbers)}")
    _proxies.append(shared)
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture
def gear(module_proxy, healthy):
    if not module_proxy.alive():  # an earlier test killed it and was blamed for it
        module_proxy.start()
    module_proxy.wait_ready()
    yield module_proxy
    for connection in module_proxy.connections:
        connection.close()
    module_proxy.connections = []
    module_proxy.insist_alive()


@pytest.fixture
def session(gear):
    """One autocommit connection through the shared proxy."""
    return gear.connect()


@pytest.fixture
def certificates(cluster):
    return tls.certificates_of(cluster)


@pytest.fixture
def secure(proxy, certificates):
    """SCRAM over TLS, TLS required."""
    return proxy(switchgear=tls.switchgear(certificates))


@pytest.fixture
def trusting(proxy, certificates):
    """TLS required, no password: for bare sockets."""
    return proxy(switchgear=tls.switchgear(certificates, auth_type="trust",
                                           client_login_timeout="3s"),
                 database={"user": APP_USER, "password": APP_PASSWORD})


@pytest.fixture
def hba(proxy):
    """hba("host all all all trust") starts a proxy with that file."""
    def make(text, ident="", switchgear=None, more=None, **options):
        return proxy(switchgear={"auth_type": "hba", "auth_hba_file": "hba.conf",
                                 "auth_ident_file": "ident.conf", **(switchgear or {})},
                     files={"hba.conf": text, "ident.conf": ident, **(more or {})}, **options)
    return make

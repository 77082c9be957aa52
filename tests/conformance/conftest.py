# SPDX-License-Identifier: PostgreSQL
"""The conformance suite uses the cluster and the proxies of the integration tests.

through  a factory: through("session") and through("transaction") are proxies that the whole run
         shares; through("chopped") reaches its servers through a wire that cuts what they send
"""
import importlib.util
import itertools
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
healthy = _module.healthy
binary = _module.binary
proxy = _module.proxy

from chopper import Chopper  # noqa: E402
from proxy import Proxy  # noqa: E402
from world import make_world  # noqa: E402

_numbers = itertools.count(1)

# One worker: the next transaction meets the server connection that the one before has left.
OPEN = {"auth_type": "trust", "workers": 1, "client_login_timeout": "20s"}
DATABASE = {"pool_size": 10, "user": "app", "password": "app-secret"}


@pytest.fixture(scope="session")
def world(cluster):
    """The tables, roles and functions that the scripts talk about."""
    make_world(cluster)
    return cluster


class Shared:
    """Proxies that live as long as the run, or a file's tests, started when first asked for."""

    def __init__(self, cluster, sanitizer=""):
        self.cluster, self.proxies, self.choppers = cluster, {}, []
        self.sanitizer = sanitizer

    def get(self, mode):
        if mode not in self.proxies:
            self.proxies[mode] = self.start(mode)
        self.proxies[mode].insist_alive()
        return self.proxies[mode]

    def start(self, mode):
        nodes = {}
        if mode == "chopped":
            for node in self.cluster.nodes:
                chopper = Chopper(node.port, seed=len(self.choppers))
                self.choppers.append(chopper)
                nodes[node.name] = {"port": chopper.port}
        pool_mode = "session" if mode == "session" else "transaction"
        p = Proxy(self.cluster, f"conformance{next(_numbers)}", switchgear=OPEN, nodes=nodes,
                  database={**DATABASE, "pool_mode": pool_mode}, sanitizer=self.sanitizer)
        return p.start()

    def stop(self):
        problems = []
        for p in self.proxies.values():
            try:
                p.stop()
            except Exception as problem:  # every proxy is stopped before the first is blamed
                problems.append(problem)
        for chopper in self.choppers:
            chopper.close()
        if problems:
            raise problems[0]


@pytest.fixture(scope="session")
def through(world, binary):
    shared = Shared(world)
    yield shared.get
    shared.stop()


@pytest.fixture(scope="module")
def measured(world, binary):
    """Proxies whose memory can be measured: ASan keeps 256 MB of what is freed, here only 2."""
    shared = Shared(world, ":quarantine_size_mb=2")
    yield shared.get
    shared.stop()

# SPDX-License-Identifier: PostgreSQL
"""Chaos tests use the cluster and the proxies of the integration tests: see the conftest there."""
import importlib.util
import os
import sys

INTEGRATION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
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

# SPDX-License-Identifier: PostgreSQL
"""TLS on both sides."""
import psycopg2
import pytest

import tls
from proxy import one


@pytest.fixture
def certificates(cluster):
    return tls.certificates_of(cluster)


@pytest.mark.core
def test_scram_and_statements_over_tls(proxy, certificates):
    p = proxy(switchgear=tls.switchgear(certificates))
    c = p.connect(**tls.libpq_parameters(certificates))
    assert c.info.ssl_attribute("protocol") == "TLSv1.3"
    assert one(c, "select 40 + 2") == 42

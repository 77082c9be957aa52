# SPDX-License-Identifier: PostgreSQL
"""A question for the catalog that meets its time limit: it is told, gets a longer one, and is put again when
the reason may be gone."""
import psycopg2

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import dicts_of, one
from test_catalog_facts import catalog_of

CANCEL = ("select count(pg_cancel_backend(pid)) from pg_stat_activity "
          "where application_name = 'switchgear-catalog' and state = 'active' and wait_event_type = 'Lock'")


def test_a_question_that_takes_too_long_gets_more_time(cluster, proxy):
    cluster.primary.psql(f"grant create on schema public to {APP_USER}", APP_DATABASE)
    p = proxy(switchgear={"catalog_interval": "1s", "workers": 1})
    client, admin = p.connect(), p.connect_admin()
    one(client, "select 1")
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")
    locker = psycopg2.connect(host=cluster.primary.base, port=cluster.primary.port, user="postgres",
                              dbname=APP_DATABASE)
    try:
        with locker.cursor() as cursor:
            cursor.execute("lock table pg_aggregate in access exclusive mode")

        def too_long():
            cluster.primary.psql(CANCEL)
            return "it gets 120 s" in catalog_of(admin)["last_error"]
        wait_until(too_long, 30, what="the question is given up")
        asked = catalog_of(admin)["questions"]
        assert "sqlstate=57014" in p.log_text()
    finally:
        locker.rollback()
        locker.close()
    try:
        assert catalog_of(admin)["questions"] == asked
        with client.cursor() as cursor:
            cursor.execute("create function facts_slow() returns int language sql as 'select 1'")
        wait_until(lambda: catalog_of(admin)["last_error"] == "", 20, what="it is asked again, as something changed")
        wait_until(lambda: any(row["name"] == "facts_slow" for row in dicts_of(admin, f"SHOW CATALOG {APP_DATABASE}")),
                   20, what="what has changed is known")
    finally:
        cluster.primary.psql(f"drop function if exists facts_slow; revoke create on schema public from {APP_USER}",
                             APP_DATABASE)
        cluster.wait_replicated()

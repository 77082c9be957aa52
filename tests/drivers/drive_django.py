# SPDX-License-Identifier: PostgreSQL
"""The features of the driver matrix through Django's ORM, on psycopg2: see drive.py."""
import threading

import django
from django.conf import settings

import drive
from drive import BIG, READS, TABLE, TIMES, WRITES, DoesNotApply, expect

settings.configure(
    INSTALLED_APPS=[], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={name: {
        "ENGINE": "django.db.backends.postgresql", "HOST": drive.HOST, "PORT": drive.PORT,
        "USER": drive.USER, "PASSWORD": password, "NAME": drive.DATABASE, "CONN_MAX_AGE": None,
        "TIME_ZONE": "Europe/Berlin",  # not the server's: it sends SET TIME ZONE
        "OPTIONS": {"sslmode": drive.SSLMODE},
    } for name, password in (("default", drive.PASSWORD), ("wrong", "wrong"))})
django.setup()

from django.db import (DatabaseError, IntegrityError, OperationalError, connection,  # noqa: E402
                       connections, models, transaction)


class Row(models.Model):
    id = models.IntegerField(primary_key=True)
    v = models.TextField()

    class Meta:
        app_label = "drive"
        db_table = TABLE


class Dropped(Exception):
    pass


def ask(sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def expect_state(state, sql, values=None):
    try:
        ask(sql, values)
    except DatabaseError as error:
        expect(error.__cause__.pgcode, state, sql[:60])
    else:
        raise AssertionError(f"no {state}: {sql[:60]}")


def test_connect():
    expect(ask("select 1"), [(1,)])
    expect(connection.connection.info.ssl_in_use, drive.SSLMODE != "disable", "TLS")
    try:
        connections["wrong"].ensure_connection()
    except OperationalError as error:
        expect("password authentication failed" in str(error), True, str(error))
    else:
        raise AssertionError("a wrong password was taken")


def test_autocommit():
    Row.objects.create(id=1, v="one")
    expect(Row.objects.get(id=1).v, "one")
    Row.objects.filter(id=1).update(v="two")
    expect(Row.objects.filter(v="two").count(), 1)
    Row.objects.all().delete()
    expect(Row.objects.count(), 0)


def test_transactions():
    with transaction.atomic():
        Row.objects.create(id=10, v="kept")
    try:
        with transaction.atomic():
            Row.objects.create(id=11, v="dropped")
            raise Dropped
    except Dropped:
        pass
    with transaction.atomic():
        Row.objects.create(id=12, v="kept")
        try:
            with transaction.atomic():  # a savepoint
                Row.objects.create(id=13, v="dropped")
                Row.objects.create(id=12, v="twice")
        except IntegrityError:
            pass
        expect(Row.objects.select_for_update().get(id=12).v, "kept")
        Row.objects.create(id=14, v="kept")
    ids = Row.objects.filter(id__range=(10, 19)).order_by("id").values_list("id", flat=True)
    expect(list(ids), drive.KEPT)


def test_prepared():
    for i in range(TIMES):
        expect(ask("select %s + 1", (i,)), [(i + 1,)])
    raise DoesNotApply("psycopg2 puts the parameters into the text")


def test_pipeline():
    """bulk_create, and iterator(), which outside a transaction is a cursor WITH HOLD."""
    Row.objects.bulk_create([Row(id=1000 + i, v="batch") for i in range(600)], batch_size=200)
    expect(Row.objects.filter(v="batch").count(), 600)
    expect(sum(1 for _ in Row.objects.filter(v="batch").iterator(chunk_size=50)), 600)
    with transaction.atomic():
        expect(sum(1 for _ in Row.objects.filter(v="batch").iterator(chunk_size=50)), 600)


def test_copy():
    raise DoesNotApply("nothing of its own; see psycopg2")


def test_cancel():
    """Through the driver's connection."""
    connection.ensure_connection()
    for _ in range(2):
        threading.Timer(0.3, connection.connection.cancel).start()
        expect_state("57014", "select pg_sleep(30)")
        expect(ask("select 1"), [(1,)])


def test_notify():
    raise DoesNotApply("nothing of its own; see psycopg2")


def test_large():
    Row.objects.create(id=50000, v=BIG)
    expect(Row.objects.get(id=50000).v == BIG, True, "same value")


def test_errors():
    expect_state("42601", "selec 1")
    expect_state("42P01", "select * from no_such_table")
    expect_state("23505", f"insert into {TABLE} values (10, 'again')")
    expect(ask("select 1"), [(1,)])
    try:
        with transaction.atomic():
            expect_state("22012", "select 1/0")
            expect_state("25P02", "select 1")
            raise Dropped
    except Dropped:
        pass
    expect(ask("select 1"), [(1,)])


def test_reconnect():
    """At the end of a request Django drops a connection that had an error and no longer works."""
    try:
        with transaction.atomic():
            ask("select pg_terminate_backend(pg_backend_pid())")
    except DatabaseError:
        pass
    connection.close_if_unusable_or_obsolete()
    expect(Row.objects.filter(id=10).count(), 1)


def test_split():
    connection.close()
    roles = []
    for _ in range(READS):
        Row.objects.count()
        roles.append(ask("show switchgear.last_route")[0][1])
    drive.expect_split(roles)
    expect(ask(f"insert into {TABLE} values (60000, 'x') returning pg_is_in_recovery()"),
           [(False,)])


def test_read_your_writes():
    row = Row.objects.create(id=70000, v="-1")
    for i in range(WRITES):
        row.v = str(i)
        row.save()
        expect(Row.objects.get(id=70000).v, str(i))


if __name__ == "__main__":
    drive.report("version", True, "Django " + django.get_version())
    drive.features(globals())

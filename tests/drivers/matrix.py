# SPDX-License-Identifier: PostgreSQL
"""The driver matrix: which programs there are, what each needs, and what came of them.

Each program drive_<name> takes its connection from libpq's environment variables and its table from
DRIVER_TABLE, runs every feature, and prints a line of JSON for each:
{"feature": ..., "ok": true, false, or null where the driver has no such thing, "detail": ...}
"""
import concurrent.futures
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import tls
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
NODE_MODULES = os.path.join(HERE, "node_modules")
JDBC = "/usr/share/java/postgresql.jar"
GOPATH = "/usr/share/gocode"
AT_ONCE = 2  # programs
SECONDS = 150  # a program that takes longer hangs

FEATURES = ("connect", "autocommit", "transactions", "prepared", "pipeline", "copy", "cancel", "notify",
            "large", "errors", "reconnect", "split", "read_your_writes")
TOOL_FEATURES = ("pg_dump", "pg_dump_parallel", "pg_restore", "pg_basebackup", "pg_receivewal")


# What the proxy does not do yet, and so may fail: {(driver, feature): why}.
NOT_YET = {}


class Driver:
    """needs: what it cannot do without: programs, paths (with a /), Python's modules (py:...), and
    commands (lists) that succeed where it is there."""

    def __init__(self, title, command, needs, build=None, features=FEATURES, may_be_missing=False):
        self.title, self.command, self.needs, self.build = title, command, needs, build
        self.features, self.may_be_missing = features, may_be_missing

    def missing(self):
        """What is not there, or None."""
        for need in self.needs:
            if not _is_there(need):
                return " ".join(need) if isinstance(need, list) else need.replace(HERE + "/", "")
        return None


def _is_there(need):
    if isinstance(need, list):
        return shutil.which(need[0]) is not None and subprocess.run(
            need, capture_output=True, timeout=60, check=False).returncode == 0
    if need.startswith("py:"):
        return need[3:] in _python_modules()
    return os.path.exists(need) if "/" in need else shutil.which(need) is not None


def _python_modules():
    """Of the system's Python, which may be another than the one that runs the tests."""
    names = sorted({need[3:] for d in DRIVERS.values() for need in d.needs
                    if isinstance(need, str) and need.startswith("py:")})
    if sys.executable == PYTHON:
        return [name for name in names if importlib.util.find_spec(name)]
    script = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    return subprocess.check_output([PYTHON, "-c", script, *names], text=True).split()


def python(title, name, *modules, **more):
    return Driver(title, lambda temp: [PYTHON, f"drive_{name}.py"],
                  [f"py:{module}" for module in modules], **more)


def javascript(title, name, *packages, **more):
    paths = [os.path.join(NODE_MODULES, package, "package.json") for package in packages]
    return Driver(title, lambda temp: ["node", f"drive_{name}.js"], ["node", *paths], **more)


def c_program(title, name, needs, *libraries):
    def build(temp):
        include = subprocess.check_output(["pg_config", "--includedir"], text=True).strip()
        return ["gcc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-I", include,
                f"drive_{name}.c", "-o", os.path.join(temp, name), *libraries], {}

    return Driver(title, lambda temp: [os.path.join(temp, name)], ["gcc", *needs], build)


def go_build(temp):
    """With Debian's packages, and nothing from the network."""
    return (["go", "build", "-o", os.path.join(temp, "go_pq"), "drive_go_pq.go"],
            {"GO111MODULE": "off", "GOPATH": GOPATH, "GOCACHE": os.path.join(temp, "go-cache"),
             "GOFLAGS": "", "HOME": temp})


DRIVERS = {
    "psql": python("psql", "psql"),
    "pgbench": python("pgbench", "pgbench"),
    "libpq": c_program("libpq, pipeline mode", "libpq", ["pg_config"], "-lpq"),
    "psycopg2": python("psycopg2", "psycopg2", "psycopg2"),
    "psycopg": python("psycopg 3", "psycopg", "psycopg"),
    "asyncpg": python("asyncpg", "asyncpg", "asyncpg"),
    "sqlalchemy": python("SQLAlchemy", "sqlalchemy", "sqlalchemy", "psycopg2"),
    "django": python("Django's ORM", "django", "django", "psycopg2"),
    "jdbc": Driver("JDBC", lambda temp: ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                                         "-cp", JDBC, "drive_jdbc.java"],
                   ["java", "javac", JDBC]),
    "pg": javascript("node-postgres", "pg", "pg", "pg-cursor", "pg-copy-streams"),
    "postgres_js": javascript("postgres.js", "postgres_js", "postgres"),
    "prisma": javascript("Prisma, pg adapter", "prisma", "prisma", "@prisma/client",
                         "@prisma/adapter-pg", may_be_missing=True),
    "go_pq": Driver("Go lib/pq", lambda temp: [os.path.join(temp, "go_pq")],
                    ["go", GOPATH + "/src/github.com/lib/pq"], go_build),
    "ruby_pg": Driver("Ruby pg", lambda temp: ["ruby", "drive_ruby_pg.rb"],
                      ["ruby", ["ruby", "-e", "require 'pg'"]]),
    "php_pdo": Driver("PHP PDO", lambda temp: ["php", "drive_php_pdo.php"],
                      ["php", ["php", "-r", "exit(extension_loaded('pdo_pgsql') ? 0 : 1);"]]),
    "perl_dbd": Driver("Perl DBD::Pg", lambda temp: ["perl", "drive_perl_dbd.pl"],
                       ["perl", ["perl", "-MDBD::Pg", "-e", "1"]]),
    "odbc": c_program("ODBC", "odbc", ["/usr/include/sql.h",
                                       ["odbcinst", "-q", "-d", "-n", "PostgreSQL Unicode"]],
                      "-lodbc", "-lpthread"),
    "tools": python("PostgreSQL's tools", "tools", features=TOOL_FEATURES),
}


class Outcome:
    """What one program said: {feature: (ok, detail)}."""

    def __init__(self, name):
        self.name, self.driver = name, DRIVERS[name]
        self.missing = self.driver.missing()
        self.results, self.version, self.seconds, self.problem = {}, "", 0.0, ""

    def read(self, output):
        for line in output.splitlines():
            try:
                said = json.loads(line)
                name, ok, detail = said["feature"], said["ok"], said["detail"]
            except (ValueError, KeyError, TypeError):
                continue
            if name == "version":
                self.version = detail
            elif self.results.get(name, (True,))[0] is not False:  # a thread may complain beforehand
                self.results[name] = (ok, detail)

    def of(self, feature):
        return self.results.get(feature, (False, f"it said nothing of it. {self.problem}"))

    def failures(self, but=()):
        return [f"{f}: {self.of(f)[1]}" for f in self.driver.features
                if f not in but and self.of(f)[0] is False and (self.name, f) not in NOT_YET]


class Run:
    """All programs once, AT_ONCE at a time, through one proxy in one pool mode."""

    def __init__(self, cluster, mode, directory):
        self.cluster, self.mode, self.directory = cluster, mode, str(directory)
        certificates = tls.certificates_of(cluster)
        self.ca = certificates.ca
        self.proxy = Proxy(cluster, f"drivers-{mode}", switchgear=tls.switchgear(certificates),
                           # The programs make objects all the time, and look at the split
                           # meanwhile: a name that is not known yet is what its text shows.
                           database={"pool_mode": mode, "isolation": "text"})
        self.pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        self.building = threading.Lock()
        self.outcomes = {}

    def start(self, names):
        self.cluster.primary.psql(f"alter role {APP_USER} replication")  # for pg_basebackup
        connection = self.cluster.primary.connect(APP_DATABASE, APP_USER)
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"create table {self.table(name)} (id int primary key, v text)")
        connection.close()
        self.cluster.wait_replicated()
        self.proxy.start()
        slow_first = sorted(names, key=lambda n: n not in ("prisma", "go_pq", "jdbc", "pgbench"))
        for name in slow_first:
            self.outcomes[name] = self.pool.submit(self.one, name)

    def stop(self):
        for future in self.outcomes.values():
            future.cancel()
        self.pool.shutdown()
        self.proxy.stop()

    def table(self, name):
        return f"drive_{name}_{self.mode}"

    def environment(self, name, temp):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "DATABASE_"))}
        return {**clean, "PGHOST": "127.0.0.1", "PGPORT": str(self.proxy.port), "PGUSER": APP_USER,
                "PGPASSWORD": APP_PASSWORD, "PGDATABASE": APP_DATABASE, "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": self.ca, "PGCONNECT_TIMEOUT": "20", "PGBINDIR": self.cluster.bindir,
                "DRIVER_TABLE": self.table(name), "DRIVER_TEMP": temp, "LC_ALL": "C.UTF-8",
                "PATH": self.cluster.bindir + ":" + os.environ["PATH"]}

    def one(self, name):
        outcome = Outcome(name)
        if outcome.missing is not None:
            return outcome
        temp = os.path.join(self.directory, name)
        os.makedirs(temp)
        environment = self.environment(name, temp)
        if outcome.driver.build is not None:
            command, more = outcome.driver.build(temp)
            with self.building:
                self.call(outcome, command, {**environment, **more})
            if outcome.problem:
                return outcome
        began = time.monotonic()
        outcome.read(self.call(outcome, outcome.driver.command(temp), environment))
        outcome.seconds = time.monotonic() - began
        return outcome

    def call(self, outcome, command, environment):
        try:
            done = subprocess.run(command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as late:
            outcome.problem = f"it was not done after {SECONDS} s"
            return (late.stdout or b"").decode(errors="replace")
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()[-1500:]
            outcome.problem = f"{command[0]} ended with {done.returncode}: {words}"
        return done.stdout.decode(errors="replace")

    def outcome(self, name):
        """Waits for it."""
        return self.outcomes[name].result()

    def wait_all(self):
        concurrent.futures.wait(self.outcomes.values())

    def wait_at_rest(self):
        """Every pool as it was before the first client: nobody holds a server or waits for one."""
        def is_at_rest():
            rows = [row for row in self.proxy.admin("SHOW POOLS") if row["database"] == APP_DATABASE]
            columns = ("cl_active", "cl_waiting", "sv_active", "sv_login")
            return not any(int(row[column]) for row in rows for column in columns)

        wait_until(is_at_rest, 20, "the pools are at rest")

    def summary(self):
        """A line for each driver: its version, and how long it took."""
        for name, future in self.outcomes.items():
            if not future.done() or future.cancelled():
                continue
            outcome = future.result()
            yield (f"{outcome.driver.title}: missing ({outcome.missing})" if outcome.missing else
                   f"{outcome.driver.title}: {outcome.version}, {outcome.seconds:.1f} s")

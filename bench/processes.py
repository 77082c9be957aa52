# SPDX-License-Identifier: PostgreSQL
"""processes: starts what a benchmark needs and ends all of it, whatever happens.

Nothing is started by root: PostgreSQL and PgBouncer refuse that, and all contenders should be
treated alike. Every child gets the kernel's parent-death signal too, so that even a killed
harness leaves nothing behind.
"""

import contextlib
import ctypes
import grp
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10
LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something that the benchmark needs did not work; the text is for the person who runs it."""


def find_program(name):
    """The path of a program; Debian keeps some outside an ordinary user's PATH. None if absent."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def raise_open_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def unprivileged_user():
    """The user to run servers as: ourselves, or, when we are root, postgres or nobody."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise BenchError("run by root, and there is neither a user postgres nor nobody to drop to")


class Child:
    def __init__(self, name, process, log_path, stop_signals):
        self.name = name
        self.process = process
        self.log_path = log_path
        self.stop_signals = stop_signals

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def log_tail(self, lines=5):
        with open(self.log_path, "rb") as f:
            text = f.read()[-4000:].decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def stop(self):
        for signal_number in self.stop_signals + (signal.SIGKILL,):
            if not self.alive():
                return
            self.process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)


class Keeper:
    """Owns a private directory and all children; leaving the `with` block ends and removes them."""

    def __init__(self, keep_directory=False):
        self.user = unprivileged_user()
        self.children = []
        self.keep_directory = keep_directory
        self.directory = None

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="switchgear-bench-")
        self.give(self.directory)
        return self

    def __exit__(self, *_):
        # A second Ctrl-C must not interrupt the cleaning up that the first one asked for.
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        held = {s: signal.signal(s, signal.SIG_IGN) for s in signals}
        for child in reversed(self.children):
            child.stop()
        if self.keep_directory:
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        for signal_number, handler in held.items():
            signal.signal(signal_number, handler)

    def give(self, path):
        if os.geteuid() == 0:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def make_directory(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, mode=0o700)
        self.give(path)
        return path

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        self.give(path)
        return path

    def _identity(self):
        if os.geteuid() != 0:
            return {}
        groups = [g.gr_gid for g in grp.getgrall() if self.user.pw_name in g.gr_mem]
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": groups}

    def _environment(self):
        # PG* variables of the caller would redirect psql, pgbench and libpq inside the contenders.
        kept = {k: v for k, v in os.environ.items()
                if not k.startswith("PG") and not k.startswith("DATABASE_")}
        return kept | {"HOME": self.directory, "LC_ALL": "C.UTF-8"}

    def start(self, name, argv, stop_signals=(signal.SIGTERM,)):
        log_path = self.path(f"{name}.log")
        first_signal = stop_signals[0]

        def before_exec():
            LIBC.prctl(PR_SET_PDEATHSIG, first_signal)

        with open(log_path, "ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       cwd=self.directory, env=self._environment(),
                                       start_new_session=True, preexec_fn=before_exec,
                                       **self._identity())
        child = Child(name, process, log_path, tuple(stop_signals))
        self.children.append(child)
        return child

    def forget(self, child):
        child.stop()
        self.children.remove(child)

    def run(self, argv, timeout=120):
        """Runs a short command to its end as the unprivileged user; returns its output."""
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=timeout, cwd=self.directory, env=self._environment(),
                                  check=False, **self._identity())
        except subprocess.TimeoutExpired as e:
            raise BenchError(f"{os.path.basename(argv[0])} did not end in {timeout} s") from e
        if done.returncode != 0:
            raise BenchError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout


def wait_until(what, condition, seconds, child=None):
    """Polls `condition` until it is true; says what was waited for when it never is."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        if child is not None and not child.alive():
            raise BenchError(f"{child.name} ended by itself:\n{child.log_tail()}")
        try:
            if condition():
                return
        except BenchError as e:
            last = e
        time.sleep(0.05)
    log = f"\n{child.log_tail()}" if child is not None else ""
    raise BenchError(f"waited {seconds} s in vain: {what}" + (f" ({last})" if last else "") + log)

#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""Runs every test suite in order and adds up: the last line is "N passed, N failed".

test.py [all|quick|asan|tsan|fuzz|soak]. A suite that fails, or that cannot even be built, does not stop
the others: everything is seen in one run. The exit code is 0 only when nothing failed.

Two suites run at a time, as most of them wait for most of their time: each has servers and ports of its
own. What failed is tried again when nothing else runs.
"""
import concurrent.futures
import glob
import os
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
PYTHON = "/usr/bin/python3"
JOBS = str(min(2, os.cpu_count() or 1))
LANES = int(os.environ.get("LANES", "2"))  # suites at a time
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "10"))
SUITE_TIMEOUT = 2700
TAIL_LINES = 60
FAILURE_LINES = 12
SOAK = {"SOAK_SECONDS": os.environ.get("SOAK_SECONDS", "60"),
        "SOAK_CLIENTS": os.environ.get("SOAK_CLIENTS", "500")}
SECOND_TRIES_MAX = 3  # a suite with more failures than this gets none

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "exitcode=66:second_deadlock_stack=1",
}


class Tally:
    """What has been counted so far, with a line for each suite."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.suites = []
        self.again = []  # what is to be done when nothing else runs
        self.second_tries = []

    def add(self, suite, passed, failed, skipped, seconds, failures=()):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        text = f"{passed} passed, {failed} failed, {skipped} skipped ({seconds:.0f} s)"
        self.suites.append((suite, text, list(failures)))
        say(f"   {suite}: {text}")

    def summary(self):
        """What failed comes last: who sees only the end of the output sees that."""
        say("\n== summary")
        for failure in self.second_tries:
            say(f"   passed only at the second try: {failure}")
        for suite, text, _ in self.suites:
            say(f"   {suite}: {text}")
        for suite, _, failures in self.suites:
            for failure in failures:
                say(f"   failed: {suite}: {failure}")
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        say(f"{self.passed} passed, {self.failed} failed{skipped}")
        return 1 if self.failed or not self.passed else 0


_speaking = threading.RLock()  # the lines of one suite stay together


def say(text):
    with _speaking:
        print(text, flush=True)


def run(command, log, environment=None, timeout=SUITE_TIMEOUT):
    """Runs a command with its output in a file; True when it succeeded."""
    with open(log, "w", encoding="utf-8") as f:
        try:
            done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=f,
                                  stderr=subprocess.STDOUT, timeout=timeout,
                                  env={**os.environ, **SANITIZER_OPTIONS, **(environment or {})})
            return done.returncode == 0
        except subprocess.TimeoutExpired:
            f.write(f"\nnot done after {timeout} s: {' '.join(command)}\n")
        except OSError as error:
            f.write(f"\n{error}\n")
        return False


def show_tail(log):
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f.readlines()[-TAIL_LINES:]:
            say("   | " + line.rstrip())


class Failure:
    """A test that failed, and the end of what it said."""

    def __init__(self, case, element):
        self.file = case.get("classname", "").replace(".", "/") + ".py"
        self.name = case.get("name")
        # what goes wrong outside the test itself (the proxy died, a sanitizer spoke) is an error
        self.is_own = element.tag == "failure"
        self.text = (element.text or element.get("message") or "").rstrip()

    def __str__(self):
        lines = [f"{self.file}::{self.name}"]
        lines += ["         | " + line for line in self.text.splitlines()[-FAILURE_LINES:]]
        return "\n".join(lines)


class Results:
    """What a JUnit file says; `finished` is False when there is none."""

    def __init__(self, path):
        self.passed, self.skipped, self.failures = [], 0, []
        self.reasons = {}  # of the skips, and how many each
        try:
            cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
            self.finished = True
        except (OSError, xml.etree.ElementTree.ParseError):
            cases, self.finished = [], False
        for case in cases:
            found = [e for e in case if e.tag in ("failure", "error")]
            if found:
                self.failures.append(Failure(case, found[-1]))
            elif case.find("skipped") is not None:
                self.skipped += 1
                reason = case.find("skipped").get("message") or "no reason given"
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
            else:
                self.passed.append(case.get("name"))


def under_fixed_layout(command):
    """ThreadSanitizer wants memory where it expects it: no address randomisation."""
    if shutil.which("setarch") and subprocess.run(
            ["setarch", "-R", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return ["setarch", "-R", *command]
    return command


class Build:
    """One Meson build directory and the suites that run from it."""

    def __init__(self, tally, directory, label, compiler, *options, fixed_layout=False):
        self.tally, self.directory, self.label = tally, directory, label
        self.compiler, self.options = compiler, options
        self.prefix = under_fixed_layout if fixed_layout else list
        self.stands = None
        self.compiled = threading.Event()

    def path(self, *parts):
        return os.path.join(ROOT, self.directory, *parts)

    def when_compiled(self, suite, *arguments):
        self.compiled.wait()
        if self.stands:
            suite(*arguments)

    def compile(self):
        """When it does not stand, that is counted as one failure."""
        try:
            self.stands = self.make()
        finally:
            self.compiled.set()

    def make(self):
        began = time.monotonic()
        name = f"build in {self.directory} ({self.label})"
        say(f"== {name}")
        os.makedirs(self.path(), exist_ok=True)
        log = self.path("build.log")
        good = True
        if not os.path.exists(self.path("build.ninja")):
            good = run(["meson", "setup", self.directory, *self.options], log,
                       {"CC": self.compiler})
        if good:
            good = run(self.prefix(["nice", "ninja", "-C", self.directory, "-j", JOBS]), log)
        seconds = time.monotonic() - began
        with _speaking:
            if good:
                say(f"   {name}: {seconds:.0f} s")
            else:
                show_tail(log)
                self.tally.add(name, 0, 1, 0, seconds, [self.directory])
        return good

    def unit(self, *suites):
        junit, log = self.path("meson-logs", "testlog.junit.xml"), self.path("unit.log")
        chosen = [word for suite in suites for word in ("--suite", suite)]
        self.suite(f"{', '.join(suites)} ({self.label})", junit, log, lambda: run(
            self.prefix(["meson", "test", "-C", self.directory, "--no-rebuild", "--print-errorlogs",
                         "--num-processes", JOBS, "--timeout-multiplier", "10", *chosen]), log))

    def pytest(self, folder, marker=None):
        junit, log = self.path(f"{folder}.junit.xml"), self.path(f"{folder}.log")
        what = [f"tests/{folder}", *(["-m", marker] if marker else [])]
        self.suite(f"{folder}{', ' + marker if marker else ''} ({self.label})", junit, log,
                   lambda: self.run_pytest(what, junit, log), self.second_try)

    def soak(self):
        """The crowd of tests/chaos at its full size. What it checked is said, not only counted."""
        junit, log = self.path("soak.junit.xml"), self.path("soak.log")
        what = ["tests/chaos/test_soak_many.py", "-s"]
        self.suite(f"soak ({self.label})", junit, log,
                   lambda: self.run_pytest(what, junit, log, SOAK) and (show_tail(log) or True))

    def suite(self, name, junit, log, work, again=None):
        """Runs and counts one; with `again`, and failures, it is counted at the very end."""
        say(f"== {name}")
        if os.path.exists(junit):
            os.remove(junit)
        began = time.monotonic()
        good = work()
        seconds = time.monotonic() - began
        if good or again is None:
            self.count(name, junit, log, good, seconds)
            return
        say(f"   {name}: failed ({seconds:.0f} s)")
        self.tally.again.append(
            lambda: self.count(name, junit, log, good, seconds, again(name, junit)))

    def run_pytest(self, what, junit, log, environment=None):
        return run(self.prefix([PYTHON, "-m", "pytest", *what, "-q", "--tb=short", "-rfE",
                                "-p", "no:cacheprovider", f"--junitxml={junit}"]), log,
                   {"SWITCHGEAR": self.path("switchgear"), "PYTHONDONTWRITEBYTECODE": "1",
                    **(environment or {})})

    def second_try(self, name, junit):
        """The few tests that failed on a noisy machine run once more, alone; those marked
        `invariant`, and those during which the proxy itself went wrong, never do. Returns the
        (file, name) of those that passed now: the summary names each, with its first failure."""
        failures = Results(junit).failures
        broken = {f.name for f in failures if not f.is_own}
        chosen = [f for f in failures if f.name not in broken]
        if not chosen or len(failures) > SECOND_TRIES_MAX:
            return []
        say(f"== second try of {len(chosen)} of {name}")
        again = junit.replace(".xml", ".again.xml")
        if os.path.exists(again):
            os.remove(again)
        self.run_pytest([*(f"{f.file}::{f.name}" for f in chosen), "-m", "not invariant"], again,
                        again.replace(".xml", ".log"))
        passed = Results(again).passed
        saved = [f for f in chosen if f.name in passed]
        self.tally.second_tries += [f"({self.label}) {f}" for f in saved]
        return [(f.file, f.name) for f in saved]

    def count(self, name, junit, log, good, seconds, saved=()):
        with _speaking:
            results = Results(junit)
            if not results.finished:
                show_tail(log)
                self.tally.add(name, 0, 1, 0, seconds, ["the suite did not finish"])
                return
            failures = [f for f in results.failures if (f.file, f.name) not in saved]
            if not good and not results.failures:
                failures = ["the runner failed"]
            if failures:
                show_tail(log)
            self.tally.add(name, len(results.passed) + len(saved), len(failures), results.skipped,
                           seconds, failures)
            for reason, count in results.reasons.items():
                say(f"      {count} skipped: {reason}")

    def fuzz(self):
        """Each target for FUZZ_SECONDS, from its corpus; found inputs stay in the build directory."""
        began = time.monotonic()
        say(f"== fuzz, {FUZZ_SECONDS} s a target")
        targets = sorted(path for path in glob.glob(self.path("tests", "fuzz", "*", "fuzz_*"))
                         if os.path.isfile(path) and os.access(path, os.X_OK))
        with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
            results = list(pool.map(self.fuzz_one, targets))
        failures = [os.path.basename(t) for t, good in zip(targets, results) if not good]
        with _speaking:
            for name in failures:
                show_tail(self.path(name + ".log"))
            if not targets:
                failures = ["no fuzz target was built"]
            self.tally.add("fuzz", results.count(True), len(failures), 0,
                           time.monotonic() - began, failures)

    def fuzz_one(self, target):
        name = os.path.basename(target)
        area = os.path.basename(os.path.dirname(target))
        found = self.path("corpus", name)
        os.makedirs(found, exist_ok=True)
        seeds = os.path.join(ROOT, "tests", "fuzz", area, name.replace("fuzz_", "corpus_", 1))
        return run(["nice", target, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10",
                    "-rss_limit_mb=2048", f"-artifact_prefix={self.path(name + '-')}", found,
                    *([seeds] if os.path.isdir(seeds) else [])],
                   self.path(name + ".log"), timeout=FUZZ_SECONDS + 120)


def builds(tally):
    """gcc's, as it is delivered; clang's, whose UBSan sees more than gcc's, for bytes and memory; gcc's
    again for threads."""
    sanitized = ("-Db_lundef=false", "-Dbuildtype=debugoptimized")
    return (
        Build(tally, "build", "gcc", "gcc"),
        Build(tally, "build-sanitized", "ASan and UBSan", "clang", "-Dfuzz=true",
              "-Db_sanitize=address,undefined", "-Dc_args=-fsanitize=fuzzer-no-link", *sanitized),
        Build(tally, "build-tsan", "TSan", "gcc", "-Db_sanitize=thread", *sanitized,
              fixed_layout=True),
    )


def plan(what, gcc, asan, tsan):
    """What is to be done, in the order in which it is begun: builds before what needs them, long
    suites before short ones, so that the lanes end at about the same time."""
    steps = (
        ("all quick soak", gcc.compile),
        ("all", gcc.when_compiled, gcc.pytest, "integration", "not one_session"),
        ("quick", gcc.when_compiled, gcc.pytest, "integration", "core"),
        ("soak", gcc.when_compiled, gcc.soak),
        ("all asan fuzz soak", asan.compile),
        ("all asan", asan.when_compiled, asan.pytest, "integration"),
        ("all tsan", tsan.compile),
        ("all tsan", tsan.when_compiled, tsan.pytest, "integration", "not one_session"),
        ("all asan", asan.when_compiled, asan.pytest, "conformance"),
        ("all", gcc.when_compiled, gcc.pytest, "drivers"),
        ("all asan", asan.when_compiled, asan.pytest, "chaos"),
        ("soak", asan.when_compiled, asan.soak),
        ("all quick", gcc.when_compiled, gcc.unit, "unit", "sim", "purity", "perf", "tidy"),
        ("all asan", asan.when_compiled, asan.unit, "unit", "sim"),
        ("all tsan", tsan.when_compiled, tsan.unit, "unit", "sim"),
        ("all fuzz", asan.when_compiled, asan.fuzz),
    )
    return [step for wanted, *step in steps if what in wanted.split()]


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else "all"
    if what not in ("all", "quick", "asan", "tsan", "fuzz", "soak"):
        print(__doc__, file=sys.stderr)
        return 2
    tally = Tally()
    lanes = 1 if what == "soak" else LANES
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        for done in [pool.submit(*step) for step in plan(what, *builds(tally))]:
            done.result()
    for again in tally.again:
        again()
    return tally.summary()


if __name__ == "__main__":
    sys.exit(main())

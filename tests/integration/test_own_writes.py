# SPDX-License-Identifier: PostgreSQL
"""A session sees what it wrote, in whatever form it wrote it: replicas show a write a second late.

Each form of write_forms.py is tried in each way to send it, in a new session, and read back at once
in four ways. What is right is what the primary says. Each way has a proxy of its own, so that no
text is known from a former try.
"""
import pytest

import write_forms as forms
from client import Direct, said, Session
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from wire import bind, execute, parse, sync

pytestmark = pytest.mark.one_session
DELAY = "1s"
AT_HOME = "/* switchgear: route=primary */ "
LATE = "select count(*) from ow.notes where note = 'late'"


@pytest.fixture(scope="module", name="forms_made")
def make_forms(cluster):
    cluster.primary.psql(forms.SETUP.format(host=cluster.primary.base, port=cluster.primary.port,
                                            password=APP_PASSWORD).replace("{{", "{"), APP_DATABASE)
    cluster.wait_replicated()


@pytest.fixture(name="late")
def proxy_of_late_replicas(cluster, proxy, forms_made):
    p = proxy(switchgear={"auth_type": "trust", "workers": 1},
              database={"user": APP_USER, "password": APP_PASSWORD},
              databases={"uw": {"user": APP_USER, "password": APP_PASSWORD,
                                "transaction_reads": "until_write"}})
    for replica in cluster.replicas:
        replica.set("recovery_min_apply_delay", DELAY)
    session = Session(p.port, APP_DATABASE, APP_USER)
    session.run("set switchgear.consistency = 'eventual'")

    def is_late():
        """The counter-proof: a session that does not ask for its own writes does not see them."""
        session.run("insert into ow.notes (note) values ('late')")
        return session.run(LATE) != session.run(AT_HOME + LATE)

    wait_until(is_late, 10, "replicas are late")
    session.leave()
    return p


class Trial:
    """One form, sent in one way, in a session of its own."""

    def __init__(self, p, direct, form, token):
        self.p, self.direct, self.form = p, direct, form
        self.token = token
        self.problems = []

    def text(self, sql):
        return sql.replace("{t}", self.token)

    def steps(self):
        return [self.text(s) for s in self.form.steps]

    def session(self, database=APP_DATABASE):
        s = Session(self.p.port, database, APP_USER)
        if self.form.read is forms.READ:
            s.send(parse("r", "select count(*) from ow.notes where note = $1"), sync())
            s.answer()
        return s

    def run(self, s, sql, extended=False):
        s.send(s.batch(sql, extended))
        self.note(s.answer(extended, self.token.encode() + b"\n")[1])

    def note(self, error):
        if error and not self.form.fails:
            self.problems.append(said(error))

    def write(self, s, how):
        if how == "string":
            self.run(s, "; ".join(["begin", *self.steps(), "commit"]))
            return
        framed = {"block": (["begin"], ["commit"]),
                  "until_write": (["begin", "select id from ow.rel"], ["commit"])}
        before, after = framed.get(how, ([], []))
        extended = how == "extended"
        for sql in [*before, *self.steps(), *after]:
            self.run(s, sql, extended)

    def pipeline(self, s):
        """All that the form says and the first read, before any answer is looked at."""
        parts = [s.batch(sql, True) for sql in self.steps()]
        s.send(*parts, s.batch(self.text(self.form.read), True))
        for _ in parts:
            self.note(s.answer()[1])
        self.compare("in the pipeline", s.answer())

    def compare(self, how, answer):
        rows, error = answer
        if error:
            self.problems.append(f"read {how}: {said(error)}")
            return
        expected = self.direct.run(self.text(self.form.read))[0]
        if rows != expected:
            self.problems.append(f"stale {how}: {rows}, not {expected}")

    def read(self, s):
        sql = self.text(self.form.read)
        if self.form.read is forms.READ:
            s.send(bind("", "r", [self.token]), execute(), sync())
            self.compare("prepared", s.answer())
        self.compare("simple", s.run(sql))
        self.compare("extended", s.run(sql, True))
        s.run("begin read only")
        self.compare("in a READ ONLY block", s.run(sql))
        s.run("commit")


def fits(form, how):
    if form.steps[-1].endswith("from stdin") and how not in COPY_HOWS:
        return False
    if how in ("block", "string", "until_write"):
        return form.block
    return not (form.raw and how in ("extended", "pipeline"))


COPY_HOWS = ["simple", "extended", "block", "until_write"]  # its data come when the server asks for them
HOWS = ["simple", "extended", "block", "string", "until_write", "pipeline"]


def try_all(p, cluster, how, only=None):
    """{form: problems}"""
    direct = Direct(cluster.primary, APP_DATABASE, APP_USER)
    found = {}
    for number, form in enumerate(forms.FORMS):
        if not fits(form, how) or (only and form.name != only):
            continue
        trial = Trial(p, direct, form, f"{how[:2]}{number}")
        s = trial.session("uw" if how == "until_write" else APP_DATABASE)
        if how == "pipeline":
            trial.pipeline(s)
        else:
            trial.write(s, how)
        trial.read(s)
        s.leave()
        if trial.problems:
            found[form.name] = trial.problems
    direct.leave()
    return found


@pytest.mark.invariant
@pytest.mark.parametrize("how", HOWS)
def test_each_form_of_a_write_is_read_back(cluster, late, how):
    assert try_all(late, cluster, how) == {}

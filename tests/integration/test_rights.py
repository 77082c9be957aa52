# SPDX-License-Identifier: PostgreSQL
"""What others on the machine can read, and what the process may do."""
import os
import signal
import subprocess

import pytest

from cluster import APP_DATABASE, free_port, wait_until
from proxy import (binary_path, child_environment, ini_text, install_binary, is_sanitized,
                   run_binary)


def write(cluster, name, users="", mode=0o600, **switchgear):
    directory = cluster.subdirectory(name)
    sections = {"switchgear": {"listen": f"127.0.0.1:{free_port()}", "http_listen": "",
                               "admin_socket": directory, "auth_file": "users.txt", **switchgear},
                "node p1": {"host": cluster.primary.host, "port": cluster.primary.port},
                f"database {APP_DATABASE}": {}}
    for file, text, rights in (("sg.ini", ini_text(sections), 0o644), ("users.txt", users, mode)):
        path = os.path.join(directory, file)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, rights)
    cluster.give(directory)
    return os.path.join(directory, "sg.ini")


def check(cluster, path, *arguments):
    done = run_binary(cluster, "check", *arguments, path)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mode, users, right", [
    (0o600, '"app" "secret"\n', True), (0o640, '"app" "secret"\n', True),
    (0o644, '"app" "secret"\n', False), (0o602, '"app" "secret"\n', False),
    (0o644, '"app" ""\n', True)])
def test_passwords_that_everybody_may_read_are_refused(cluster, mode, users, right):
    path = write(cluster, "rights", users, mode)
    status, text = check(cluster, path)
    assert (status == 0) == right, text
    assert right or "users.txt: it holds passwords" in text and "chmod" in text
    assert check(cluster, path, "--set", "switchgear.secrets_readable=yes")[0] == 0


@pytest.mark.parametrize("key", ["database.app.password", "probe.password", "node.p1.options"])
def test_a_configuration_with_a_password_is_a_secret_too(cluster, key):
    path = write(cluster, "rights2", '"app" "secret"\n')
    assert check(cluster, path)[0] == 0
    section, name = key.rsplit(".", 1)
    head = f"[{section.replace('.', ' ')}]\n"
    line = "options = password=x\n" if name == "options" else "user = app\npassword = x\n"
    with open(path, encoding="utf-8") as f:
        text = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(head, head + line) if head in text else text + head + line)
    status, said = check(cluster, path)
    assert status == 1 and "sg.ini: it holds passwords" in said, said
    os.chmod(path, 0o600)
    assert check(cluster, path)[0] == 0


def test_nobody_looks_into_the_process(proxy):
    if is_sanitized():
        pytest.skip("leak checkers look into their own process")
    p = proxy()
    with open(f"/proc/{p.process.pid}/limits", encoding="utf-8") as f:
        core = next(line for line in f if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    if os.getuid() == 0:  # the kernel gives what is not dumpable to root
        assert os.stat(f"/proc/{p.process.pid}/environ").st_uid == 0


def test_core_dumps_are_there_for_who_wants_them(proxy):
    if os.getuid() != 0:
        pytest.skip("the owner tells nothing")
    p = proxy(switchgear={"core_dumps": "yes"})
    assert os.stat(f"/proc/{p.process.pid}/environ").st_uid != 0


def serve_as_root(cluster, path, *arguments):
    log = os.path.join(os.path.dirname(path), "log")
    with open(log, "wb") as out:
        process = subprocess.Popen([install_binary(cluster), "serve", *arguments, path],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env=child_environment({}))

    def text():
        with open(log, encoding="utf-8") as f:
            return f.read()
    return process, text


def uids(pid):
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as f:
            found |= {line for line in f if line.startswith(("Uid:", "Gid:"))}
    return {int(uid) for line in found for uid in line.split()[1:]}


@pytest.mark.parametrize("run_as", ["", "nobody"])
def test_root_is_warned_of_or_given_up(cluster, run_as):
    if os.getuid() != 0 or is_sanitized():
        pytest.skip("only root can start it as root")
    path = write(cluster, "root", '"app" "secret"\n', run_as=run_as)
    process, text = serve_as_root(cluster, path)
    try:
        wait_until(lambda: "event=ready" in text(), 15, "it serves")
        assert ("event=runs_as_root" in text()) == (not run_as)
        assert (0 in uids(process.pid)) == (not run_as)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_user_to_become_that_is_not_there_is_no_start(cluster):
    path = write(cluster, "norun", '"app" "secret"\n', run_as="no_such_user_here")
    done = run_binary(cluster, "serve", path)
    assert done.returncode == 3 and "run_as: there is no such user" in done.stdout + done.stderr


def test_the_program_is_built_against_faults_of_memory():
    if is_sanitized():
        pytest.skip("sanitizers look closer")
    told = subprocess.run(["readelf", "-hldnW", "--dyn-syms", binary_path()], text=True, check=True,
                          capture_output=True).stdout
    assert "DYN (Position-Independent Executable" in told
    assert "GNU_RELRO" in told and "BIND_NOW" in told
    assert "__stack_chk_fail" in told and "_chk@" in told  # canaries; checked copies
    assert "SHSTK" in told  # shadow stacks, which is what Linux has of CET

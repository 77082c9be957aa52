# SPDX-License-Identifier: PostgreSQL
"""Fetches PostgreSQL's regression suite: Debian's source package and the headers of the server.

apt runs with lists, caches and a sources.list of its own below the build directory, so nothing
changes on the system and root is not needed. What was fetched stays for the next run.
"""
import glob
import os
import re
import shutil
import subprocess

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = (("http://deb.debian.org/debian", "{name}"),
          ("http://deb.debian.org/debian", "{name}-updates"),
          ("http://deb.debian.org/debian-security", "{name}-security"))


class SourceError(Exception):
    pass


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise SourceError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def os_release():
    with open("/etc/os-release", encoding="utf-8") as f:
        pairs = (line.rstrip("\n").split("=", 1) for line in f if "=" in line)
        return {key: value.strip('"') for key, value in pairs}


class Apt:
    """apt-get and apt-cache with a private configuration that names deb-src."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("etc", "state/lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(directory, name), exist_ok=True)
        release = os_release()
        if release.get("ID") != "debian":
            raise SourceError("the regression suite is fetched from Debian: this is "
                              + release.get("PRETTY_NAME", "something else"))
        self.sources = os.path.join(directory, "etc", "sources.list")
        with open(self.sources, "w", encoding="utf-8") as f:
            for url, suite in SUITES:
                suite = suite.format(name=release["VERSION_CODENAME"])
                for kind in ("deb", "deb-src"):
                    f.write(f"{kind} [signed-by={KEYRING}] {url} {suite} main\n")

    def run(self, program, *arguments, cwd=None):
        values = {"Dir::Etc::sourcelist": self.sources, "Dir::Etc::sourceparts": "/dev/null",
                  "Dir::State": os.path.join(self.directory, "state"),
                  "Dir::Cache": os.path.join(self.directory, "cache"),
                  "Dir::State::status": "/var/lib/dpkg/status", "APT::Sandbox::User": "",
                  "Acquire::Languages": "none", "Acquire::Retries": "2"}
        options = [word for key, value in values.items() for word in ("-o", f"{key}={value}")]
        return run(program, *options, *arguments, cwd=cwd)

    def source_versions(self, package):
        """Newest last, as apt lists them."""
        return re.findall(r"^Version: (.*)$", self.run("apt-cache", "showsrc", package), re.M)


def installed_version(package):
    return run("dpkg-query", "-W", "-f", "${Version}", package).strip()


def fetch_source(apt, package, directory):
    """The source of the installed version, or of the nearest that the archive still has."""
    wanted = installed_version(package)
    versions = apt.source_versions(package)[::-1]
    versions.sort(key=lambda version: version != wanted)
    problems = []
    for version in dict.fromkeys(versions):
        try:
            apt.run("apt-get", "source", "--download-only", f"{package}={version}", cwd=directory)
        except SourceError as problem:
            problems.append(str(problem))
            continue
        upstream = version.split("-")[0]
        return version, glob.glob(os.path.join(directory, f"{package}_{upstream}.orig.tar.*"))[0]
    raise SourceError("no source package could be fetched\n" + "\n".join(problems))


def build_library(source, headers, major, target):
    """regress.so: the C functions that the suite loads."""
    run("gcc", "-O2", "-fPIC", "-shared", "-w",
        "-I" + os.path.join(headers, f"usr/include/postgresql/{major}/server"),
        "-I/usr/include/postgresql", os.path.join(source, "src/test/regress/regress.c"),
        "-o", target)


def build_shim(target):
    """backend_pid.so, for isolationtester behind a proxy."""
    run("gcc", "-O2", "-fPIC", "-shared", "-Wall", "-I/usr/include/postgresql", "-Wl,-z,lazy",
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "backend_pid.c"), "-o", target)


class Suite:
    """version, source (unpacked), library (a directory with regress.so and contrib's), major."""

    def __init__(self, directory, bindir):
        self.major = bindir.split("/")[4]
        self.directory = directory
        self.source = os.path.join(directory, "source")
        self.library = os.path.join(directory, "library")
        self.programs = os.path.join(os.path.dirname(bindir), "lib/pgxs/src/test")
        self.shim = os.path.join(self.library, "backend_pid.so")
        stamp = os.path.join(directory, "version")
        if not os.path.exists(stamp):
            version = self.fetch(bindir)
            with open(stamp, "w", encoding="utf-8") as f:
                f.write(version)
        with open(stamp, encoding="utf-8") as f:
            self.version = f.read()
        build_shim(self.shim)

    def driver(self, kind):
        """Debian has them in the package of the client programs."""
        name = {"regress": "pg_regress", "isolation": "pg_isolation_regress"}[kind]
        path = os.path.join(self.programs, kind, name)
        if not os.access(path, os.X_OK):
            raise SourceError(f"{path} is not there")
        return path

    def tests(self, directory):
        """What the Makefile of a module names in REGRESS."""
        with open(os.path.join(self.source, directory, "Makefile"), encoding="utf-8") as f:
            text = f.read().replace("\\\n", " ")
        words = re.search(r"^REGRESS\s*=(.*)$", text, re.M).group(1).split()
        return [word for word in words if not word.startswith("$")]

    def fetch(self, bindir):
        for name in ("download", "headers", "library"):
            os.makedirs(os.path.join(self.directory, name), exist_ok=True)
        shutil.rmtree(self.source, ignore_errors=True)
        os.makedirs(self.source)
        download = os.path.join(self.directory, "download")
        apt = Apt(os.path.join(self.directory, "apt"))
        apt.run("apt-get", "update")
        version, archive = fetch_source(apt, f"postgresql-{self.major}", download)
        run("tar", "xf", archive, "-C", self.source, "--strip-components=1")
        package = f"postgresql-server-dev-{self.major}"
        server = installed_version(f"postgresql-{self.major}")
        apt.run("apt-get", "download", f"{package}={server}", cwd=download)
        headers = os.path.join(self.directory, "headers")
        found = glob.glob(os.path.join(download, f"{package}_*.deb"))
        run("dpkg-deb", "-x", found[0], headers)
        build_library(self.source, headers, self.major, os.path.join(self.library, "regress.so"))
        for name in ("autoinc.so", "refint.so"):
            link = os.path.join(self.library, name)
            if not os.path.lexists(link):
                os.symlink(os.path.join(os.path.dirname(bindir), "lib", name), link)
        return version

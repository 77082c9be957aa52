#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
#
# Installs the Debian or Ubuntu packages that a task needs: setup.sh [build|test|drivers|bench|check|regress]...
# Does nothing, and asks nobody, when all of them are there.
set -eu

BUILD="gcc libc6-dev make meson ninja-build pkg-config libuv1-dev libpq-dev libssl-dev libck-dev libinih-dev
libpg-query-dev libprotobuf-c-dev re2c libxxhash-dev libmicrohttpd-dev libcjson-dev libidn-dev libcmocka-dev"
TEST="clang openssl python3 python3-pytest python3-psycopg2 python3-psycopg python3-asyncpg postgresql
postgresql-contrib valgrind"
DRIVERS="openssl python3-psycopg2 python3-psycopg python3-asyncpg python3-sqlalchemy python3-django
default-jdk-headless libpostgresql-jdbc-java golang-go golang-github-lib-pq-dev ruby ruby-pg php-cli php-pgsql
perl libdbd-pg-perl odbc-postgresql unixodbc-dev"
CHECK="clang clang-format clang-tidy python3"
REGRESS="gcc libc6-dev libpq-dev postgresql postgresql-contrib python3 python3-psycopg2 bzip2 dpkg"
BENCH="haproxy openssl pgbouncer postgresql postgresql-contrib python3 python3-psycopg2"

# The names that dpkg does not know as installed, in one question.
not_installed()
{
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
        awk -v wanted="$*" '$2 == "installed" { there[$1] = 1 }
            END { n = split(wanted, names); for (i = 1; i <= n; i++) if (!there[names[i]]) print names[i] }'
}

# libFuzzer's library: its package carries clang's major version, which differs from release to release.
has_fuzzer()
{
    command -v clang >/dev/null &&
        [ -n "$(find "$(clang --print-resource-dir)" -name 'libclang_rt.fuzzer*.a' 2>/dev/null | head -n 1)" ]
}

fuzzer_package()
{
    major=$(clang -dumpversion | cut -d. -f1)
    for name in "libclang-rt-$major-dev" "libclang-common-$major-dev"; do
        if apt-cache show "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
}

as_root()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

cannot()
{
    echo "setup: $1; missing:" "$missing" >&2
    echo "setup: install them, for example: apt-get install $missing" >&2
    exit 1
}

# Debian's postgresql package makes and starts a cluster of its own: we want only the programs.
avoid_main_cluster()
{
    conf=/etc/postgresql-common/createcluster.conf
    [ -e "$conf" ] && return
    as_root mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | as_root tee "$conf" >/dev/null
}

install()
{
    command -v apt-get >/dev/null || cannot "no apt-get here"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        cannot "not root, and no sudo here"
    fi
    echo "setup: installing" "$@"
    case " $* " in *" postgresql "*) avoid_main_cluster ;; esac
    as_root apt-get update -q || echo "setup: apt-get update failed; trying with the lists as they are" >&2
    as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
        apt-get install -y -q --no-install-recommends "$@" || cannot "apt-get install failed"
}

# Node comes from elsewhere on many machines: then Debian's would be in its way.
node_packages()
{
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "nodejs npm"
    fi
}

# The drivers of JavaScript, as the lock file has them. Without them the matrix says what is missing.
install_node_modules()
{
    cd "$(dirname "$0")/../tests/drivers"
    cmp -s package-lock.json node_modules/.installed && return
    echo "setup: npm ci in tests/drivers"
    if npm ci --ignore-scripts --no-fund --no-audit; then
        cp package-lock.json node_modules/.installed
    else
        echo "setup: npm ci failed: the drivers of JavaScript will be skipped" >&2
    fi
}

wanted=""
for group in "${@:-build}"; do
    case "$group" in
    build) wanted="$wanted $BUILD" ;;
    test) wanted="$wanted $BUILD $TEST" ;;
    check) wanted="$wanted $BUILD $CHECK" ;;
    drivers) wanted="$wanted $BUILD $DRIVERS $(node_packages)" ;;
    bench) wanted="$wanted $BUILD $BENCH" ;;
    regress) wanted="$wanted $BUILD $REGRESS" ;;
    *)
        echo "usage: setup.sh [build|test|drivers|bench|check|regress]..." >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian system: needs (by Debian's names)" $wanted >&2
    exit 0
fi

# Lists of names are split on purpose.
# shellcheck disable=SC2086
missing=$(not_installed $wanted | sort -u | tr '\n' ' ')
# shellcheck disable=SC2086
[ -z "$missing" ] || install $missing

case " $* " in *" test "*)
    if ! has_fuzzer; then
        missing=$(fuzzer_package)
        [ -n "$missing" ] || cannot "no package of libFuzzer found"
        install "$missing"
    fi
    ;;
esac

case " $* " in *" drivers "*) install_node_modules ;; esac

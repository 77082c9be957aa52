#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
#
# Everything that is checked without running the product: check.sh [format|text|docs|purity|lint]...
# All checks run, also after one has failed; the exit code is 0 when none did.
set -u
cd "$(dirname "$0")/.." || exit 1
export PYTHONDONTWRITEBYTECODE=1
failures=""

step()
{
    name=$1
    shift
    echo "== $name"
    "$@" || failures="$failures $name"
}

c_files()
{
    git ls-files -co --exclude-standard "$@" | while read -r file; do
        [ -f "$file" ] && echo "$file"
    done
}

check_format()
{
    bad=0
    for file in $(c_files '*.c' '*.h'); do
        clang-format --dry-run -Werror "$file" 2>/dev/null || {
            echo "error: $file is not formatted: clang-format -i $file"
            bad=1
        }
    done
    return $bad
}

check_text()
{
    /usr/bin/python3 tests/tidy/text.py && /usr/bin/python3 tests/tidy/counters.py
}

check_docs()
{
    /usr/bin/python3 tests/tidy/docs.py build/switchgear
}

check_purity()
{
    meson test -C build --suite purity --print-errorlogs -q
}

# A clang build directory of its own: gcc's options mean nothing to clang-tidy.
check_lint()
{
    [ -f build-clang/build.ninja ] || CC=clang meson setup build-clang >/dev/null || return 1
    ninja -C build-clang -j 2 >/dev/null || return 1
    c_files '*.c' | grep -v '^tests/' |
        xargs -r -P 2 -n 4 clang-tidy -p build-clang --quiet 2>/dev/null
}

for name in "${@:-all}"; do
    case "$name" in
    all)
        for each in format text docs purity lint; do
            step "$each" "check_$each"
        done
        ;;
    format | text | docs | purity | lint) step "$name" "check_$name" ;;
    *)
        echo "usage: check.sh [format|text|docs|purity|lint]..." >&2
        exit 2
        ;;
    esac
done

[ -z "$failures" ] || {
    echo "failed:$failures"
    exit 1
}
echo "all checks passed"

#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
#
# purity.sh ARCHIVE...: a pure library asks nobody for the time, for bytes, for chance or for memory
# that is not its own. What it may need of others is read off its undefined symbols.
#
# malloc and its family are allowed only where reports, arenas and caches are made (config, router),
# and in the session core, for log-ins, names and blocks: its warm path takes blocks from a list.
set -eu

if [ $# -eq 0 ]; then
    echo "usage: purity.sh ARCHIVE..." >&2
    exit 2
fi

clock='time|times|clock|clock_gettime|clock_nanosleep|gettimeofday|ftime|timespec_get|localtime.*'
clock="$clock|gmtime.*|mktime|strftime|nanosleep|sleep|usleep|alarm|setitimer|timerfd_.*"
chance='rand|rand_r|srand|random|srandom|[delmnj]rand48.*|arc4random.*|getrandom|getentropy'
socket='socket|socketpair|connect|accept|accept4|bind|listen|send|sendto|sendmsg|recv|recvfrom'
socket="$socket|recvmsg|shutdown|getaddrinfo|gethostby.*|getnameinfo|setsockopt|getsockopt"
socket="$socket|poll|ppoll|select|pselect|epoll_.*|eventfd.*|pipe|pipe2"
file='open|open64|openat.*|creat|close|read|write|readv|writev|pread.*|pwrite.*|lseek.*|f?stat(64)?|fstatat.*'
file="$file|lstat(64)?|unlink.*|rename.*|mkdir.*|rmdir|opendir|readdir.*|fcntl.*|ioctl|mmap.*|munmap"
stdio='fopen.*|fdopen|freopen.*|fclose|fread.*|fwrite.*|fgets.*|fgetc|getc|getchar|getline|getdelim'
stdio="$stdio|printf|vprintf|fprintf|vfprintf|dprintf|__v?f?d?printf_chk|puts|fputs.*|putc.*"
stdio="$stdio|fputc|putchar|perror|fflush|scanf|fscanf|syslog|vsyslog|openlog|stdin|stdout|stderr"
process='getenv|secure_getenv|setenv|putenv|unsetenv|environ|system|popen|fork|vfork|exec[lv]p?e?|exit'
process="$process|_exit|quick_exit|kill|raise|signal|sigaction|getpid|getppid|gettid|getuid|geteuid"
process="$process|dlopen|dlsym|syscall|setlocale"
thread='pthread_.*|thrd_.*|mtx_.*|cnd_.*|sem_.*'
library='uv_.*|SSL_.*|BIO_.*|EVP_.*|RAND_.*|HMAC.*|PQ.*|ck_.*|MHD_.*|cJSON_.*|json_.*'
banned='strcpy|strcat|sprintf|vsprintf|strtok|atoi|gets|alloca|strerror'
memory='malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|vasprintf|aligned_alloc'
memory="$memory|posix_memalign|open_memstream"

impure="$clock|$chance|$socket|$file|$stdio|$process|$thread|$library|$banned"
failed=0
for archive in "$@"; do
    forbidden=$impure
    case ${archive##*/} in
    libconfig.a | librouter.a | libcore.a) ;;
    *) forbidden="$impure|$memory" ;;
    esac
    # Versions (read@GLIBC_2.2.5) go; a fortified memcpy is a memcpy; sanitizers' own symbols are
    # none of those above. LTO objects are opaque to nm: then say so instead of passing.
    symbols=$(nm -u "$archive" 2>/dev/null | awk '$1 == "U" { sub(/@.*/, "", $2); print $2 }' | sort -u)
    if [ -z "$symbols" ]; then
        echo "$archive: no undefined symbols can be read from it" >&2
        failed=1
        continue
    fi
    # A symbol that another object of the same archive defines is the library's own.
    own=$(nm --defined-only "$archive" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
    found=$(printf '%s\n' "$symbols" | grep -E -x "$forbidden" | grep -F -x -v "$own" || true)
    if [ -n "$found" ]; then
        echo "$archive is not pure:" >&2
        nm -u -A "$archive" 2>/dev/null | awk -v list="$found" '
            BEGIN { n = split(list, a, "\n"); for (i = 1; i <= n; i++) bad[a[i]] = 1 }
            { name = $NF; sub(/@.*/, "", name); if (name in bad) print "    " $1 " " name }' >&2
        failed=1
    fi
    # No mutable globals either. .data.rel.ro is constant once relocated; sanitizers move constants
    # with their descriptors to .data: then this cannot be told.
    data=
    if ! printf '%s\n' "$symbols" | grep -q -E '^__(asan|ubsan|tsan|sanitizer|llvm|gcov)'; then
        data=$(nm -f sysv --defined-only "$archive" 2>/dev/null | awk -F'|' '
            $7 ~ /^ *\.(data|bss|tdata|tbss)/ && $7 !~ /\.data\.rel\.ro/ { print "    " $1 }')
    fi
    if [ -n "$data" ]; then
        printf '%s has globals that can be written:\n%s\n' "$archive" "$data" >&2
        failed=1
    fi
done
exit $failed

/* SPDX-License-Identifier: PostgreSQL */
/*
 * drive: what the C programs of the driver matrix share: one line of JSON a feature, and a check
 * that leaves the feature at once. One thread; a feature that fails may leak, the program is short.
 */
#ifndef DRIVE_H
#define DRIVE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DRIVE_BIG = 4 * 1024 * 1024, /* bytes of a large value */
    DRIVE_READS = 40,            /* reads that are watched for where they run */
    DRIVE_WRITES = 100,          /* writes that are read back at once */
    DRIVE_TIMES = 30,            /* executions of a prepared statement */
};

static jmp_buf drive_failed;
static char drive_detail[1000];

static inline void drive_report(const char *feature, const char *ok, const char *detail)
{
    printf("{\"feature\": \"%s\", \"ok\": %s, \"detail\": \"", feature, ok);
    for (const char *c = detail; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            putchar('\\');
        putchar((unsigned char)*c < ' ' ? ' ' : *c);
    }
    printf("\"}\n");
    fflush(stdout);
}

/* Ends the feature that runs with a reason. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(drive_detail, sizeof(drive_detail), format, arguments);
    va_end(arguments);
    longjmp(drive_failed, 1);
}

static inline void drive_feature(const char *feature, void (*run)(void))
{
    drive_detail[0] = '\0';
    if (setjmp(drive_failed) == 0) {
        run();
        drive_report(feature, "true", drive_detail);
    } else {
        drive_report(feature, "false", drive_detail);
    }
}

static inline const char *drive_setting(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }
    return value;
}

#endif

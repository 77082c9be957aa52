/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_command: the text of the admin console's commands, read.
 *
 * Pure: no I/O, no allocation; any thread. What a command does is proxy_admin_run.c.
 * Reference: docs/reference/admin-console.md.
 */
#ifndef PROXY_ADMIN_COMMAND_H
#define PROXY_ADMIN_COMMAND_H

#include "breaker.h"
#include "proto_frame.h"
#include "router_decide.h"

enum { ADMIN_NAME_SIZE = 64, ADMIN_VALUE_SIZE = 256, ADMIN_PROBLEM_SIZE = 160 };

enum admin_verb {
    ADMIN_SHOW,        /* name: what, in upper case */
    ADMIN_BREAKER,     /* name: node; override */
    ADMIN_DRAIN,       /* name: node */
    ADMIN_UNDRAIN,     /* name: node */
    ADMIN_FORGET,      /* name: shard */
    ADMIN_READS,       /* name: database; reads */
    ADMIN_PAUSE,       /* name: database, "" for all */
    ADMIN_RESUME,      /* the same */
    ADMIN_RECONNECT,   /* the same */
    ADMIN_KILL,        /* the same */
    ADMIN_WAIT_CLOSE,  /* the same */
    ADMIN_DISABLE,     /* name: database */
    ADMIN_ENABLE,      /* the same */
    ADMIN_KILL_CLIENT, /* name: its number */
    ADMIN_RELOAD,
    ADMIN_SHUTDOWN,      /* shutdown */
    ADMIN_EXPLAIN_ROUTE, /* name: database; statement */
    ADMIN_SELECT,        /* of one number, as drivers do to see whether we live; name: the number */
    ADMIN_NOTHING,       /* what drivers send by themselves; name: the command tag */
    ADMIN_BEGIN,         /* the same; a block begins */
    ADMIN_END,           /* the same; a block ends */
    ADMIN_SET,           /* name: the option; value */
    ADMIN_LATER,         /* a command of PgBouncer's or ours that is not there; name: its word */
    ADMIN_BAD,           /* problem */
};

/* As supervisor_shutdown() counts them. */
enum admin_shutdown {
    ADMIN_SHUTDOWN_SERVERS, /* when transactions have ended */
    ADMIN_SHUTDOWN_NOW,
    ADMIN_SHUTDOWN_CLIENTS, /* when all clients have left by themselves */
};

struct admin_command {
    enum admin_verb verb;
    enum breaker_override override;
    enum router_reads reads;
    enum admin_shutdown shutdown;
    const char *tag; /* PAUSE to KILL_CLIENT */
    char name[ADMIN_NAME_SIZE];
    char value[ADMIN_VALUE_SIZE];
    struct proto_span statement; /* borrowed from the text */
    char problem[ADMIN_PROBLEM_SIZE];
};

/*
 * Takes the first command, with its semicolon, off *text. False: nothing but blanks, comments and
 * semicolons is left. What cannot be understood is ADMIN_BAD.
 */
bool admin_command_next(struct proto_span *text, struct admin_command *ret);

/* True when stats_users may not run it. */
bool admin_command_is_privileged(enum admin_verb verb);

#endif

/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_ask: what servers are asked about users who log in, and what they said, remembered for
 * some seconds; each worker for itself. What is asked, and what an answer means, is the caller's:
 * secrets in proxy_auth_query.c, roles in proxy_auth_roles.c.
 */
#ifndef PROXY_AUTH_ASK_H
#define PROXY_AUTH_ASK_H

#include "proxy_ask_link.h"
#include "proxy_auth_internal.h"

/* What was said of a user; owned, and wiped when it is freed. text NULL: there is no such user. */
struct auth_words {
    char *text;
    size_t size;
};
void auth_words_free(struct auth_words *words);

struct auth_kind {
    const char *event;           /* of the log, when it cannot be asked */
    const char *hint;            /* ... for the client */
    bool no_database_is_no_user; /* a database that is not there looks like a user who is not */
    /* Fills *ret. False: this is no answer. *ret_wrong: for the log, or NULL. */
    bool (*take)(struct worker *w, const char *user, const PGresult *result, struct auth_words *ret,
                 const char **ret_wrong);
    /* To each who waits; `refusal`: it could not be asked. May free the auth. */
    void (*told)(struct auth *a, const struct auth_words *said, const struct auth_refusal *refusal,
                 bool from_cache, uint64_t now_ns);
};

struct auth_question {
    const struct auth_kind *kind;
    const char *query;    /* of one parameter, the user; lives as long as every worker */
    struct ask_target to; /* its node is chosen as it is asked: the shard's primary first */
    uint8_t shard;
    uint32_t database; /* in whose section it is asked */
};

/* told() comes, perhaps at once. */
void auth_ask_start(struct auth *a, const struct auth_question *question, uint64_t now_ns);
/* It does not come any more. */
void auth_ask_forget(struct auth *a);
/*
 * What was said may have changed since. An answer and "there is none" are remembered alike from
 * here on: what was asked for by this log-in for as long as "there is none", what was remembered no
 * longer.
 */
void auth_ask_distrust(struct auth *a, const struct auth_question *question, bool from_cache);

#endif

/* SPDX-License-Identifier: PostgreSQL
 *
 * core_login: what is only needed until a client's first ReadyForQuery. Lives on the heap so that
 * an idle client does not carry it. The session owns it.
 */
#ifndef CORE_LOGIN_H
#define CORE_LOGIN_H

#include "core.h"

enum { CORE_OPTIONS_SIZE_MAX = 8192, CORE_LOGIN_TEXT_MAX = 256 };

struct core_login {
    char user[CORE_LOGIN_TEXT_MAX];
    char database[CORE_LOGIN_TEXT_MAX];
    char application[CORE_LOGIN_TEXT_MAX];
    struct core_settings *start;         /* of the start-up packet; one reference */
    char options[CORE_OPTIONS_SIZE_MAX]; /* of a replication connection */
    uint32_t options_size;
    char refusal[200]; /* what the client was told when it was not let in; "" */
    bool settings_failed;
    bool ssl_asked, gss_asked;
    bool proven;
    uint8_t minor;       /* of the protocol that is spoken */
    uint32_t cancel_pid; /* of a cancel request */
    uint32_t cancel_key_size;
    uint8_t cancel_key[PROTO_CANCEL_KEY_SIZE_MAX];
    enum core_auth auth;
    char *secret;   /* owned; NULL: no such user */
    char *password; /* owned: sent in clear text, and right */
    uint8_t md5_salt[4];
    uint8_t random[PROTO_SCRAM_NONCE_SIZE];
    bool mechanism_chosen; /* the client's first words of SCRAM come by themselves */
    struct proto_scram scram;
    struct core_block *overlay;   /* ParameterStatus messages that the settings caused */
    struct core_session *session; /* for the callback of proto_options_split() */
};

/* ---- core_startup.c ---- */

/* FATAL and close; what the client sent is forgotten. */
void core_login_refuse(struct core_session *s, const char *sqlstate, const char *message,
                       const char *hint, struct core_actions *a);
/* Takes one packet from session->hold. True: look at the bytes again. */
bool core_login_startup(struct core_session *s, struct core_actions *a);

#endif

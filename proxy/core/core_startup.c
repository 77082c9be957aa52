/* SPDX-License-Identifier: PostgreSQL
 *
 * core_startup: a client's first packets. Requests for encryption, for a cancel, and the start-up
 * packet with its settings.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "core_internal.h"
#include "core_login.h"
#include "core_settings.h"

/* ---- settings ---- */

static void settings_add(struct core_login *l, const char *name, const char *value)
{
    char lower[CORE_LOGIN_TEXT_MAX];
    char text[CORE_SETTING_TEXT_MAX];
    if (!core_fold(core_span(name), lower, sizeof(lower))) {
        l->settings_failed = true;
        return;
    }
    struct core_setting one;
    struct core_settings *next = core_setting_make(lower, value, text, &one)
                                     ? core_settings_with(l->session->worker, l->start, &one, true)
                                     : NULL;
    if (next == NULL) {
        l->settings_failed = true;
        return;
    }
    core_settings_release(l->session->worker, l->start);
    l->start = next;
}

static void options_add(struct core_login *l, const char *text)
{
    const size_t size = strlen(text);
    if (l->options_size + size + 1 > sizeof(l->options)) {
        l->settings_failed = true;
        return;
    }
    memcpy(l->options + l->options_size, text, size + 1);
    l->options_size += (uint32_t)size;
}

/* As in libpq's `options`: this connection is made for its client alone. */
static void option_add(struct core_login *l, const char *name, const char *value)
{
    char piece[3] = {'\\'};
    options_add(l, "-c ");
    options_add(l, name);
    options_add(l, "=");
    for (const char *c = value; *c != '\0'; c++) {
        piece[1] = *c;
        options_add(l, strchr(" \t\n\v\f\r\\", *c) != NULL ? piece : piece + 1);
    }
    options_add(l, " ");
}

static void on_setting(void *arg, const char *name, const char *value)
{
    struct core_login *l = arg;
    struct core_session *s = l->session;
    enum router_level level;
    if (strncasecmp(name, "switchgear.", 11) == 0) {
        if (strcasecmp(name + 11, "consistency") == 0 && router_level_parse(value, &level)) {
            s->level = (uint8_t)level;
            s->level_given = true;
        } else if (strcasecmp(name + 11, "route") == 0 && strcmp(value, "primary") == 0) {
            s->route = ROUTER_ROUTE_PRIMARY;
        } else if (strcasecmp(name + 11, "route") == 0 && strcmp(value, "replica") == 0) {
            s->route = ROUTER_ROUTE_REPLICA;
        } else if (strcasecmp(name + 11, "route") != 0 || strcmp(value, "auto") != 0) {
            l->settings_failed = true;
        }
        return;
    }
    if (strcasecmp(name, "application_name") == 0)
        (void)snprintf(l->application, sizeof(l->application), "%s", value);
    if (s->replication != CORE_REPLICATION_NONE) {
        option_add(l, name, value);
        return;
    }
    settings_add(l, name, value);
}

/* ---- the first packet ---- */

void core_login_refuse(struct core_session *s, const char *sqlstate, const char *message,
                       const char *hint, struct core_actions *a)
{
    core_block_give(s->worker, &s->hold);
    core_fatal(s, sqlstate, message, hint, a);
}

static void negotiate(struct core_session *s, const struct proto_startup *p, struct core_actions *a)
{
    struct proto_span unknown[PROTO_STARTUP_PARAMETERS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < p->parameters_count; i++)
        if (p->parameters[i].name.size >= 5 && memcmp(p->parameters[i].name.base, "_pq_.", 5) == 0)
            unknown[count++] = p->parameters[i].name;
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_negotiate(&w, s->login->minor, unknown, count);
    core_sink_commit(&a->client, &w);
}

static void copy_text(struct proto_span from, char *to, size_t to_size)
{
    const size_t size = from.size < to_size - 1 ? from.size : to_size - 1;
    if (size > 0)
        memcpy(to, from.base, size);
    to[size] = '\0';
}

/* False: refused, in the words of a server. */
static bool take_options(struct core_session *s, const struct proto_startup *p,
                         struct core_actions *a)
{
    char message[256];
    const struct proto_span options = proto_startup_find(p, "options");
    if (options.base == NULL)
        return true;
    char buf[8192] = {0};
    switch (proto_options_split(options, buf, sizeof(buf), on_setting, s->login)) {
    case PROTO_OK:
        return true;
    case PROTO_EUNSUPPORTED:
        (void)snprintf(message, sizeof(message),
                       "invalid command-line argument for server process: %.200s", buf);
        core_login_refuse(s, "42601", message, "Try \"postgres --help\" for more information.", a);
        return false;
    case PROTO_EMALFORMED:
        (void)snprintf(message, sizeof(message), "-c %.200s requires a value", buf);
        core_login_refuse(s, "42601", message, NULL, a);
        return false;
    case PROTO_ETOOBIG:
    case PROTO_MORE:
    case PROTO_EBADLEN:
        break;
    }
    s->login->settings_failed = true;
    return true;
}

static void take_parameters(struct core_session *s, const struct proto_startup *p)
{
    struct core_login *l = s->login;
    char name[CORE_LOGIN_TEXT_MAX];
    char value[4096];
    for (uint32_t i = 0; i < p->parameters_count; i++) {
        const struct proto_span key = p->parameters[i].name;
        const struct proto_span text = p->parameters[i].value;
        bool last = true; /* the last duplicate wins */
        for (uint32_t j = i + 1; j < p->parameters_count && last; j++)
            last = p->parameters[j].name.size != key.size ||
                   memcmp(p->parameters[j].name.base, key.base, key.size) != 0;
        if (!last || core_text_equal(key, "user") || core_text_equal(key, "database") ||
            core_text_equal(key, "replication") ||
            (key.size >= 5 && memcmp(key.base, "_pq_.", 5) == 0))
            continue;
        if (text.size >= sizeof(value) || key.size >= sizeof(name)) {
            l->settings_failed = true;
            continue;
        }
        if (core_text_equal(key, "options"))
            continue; /* they came first */
        copy_text(key, name, sizeof(name));
        copy_text(text, value, sizeof(value));
        on_setting(l, name, value);
    }
}

static void on_session_packet(struct core_session *s, const struct proto_startup *p,
                              struct core_actions *a)
{
    struct core_login *l = s->login;
    const struct proto_span user = proto_startup_find(p, "user");
    const struct proto_span database = proto_startup_find(p, "database");
    const struct proto_span replication = proto_startup_find(p, "replication");
    if (s->tls == CORE_TLS_REQUIRED) {
        core_login_refuse(s, "28000", "this proxy takes connections over TLS only",
                          "Connect with sslmode=require, or one of the stricter modes.", a);
        return;
    }
    if (user.base == NULL || user.size == 0) {
        core_login_refuse(s, "28000", "no PostgreSQL user name specified in startup packet", NULL,
                          a);
        return;
    }
    if (user.size >= sizeof(l->user) || database.size >= sizeof(l->database)) {
        core_login_refuse(s, "08P01", "the user or database name of the startup packet is too long",
                          NULL, a);
        return;
    }
    copy_text(user, l->user, sizeof(l->user));
    copy_text(database.size > 0 ? database : user, l->database, sizeof(l->database));
    enum core_replication wanted;
    if (!core_replication_read(replication, &wanted)) {
        char message[128];
        (void)snprintf(message, sizeof(message),
                       "invalid value for parameter \"replication\": \"%.*s\"",
                       (int)replication.size, (const char *)replication.base);
        core_login_refuse(s, "22023", message,
                          "Valid values are: \"false\", 0, \"true\", 1, \"database\".", a);
        return;
    }
    s->replication = (uint8_t)wanted;
    if (!take_options(s, p, a))
        return;
    take_parameters(s, p);
    if (l->settings_failed) {
        core_login_refuse(
            s, "22023", "invalid setting in the startup packet",
            "Look at the parameter \"options\"; switchgear.consistency and switchgear.route "
            "are the settings of switchgear that it may hold.",
            a);
        return;
    }
    l->minor =
        (uint8_t)(p->version_minor < CORE_PROTOCOL_MINOR ? p->version_minor : CORE_PROTOCOL_MINOR);
    s->cancel_key_size = l->minor >= 2 ? CORE_CANCEL_KEY_SIZE_MAX : CORE_CANCEL_KEY_SIZE;
    if (p->version_minor > CORE_PROTOCOL_MINOR || p->unknown_options_count > 0)
        negotiate(s, p, a);
    s->phase = CORE_USER;
    core_block_consume(s->worker, &s->hold, p->packet_size);
    a->login_want_user = true;
}

static void unsupported(struct core_session *s, struct core_actions *a)
{
    char message[96];
    const uint32_t version = proto_load_u32(core_block_span(s->hold).base + 4);
    (void)snprintf(message, sizeof(message),
                   "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0", version >> 16,
                   version & 0xffff);
    core_login_refuse(s, "0A000", message, NULL, a);
}

/* Each request at most once, and none inside TLS. */
static bool on_encryption_request(struct core_session *s, const struct proto_startup *p,
                                  struct core_actions *a)
{
    bool *asked = p->kind == PROTO_STARTUP_SSL ? &s->login->ssl_asked : &s->login->gss_asked;
    if (*asked || s->tls == CORE_TLS_ON) {
        unsupported(s, a);
        return false;
    }
    *asked = true;
    core_block_consume(s->worker, &s->hold, p->packet_size);
    if (s->hold != NULL) { /* somebody may have put it there before an encryption began */
        core_login_refuse(s, "08P01",
                          p->kind == PROTO_STARTUP_SSL
                              ? "received unencrypted data after SSL request"
                              : "received unencrypted data after GSSAPI encryption request",
                          NULL, a);
        return false;
    }
    static const uint8_t answers[2] = {'N', 'S'};
    a->start_tls = p->kind == PROTO_STARTUP_SSL && s->tls != CORE_TLS_NONE;
    core_sink_borrow(&a->client, (struct proto_span){.base = &answers[a->start_tls], .size = 1});
    if (!a->start_tls)
        return true;
    s->tls = CORE_TLS_ON;
    return false;
}

/* As PostgreSQL does it where a length cannot be: node-postgres, for one, sends a Terminate when it
 * is ended before it has begun, and expects no answer. */
static void end_wordlessly(struct core_session *s, struct core_actions *a)
{
    core_block_give(s->worker, &s->hold);
    s->phase = CORE_DOOMED;
    a->login_failed = true;
    (void)snprintf(a->login_sqlstate, sizeof(a->login_sqlstate), "08P01");
    a->close_client = CORE_CLOSE_AFTER_FLUSH;
}

bool core_login_startup(struct core_session *s, struct core_actions *a)
{
    struct proto_startup packet;
    if (s->login == NULL) {
        s->login = calloc(1, sizeof(*s->login));
        if (s->login == NULL)
            abort();
        s->login->session = s;
        s->login->start = core_settings_none(s->worker);
    }
    switch (proto_startup_read(core_block_span(s->hold), &packet)) {
    case PROTO_OK:
        break;
    case PROTO_MORE:
        return false;
    case PROTO_EUNSUPPORTED:
        unsupported(s, a);
        return false;
    case PROTO_EBADLEN:
    case PROTO_ETOOBIG:
        end_wordlessly(s, a);
        return false;
    case PROTO_EMALFORMED:
        if (proto_startup_is_cancel(core_block_span(s->hold))) {
            s->phase = CORE_DOOMED; /* never an answer to one of these */
            a->close_client = CORE_CLOSE_NOW;
            return false;
        }
        core_login_refuse(
            s, "08P01", "invalid startup packet layout: expected terminator as last byte", NULL, a);
        return false;
    }
    switch (packet.kind) {
    case PROTO_STARTUP_SSL:
    case PROTO_STARTUP_GSSENC:
        return on_encryption_request(s, &packet, a);
    case PROTO_STARTUP_CANCEL:
        s->login->cancel_pid = packet.cancel_pid;
        s->login->cancel_key_size = (uint32_t)packet.cancel_key.size;
        memcpy(s->login->cancel_key, packet.cancel_key.base, packet.cancel_key.size);
        s->phase = CORE_DOOMED;
        a->cancel_request = true;
        return false;
    case PROTO_STARTUP_SESSION:
        on_session_packet(s, &packet, a);
        return false;
    }
    return false;
}

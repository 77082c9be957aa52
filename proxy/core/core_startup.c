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

/* ---- settings ---- */

bool core_text_equal(struct proto_span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.base, text, span.size) == 0;
}

static void settings_add(struct core_login *l, const char *text)
{
    const size_t size = strlen(text);
    if (l->settings_size + size + 1 > sizeof(l->settings)) {
        l->settings_failed = true;
        return;
    }
    memcpy(l->settings + l->settings_size, text, size + 1);
    l->settings_size += (uint32_t)size;
}

static void settings_add_literal(struct core_login *l, const char *text)
{
    char piece[2] = {0};
    settings_add(l, "E'");
    for (const char *c = text; *c != '\0'; c++) {
        piece[0] = *c;
        settings_add(l, piece);
        if (*c == '\'' || *c == '\\')
            settings_add(l, piece); /* doubled */
    }
    settings_add(l, "'");
}

/* Text encodings in which a byte of a character may look like a quote or a backslash. */
static bool encoding_is_unsafe(const char *value)
{
    static const char *const unsafe[] = {"SJIS",    "MSKANJI", "SHIFTJIS", "WIN932", "WINDOWS932",
                                         "SHIFT",   "BIG5",    "WIN950",   "GBK",    "WIN936",
                                         "WINDOWS", "GB18030", "UHC",      "WIN949", "JOHAB",
                                         "SHIFT_J", "SHIFTJ"};
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        if (strncasecmp(value, unsafe[i], strlen(unsafe[i])) == 0)
            return true;
    return false;
}

static bool is_on(const char *value)
{
    return strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 ||
           strcasecmp(value, "yes") == 0 || strcmp(value, "1") == 0;
}

/* Settings that change how statements have to be routed. */
static void settings_note(struct core_session *s, const char *name, const char *value)
{
    if (strcasecmp(name, "default_transaction_read_only") == 0)
        s->default_read_only = is_on(value);
    const bool primary_only =
        (strcasecmp(name, "default_transaction_isolation") == 0 &&
         strcasecmp(value, "serializable") == 0) ||
        (strcasecmp(name, "standard_conforming_strings") == 0 && !is_on(value)) ||
        (strcasecmp(name, "client_encoding") == 0 && encoding_is_unsafe(value));
    if (primary_only) {
        s->route = ROUTER_ROUTE_PRIMARY;
        s->route_fixed = true;
    }
}

/* As in libpq's `options`: this connection is made for its client alone. */
static void option_add(struct core_login *l, const char *name, const char *value)
{
    char piece[3] = {0};
    settings_add(l, "-c ");
    settings_add(l, name);
    settings_add(l, "=");
    for (const char *c = value; *c != '\0'; c++) {
        const bool plain = strchr(" \t\n\v\f\r\\", *c) == NULL;
        piece[0] = plain ? *c : '\\';
        piece[1] = plain ? '\0' : *c;
        settings_add(l, piece);
    }
    settings_add(l, " ");
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
            s->route = s->route_fixed ? ROUTER_ROUTE_PRIMARY : ROUTER_ROUTE_REPLICA;
        } else if (strcasecmp(name + 11, "route") != 0 || strcmp(value, "auto") != 0) {
            l->settings_failed = true;
        }
        return;
    }
    settings_note(s, name, value);
    if (strcasecmp(name, "application_name") == 0)
        (void)snprintf(l->application, sizeof(l->application), "%s", value);
    if (s->replication != CORE_REPLICATION_NONE) {
        option_add(l, name, value);
        return;
    }
    settings_add(l, l->settings_size == 0 ? "RESET ALL;SELECT pg_catalog.set_config("
                                          : ",pg_catalog.set_config(");
    settings_add_literal(l, name);
    settings_add(l, ",");
    settings_add_literal(l, value);
    settings_add(l, ",false)");
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

static void take_parameters(struct core_session *s, const struct proto_startup *p)
{
    struct core_login *l = s->login;
    char name[CORE_LOGIN_TEXT_MAX];
    char value[4096];
    char buf[8192];
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
        if (core_text_equal(key, "options")) {
            if (proto_options_split(text, buf, sizeof(buf), on_setting, l) != PROTO_OK)
                l->settings_failed = true;
            continue;
        }
        copy_text(key, name, sizeof(name));
        copy_text(text, value, sizeof(value));
        on_setting(l, name, value);
    }
    if (l->settings_size > 0)
        settings_add(l, "");
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

/* Each request at most once, and none inside TLS. */
static bool on_encryption_request(struct core_session *s, const struct proto_startup *p,
                                  struct core_actions *a)
{
    bool *asked = p->kind == PROTO_STARTUP_SSL ? &s->login->ssl_asked : &s->login->gss_asked;
    if (*asked || s->tls == CORE_TLS_ON) {
        core_login_refuse(s, "08P01", "an encryption request was repeated, or came inside TLS",
                          NULL, a);
        return false;
    }
    *asked = true;
    core_block_consume(s->worker, &s->hold, p->packet_size);
    if (s->hold != NULL) { /* somebody may have put it there before an encryption began */
        core_login_refuse(s, "08P01", "received unencrypted data after an encryption request", NULL,
                          a);
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

static void unsupported(struct core_session *s, struct core_actions *a)
{
    char message[96];
    const uint32_t version = proto_load_u32(core_block_span(s->hold).base + 4);
    (void)snprintf(message, sizeof(message),
                   "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0", version >> 16,
                   version & 0xffff);
    core_login_refuse(s, "0A000", message, NULL, a);
}

bool core_login_startup(struct core_session *s, struct core_actions *a)
{
    struct proto_startup packet;
    if (s->login == NULL) {
        s->login = calloc(1, sizeof(*s->login));
        if (s->login == NULL)
            abort();
        s->login->session = s;
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
        core_login_refuse(s, "08P01", "invalid length of startup packet", NULL, a);
        return false;
    case PROTO_EMALFORMED:
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

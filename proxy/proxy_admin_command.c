/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_command: words of one command in, a struct out. One reader a verb.
 */
#include "proxy_admin_command.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

enum { WORDS_MAX = 8 };

enum token_kind {
    TOKEN_END,
    TOKEN_SEMICOLON,
    TOKEN_WORD,
    TOKEN_QUOTED, /* "name" or 'text', the quotes taken off */
    TOKEN_SYMBOL,
    TOKEN_UNTERMINATED,
};

struct token {
    enum token_kind kind;
    const char *begin; /* in the text, quotes included */
    const char *end;
};

struct words {
    struct token tokens[WORDS_MAX];
    uint32_t count; /* of all of them, those that did not fit included */
    const char *end;
};

/* ---- tokens ---- */

static bool is_word(unsigned char c)
{
    return isalnum(c) || c >= 0x80 || (c != 0 && strchr("_.-$*:/%", c) != NULL);
}

static bool starts(const char *p, const char *end, const char *two)
{
    return end - p >= 2 && p[0] == two[0] && p[1] == two[1];
}

static const char *skip_comment(const char *p, const char *end)
{
    if (starts(p, end, "--")) {
        while (p < end && *p != '\n')
            p++;
        return p;
    }
    int depth = 0; /* PostgreSQL's comments nest */
    do {
        const bool opens = starts(p, end, "/*");
        const bool closes = starts(p, end, "*/");
        depth += (opens ? 1 : 0) - (closes ? 1 : 0);
        p += opens || closes ? 2 : 1;
    } while (p < end && depth > 0);
    return p;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end) {
        if (isspace((unsigned char)*p))
            p++;
        else if (starts(p, end, "--") || starts(p, end, "/*"))
            p = skip_comment(p, end);
        else
            break;
    }
    return p;
}

static struct token quoted(const char *p, const char *end)
{
    struct token t = {.kind = TOKEN_UNTERMINATED, .begin = p, .end = end};
    for (const char *q = p + 1; q < end; q++) {
        if (*q != *p)
            continue;
        if (q + 1 < end && q[1] == *p) {
            q++; /* doubled: one of it */
            continue;
        }
        t.kind = TOKEN_QUOTED;
        t.end = q + 1;
        break;
    }
    return t;
}

static struct token token_next(const char *p, const char *end)
{
    p = skip_blanks(p, end);
    struct token t = {.kind = TOKEN_END, .begin = p, .end = p};
    if (p == end)
        return t;
    if (*p == '"' || *p == '\'')
        return quoted(p, end);
    if (!is_word((unsigned char)*p)) {
        t.kind = *p == ';' ? TOKEN_SEMICOLON : TOKEN_SYMBOL;
        t.end = p + 1;
        return t;
    }
    t.kind = TOKEN_WORD;
    while (t.end < end && is_word((unsigned char)*t.end) && !starts(t.end, end, "--") &&
           !starts(t.end, end, "/*"))
        t.end++;
    return t;
}

static bool is(const struct words *w, uint32_t index, const char *word)
{
    if (index >= w->count || index >= WORDS_MAX || w->tokens[index].kind != TOKEN_WORD)
        return false;
    const struct token *t = &w->tokens[index];
    const size_t size = (size_t)(t->end - t->begin);
    return strlen(word) == size && strncasecmp(t->begin, word, size) == 0;
}

static bool is_any(const struct words *w, uint32_t index, const char *const *words)
{
    while (*words != NULL && !is(w, index, *words))
        words++;
    return *words != NULL;
}

/* A token's text without quotes. False: absent, no name, or too long. */
static bool copy_sized(const struct words *w, uint32_t index, char *ret, size_t ret_size)
{
    if (index >= w->count || index >= WORDS_MAX)
        return false;
    const struct token *t = &w->tokens[index];
    if (t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED)
        return false;
    const bool quotes = t->kind == TOKEN_QUOTED;
    size_t size = 0;
    for (const char *p = t->begin + quotes; p < t->end - quotes; p++) {
        if (size == ret_size - 1)
            return false;
        ret[size++] = *p;
        if (quotes && *p == *t->begin)
            p++; /* doubled */
    }
    ret[size] = 0;
    return size > 0;
}

static bool copy(const struct words *w, uint32_t index, char ret[ADMIN_NAME_SIZE])
{
    return copy_sized(w, index, ret, ADMIN_NAME_SIZE);
}

/* ---- one reader a verb ---- */

static void __attribute__((format(printf, 2, 3)))
bad(struct admin_command *c, const char *format, ...)
{
    c->verb = ADMIN_BAD;
    va_list args;
    va_start(args, format);
    vsnprintf(c->problem, sizeof c->problem, format, args);
    va_end(args);
}

static void read_show(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_SHOW;
    /* Drivers ask for some of PostgreSQL's own settings in words. */
    if (w->count == 4 && is(w, 1, "transaction") && is(w, 2, "isolation") && is(w, 3, "level"))
        snprintf(c->name, sizeof c->name, "transaction_isolation");
    else if (w->count == 3 && is(w, 1, "time") && is(w, 2, "zone"))
        snprintf(c->name, sizeof c->name, "timezone");
    else if (w->count == 3 && is(w, 1, "catalog") && copy_sized(w, 2, c->value, sizeof c->value))
        snprintf(c->name, sizeof c->name, "catalog_objects");
    else if (w->count != 2 || !copy(w, 1, c->name))
        bad(c, w->count > 2 ? "SHOW takes one word" : "SHOW what?");
    for (char *p = c->name; *p != 0; p++)
        *p = (char)toupper((unsigned char)*p);
}

static void read_breaker(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_BREAKER;
    if (w->count == 3 && is(w, 2, "open"))
        c->override = BREAKER_FORCED_OPEN;
    else if (w->count == 3 && is(w, 2, "close"))
        c->override = BREAKER_FORCED_CLOSED;
    else if (w->count == 3 && is(w, 2, "auto"))
        c->override = BREAKER_AUTO;
    else
        bad(c, "use BREAKER <node> OPEN, CLOSE or AUTO");
    if (c->verb == ADMIN_BREAKER && !copy(w, 1, c->name))
        bad(c, "BREAKER needs the name of a node");
}

static void read_reads(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_READS;
    const bool shape = w->count == 4 && is(w, 2, "to");
    if (shape && is(w, 3, "primary"))
        c->reads = ROUTER_READS_PRIMARY;
    else if (shape && is(w, 3, "replicas"))
        c->reads = ROUTER_READS_REPLICAS;
    else if (shape && is(w, 3, "auto"))
        c->reads = ROUTER_READS_AUTO;
    else
        bad(c, "use READS <database> TO PRIMARY, REPLICAS or AUTO");
    if (c->verb == ADMIN_READS && !copy(w, 1, c->name))
        bad(c, "READS needs the name of a database");
}

static void read_node(const struct words *w, struct admin_command *c)
{
    c->verb = is(w, 0, "drain") ? ADMIN_DRAIN : ADMIN_UNDRAIN;
    if (w->count != 2 || !copy(w, 1, c->name))
        bad(c, "use DRAIN <node> or UNDRAIN <node>");
}

static void read_forget(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_FORGET;
    if (w->count != 3 || !is(w, 1, "cluster") || !copy(w, 2, c->name))
        bad(c, "use FORGET CLUSTER <shard>");
}

/* Commands about a database; DISABLE, ENABLE and KILL_CLIENT want a name. */
static void read_control(const struct words *w, struct admin_command *c)
{
    static const struct {
        const char *tag;
        enum admin_verb verb;
        bool needs_name;
        const char *usage;
    } verbs[] = {{"PAUSE", ADMIN_PAUSE, false, "PAUSE [<database>]"},
                 {"RESUME", ADMIN_RESUME, false, "RESUME [<database>]"},
                 {"RECONNECT", ADMIN_RECONNECT, false, "RECONNECT [<database>]"},
                 {"KILL", ADMIN_KILL, false, "KILL [<database>]"},
                 {"WAIT_CLOSE", ADMIN_WAIT_CLOSE, false, "WAIT_CLOSE [<database>]"},
                 {"DISABLE", ADMIN_DISABLE, true, "DISABLE <database>"},
                 {"ENABLE", ADMIN_ENABLE, true, "ENABLE <database>"},
                 {"KILL_CLIENT", ADMIN_KILL_CLIENT, true, "KILL_CLIENT <id>"}};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!is(w, 0, verbs[i].tag))
            continue;
        c->verb = verbs[i].verb;
        c->tag = verbs[i].tag;
        if (w->count > 2 || (w->count == 2 && !copy(w, 1, c->name)) ||
            (w->count == 1 && verbs[i].needs_name))
            bad(c, "use %s", verbs[i].usage);
        return;
    }
}

static void read_reload(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_RELOAD;
    if (w->count != 1)
        bad(c, "RELOAD takes no argument");
}

static void read_shutdown(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_SHUTDOWN;
    c->shutdown = is(w, 1, "wait_for_clients")   ? ADMIN_SHUTDOWN_CLIENTS
                  : is(w, 1, "wait_for_servers") ? ADMIN_SHUTDOWN_SERVERS
                                                 : ADMIN_SHUTDOWN_NOW;
    if (w->count > 2 ||
        (w->count == 2 && !is(w, 1, "wait_for_servers") && !is(w, 1, "wait_for_clients")))
        bad(c, "use SHUTDOWN, SHUTDOWN WAIT_FOR_SERVERS or SHUTDOWN WAIT_FOR_CLIENTS");
}

static void read_explain(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_EXPLAIN_ROUTE;
    if (!is(w, 1, "route") || !copy(w, 2, c->name) || w->count < 4) {
        bad(c, "use EXPLAIN ROUTE <database> <statement>");
        return;
    }
    const char *begin = w->tokens[2].end; /* with its comments: they may be hints */
    c->statement = (struct proto_span){(const uint8_t *)begin, (size_t)(w->end - begin)};
}

static void read_select(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_SELECT;
    if (w->count != 2 || !copy(w, 1, c->name) || strspn(c->name, "0123456789") != strlen(c->name))
        bad(c, "the console runs no SQL");
}

static const char *const begin_words[] = {"begin", "start", NULL};
static const char *const end_words[] = {"commit", "end", "rollback", "abort", NULL};

/* A command tag is the first word, but for these. */
static void read_nothing(const struct words *w, struct admin_command *c)
{
    const bool begins = is_any(w, 0, begin_words);
    const bool ends = is_any(w, 0, end_words);
    c->verb = begins ? ADMIN_BEGIN : ends ? ADMIN_END : ADMIN_NOTHING;
    const bool copied = copy(w, 0, c->name);
    assert(copied);
    for (char *p = c->name; *p != 0; p++)
        *p = (char)toupper((unsigned char)*p);
    if (is(w, 0, "start"))
        snprintf(c->name, sizeof c->name, "START TRANSACTION");
    else if (is(w, 0, "end"))
        snprintf(c->name, sizeof c->name, "COMMIT");
    else if (is(w, 0, "abort"))
        snprintf(c->name, sizeof c->name, "ROLLBACK");
    else if (is(w, 0, "discard") || is(w, 0, "deallocate"))
        snprintf(c->name + strlen(c->name), sizeof c->name - strlen(c->name), "%s",
                 is(w, 1, "all") ? " ALL" : "");
}

static bool is_symbol(const struct words *w, uint32_t index, char symbol)
{
    return index < w->count && index < WORDS_MAX && w->tokens[index].kind == TOKEN_SYMBOL &&
           *w->tokens[index].begin == symbol;
}

/* As copy(), but it may be empty. */
static bool copy_value(const struct words *w, uint32_t index, char ret[ADMIN_VALUE_SIZE])
{
    const struct token *t = &w->tokens[index];
    ret[0] = 0;
    return (t->kind == TOKEN_QUOTED && t->end - t->begin == 2) ||
           copy_sized(w, index, ret, ADMIN_VALUE_SIZE);
}

static void read_set(const struct words *w, struct admin_command *c)
{
    /* Settings of a session with PostgreSQL that drivers and libpq make by themselves. */
    static const char *const harmless[] = {"client_encoding",
                                           "datestyle",
                                           "intervalstyle",
                                           "timezone",
                                           "time",
                                           "names",
                                           "application_name",
                                           "extra_float_digits",
                                           "standard_conforming_strings",
                                           "bytea_output",
                                           "client_min_messages",
                                           "search_path",
                                           "statement_timeout",
                                           "lock_timeout",
                                           "idle_in_transaction_session_timeout",
                                           "transaction",
                                           "characteristics",
                                           "default_transaction_isolation",
                                           "default_transaction_read_only",
                                           "transaction_isolation",
                                           "transaction_read_only",
                                           NULL};
    const uint32_t at = is(w, 1, "session") || is(w, 1, "local") ? 2 : 1;
    if (w->count < at + 2) {
        bad(c, "use SET <key> = <value>");
        return;
    }
    c->verb = ADMIN_SET;
    if (is_any(w, at, harmless)) {
        c->verb = ADMIN_NOTHING;
        snprintf(c->name, sizeof c->name, "SET");
    } else if (w->count != at + 3 || !(is_symbol(w, at + 1, '=') || is(w, at + 1, "to")) ||
               !copy(w, at, c->name) || !copy_value(w, at + 2, c->value)) {
        bad(c, "use SET <key> = <value>, with quotes around a value of several words");
    }
}

static void read_later(const struct words *w, struct admin_command *c)
{
    c->verb = ADMIN_LATER;
    const bool copied = copy(w, 0, c->name);
    assert(copied);
    for (char *p = c->name; *p != 0; p++)
        *p = (char)toupper((unsigned char)*p);
}

static const struct reader {
    const char *word;
    void (*read)(const struct words *w, struct admin_command *c);
} readers[] = {
    {"show", read_show},         {"breaker", read_breaker},     {"drain", read_node},
    {"undrain", read_node},      {"reads", read_reads},         {"pause", read_control},
    {"forget", read_forget},     {"resume", read_control},      {"reconnect", read_control},
    {"kill", read_control},      {"wait_close", read_control},  {"disable", read_control},
    {"enable", read_control},    {"kill_client", read_control}, {"reload", read_reload},
    {"shutdown", read_shutdown}, {"explain", read_explain},     {"select", read_select},
    {"set", read_set},           {"begin", read_nothing},       {"start", read_nothing},
    {"commit", read_nothing},    {"end", read_nothing},         {"rollback", read_nothing},
    {"abort", read_nothing},     {"discard", read_nothing},     {"deallocate", read_nothing},
    {"reset", read_nothing},     {"rollout", read_later},       {"suspend", read_later},
};

static void read_words(const struct words *w, struct admin_command *c)
{
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        if (is(w, 0, readers[i].word)) {
            readers[i].read(w, c);
            return;
        }
    }
    const struct token *t = &w->tokens[0];
    const size_t size = (size_t)(t->end - t->begin);
    bad(c, "unknown command \"%.*s\"", size < 40 ? (int)size : 40, t->begin);
}

bool admin_command_next(struct proto_span *text, struct admin_command *ret)
{
    if (text->size == 0)
        return false;
    const char *p = (const char *)text->base;
    const char *const end = p + text->size;
    struct words w = {.count = 0};
    struct token t = token_next(p, end);
    while (t.kind == TOKEN_SEMICOLON) /* empty statements in front */
        t = token_next(t.end, end);
    while (t.kind != TOKEN_END && t.kind != TOKEN_SEMICOLON && t.kind != TOKEN_UNTERMINATED) {
        if (w.count < WORDS_MAX)
            w.tokens[w.count] = t;
        w.count++;
        t = token_next(t.end, end);
    }
    w.end = t.begin;
    *text = (struct proto_span){(const uint8_t *)t.end, (size_t)(end - t.end)};
    *ret = (struct admin_command){.verb = ADMIN_BAD};
    if (t.kind == TOKEN_UNTERMINATED)
        bad(ret, "unterminated quoted string");
    else if (w.count == 0)
        return false;
    else
        read_words(&w, ret);
    return true;
}

bool admin_command_is_privileged(enum admin_verb verb)
{
    switch (verb) {
    case ADMIN_SHOW:
    case ADMIN_SELECT:
    case ADMIN_NOTHING:
    case ADMIN_BEGIN:
    case ADMIN_END:
    case ADMIN_BAD:
        return false;
    case ADMIN_BREAKER:
    case ADMIN_DRAIN:
    case ADMIN_UNDRAIN:
    case ADMIN_FORGET:
    case ADMIN_READS:
    case ADMIN_PAUSE:
    case ADMIN_RESUME:
    case ADMIN_DISABLE:
    case ADMIN_ENABLE:
    case ADMIN_RECONNECT:
    case ADMIN_KILL:
    case ADMIN_KILL_CLIENT:
    case ADMIN_WAIT_CLOSE:
    case ADMIN_RELOAD:
    case ADMIN_SHUTDOWN:
    case ADMIN_EXPLAIN_ROUTE:
    case ADMIN_SET:
    case ADMIN_LATER:
        return true;
    }
    return true;
}

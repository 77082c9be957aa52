/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_session: the simple and the extended query protocol of the console.
 *
 * Happy path: a whole message at the front of `in` is handled and dropped. A command that waits for
 * the workers leaves its message where it is; handling it again, with the snapshot at hand, goes
 * on. Failure modes: what breaks the protocol or a limit is FATAL; a bad command is an ERROR, after
 * which an extended batch is skipped up to its Sync. There are no parameters, and every column is
 * text: so its binary and its text form are the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy_admin_internal.h"
#include "proxy_worker.h"

/* What a handler says of the message at the front. */
enum step { STEP_NEXT, STEP_WAIT };

static struct proto_span span(const char *text)
{
    return (struct proto_span){(const uint8_t *)text, strlen(text)};
}

void admin_error(struct admin_client *c, const char *severity, const char *sqlstate,
                 const char *message, const char *hint)
{
    const struct proto_error_text text = {
        .severity = severity, .sqlstate = sqlstate, .message = message, .hint = hint};
    const size_t size = strlen(message) + (hint != NULL ? strlen(hint) : 0) + 64;
    struct proto_writer w = text_writer(&c->out, size);
    proto_write_error(&w, &text);
    text_commit(&c->out, &w);
}

static void fatal(struct admin_client *c, const char *sqlstate, const char *message)
{
    admin_error(c, "FATAL", sqlstate, message, NULL);
    c->close_after_flush = true;
}

static void write_simple(struct admin_client *c, void (*write)(struct proto_writer *w))
{
    struct proto_writer w = text_writer(&c->out, 16);
    write(&w);
    text_commit(&c->out, &w);
}

static void ready(struct admin_client *c)
{
    struct proto_writer w = text_writer(&c->out, 16);
    proto_write_ready(&w, c->in_block ? 'T' : 'I');
    text_commit(&c->out, &w);
}

static void parameter(struct proto_writer *w, const char *name, const char *value)
{
    proto_write_parameter_status(w, span(name), span(value));
}

void admin_session_welcome(struct admin_client *c)
{
    static const char *const names[] = {
        "server_version", "server_encoding", "client_encoding",   "DateStyle",
        "IntervalStyle",  "TimeZone",        "integer_datetimes", "standard_conforming_strings"};
    static const char *const keys[] = {
        "SERVER_VERSION", "SERVER_ENCODING", "CLIENT_ENCODING",   "DATESTYLE",
        "INTERVALSTYLE",  "TIMEZONE",        "INTEGER_DATETIMES", "STANDARD_CONFORMING_STRINGS"};
    struct proto_writer w = text_writer(&c->out, 1024);
    proto_write_auth_ok(&w);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        parameter(&w, names[i], admin_setting(keys[i]));
    parameter(&w, "application_name", c->application);
    parameter(&w, "is_superuser", c->may_change ? "on" : "off");
    parameter(&w, "session_authorization", c->user);
    uint8_t secret[4];
    proxy_random(secret, sizeof secret); /* a command is over before it could be cancelled */
    proto_write_backend_key(&w, (uint32_t)getpid(), (struct proto_span){secret, sizeof secret});
    proto_write_ready(&w, 'I');
    text_commit(&c->out, &w);
}

/* ---- simple query ---- */

static enum step on_query(struct admin_client *c, struct proto_span body)
{
    struct proto_span text;
    if (proto_query_read(body, &text) != PROTO_OK) {
        fatal(c, "08P01", "malformed Query message");
        return STEP_NEXT;
    }
    text.base += c->query_done; /* commands in front of the one that had to wait */
    text.size -= c->query_done;
    struct admin_command command;
    enum admin_result result = ADMIN_DONE;
    while (result == ADMIN_DONE) {
        struct proto_span rest = text;
        if (!admin_command_next(&rest, &command))
            break;
        result = admin_run(c, &command, true);
        if (result == ADMIN_SUSPENDED)
            return STEP_WAIT;
        c->query_done += text.size - rest.size;
        c->query_commands++;
        text = rest;
    }
    if (c->query_commands == 0)
        write_simple(c, proto_write_empty_query);
    c->query_done = 0;
    c->query_commands = 0;
    ready(c);
    return STEP_NEXT;
}

/* ---- extended query ---- */

static void extended_error(struct admin_client *c, const char *sqlstate, const char *message)
{
    admin_error(c, "ERROR", sqlstate, message, NULL);
    c->skipping = true;
}

static struct admin_statement *find(struct admin_statement *all, struct proto_span name)
{
    for (uint32_t i = 0; i < ADMIN_STATEMENTS_MAX; i++) {
        if (all[i].text != NULL && strlen(all[i].name) == name.size &&
            memcmp(all[i].name, name.base, name.size) == 0)
            return &all[i];
    }
    return NULL;
}

static void drop(struct admin_statement *s)
{
    if (s == NULL)
        return;
    free(s->text);
    *s = (struct admin_statement){.text = NULL};
}

static void drop_all(struct admin_statement *all)
{
    for (uint32_t i = 0; i < ADMIN_STATEMENTS_MAX; i++)
        drop(&all[i]);
}

/* Takes the place of the unnamed one. False: an error was written. */
static bool put(struct admin_client *c, struct admin_statement *all, struct proto_span name,
                struct proto_span text)
{
    struct admin_statement *s = find(all, name);
    if (s != NULL && name.size > 0) {
        extended_error(c, "42P05", "a statement or portal of this name is there already");
        return false;
    }
    drop(s);
    for (uint32_t i = 0; i < ADMIN_STATEMENTS_MAX && s == NULL; i++) {
        if (all[i].text == NULL)
            s = &all[i];
    }
    char *copy = malloc(text.size + 1);
    if (s == NULL || name.size >= sizeof s->name || copy == NULL) {
        free(copy);
        extended_error(c, "54000", "too many statements or portals, or a name that is too long");
        return false;
    }
    memcpy(copy, text.base, text.size);
    copy[text.size] = 0;
    *s = (struct admin_statement){.text = copy, .size = text.size};
    memcpy(s->name, name.base, name.size);
    return true;
}

static struct proto_span text_of(const struct admin_statement *s)
{
    return (struct proto_span){(const uint8_t *)s->text, s->size};
}

static void on_parse(struct admin_client *c, struct proto_span body)
{
    struct proto_parse parse;
    struct admin_command command;
    if (proto_parse_read(body, &parse) != PROTO_OK) {
        fatal(c, "08P01", "malformed Parse message");
        return;
    }
    struct proto_span rest = parse.text;
    if (admin_command_next(&rest, &command) && command.verb == ADMIN_BAD) {
        (void)admin_run(c, &command, false);
        c->skipping = true;
        return;
    }
    if (admin_command_next(&rest, &command)) {
        extended_error(c, "42601", "cannot insert multiple commands into a prepared statement");
        return;
    }
    if (put(c, c->statements, parse.name, parse.text))
        write_simple(c, proto_write_parse_complete);
}

/* Formats and values: none of the latter. */
static bool has_parameters(struct proto_span rest)
{
    struct proto_reader r = proto_reader_make(rest);
    const uint16_t formats = proto_read_u16(&r);
    (void)proto_read_bytes(&r, 2 * (uint32_t)formats);
    const uint16_t values = proto_read_u16(&r);
    return r.failed || values > 0;
}

static void on_bind(struct admin_client *c, struct proto_span body)
{
    struct proto_bind bind;
    if (proto_bind_peek(body, &bind) != PROTO_OK) {
        fatal(c, "08P01", "malformed Bind message");
        return;
    }
    const struct admin_statement *s = find(c->statements, bind.statement);
    if (s == NULL)
        extended_error(c, "26000", "there is no such prepared statement");
    else if (has_parameters(bind.rest))
        extended_error(c, "0A000", "the console's commands take no parameters");
    else if (put(c, c->portals, bind.portal, text_of(s)))
        write_simple(c, proto_write_bind_complete);
}

static void describe(struct admin_client *c, const struct admin_statement *s)
{
    struct proto_span text = text_of(s);
    struct admin_command command;
    if (!admin_command_next(&text, &command)) {
        write_simple(c, proto_write_no_data);
        return;
    }
    const char *columns = admin_columns(&command);
    if (columns != NULL)
        table_description(&c->out, columns);
    else
        write_simple(c, proto_write_no_data);
}

static void on_describe(struct admin_client *c, struct proto_span body)
{
    static const uint8_t no_parameters[] = {'t', 0, 0, 0, 6, 0, 0};
    struct proto_target target;
    if (proto_target_read(body, &target) != PROTO_OK) {
        fatal(c, "08P01", "malformed Describe message");
        return;
    }
    const bool is_statement = target.what == 'S';
    const struct admin_statement *s = find(is_statement ? c->statements : c->portals, target.name);
    if (s == NULL) {
        extended_error(c, is_statement ? "26000" : "34000", "there is nothing of this name");
        return;
    }
    if (is_statement)
        text_add(&c->out, no_parameters, sizeof no_parameters);
    describe(c, s);
}

static enum step on_execute(struct admin_client *c, struct proto_span body)
{
    struct proto_execute execute;
    struct admin_command command;
    if (proto_execute_read(body, &execute) != PROTO_OK) {
        fatal(c, "08P01", "malformed Execute message");
        return STEP_NEXT;
    }
    const struct admin_statement *s = find(c->portals, execute.portal);
    if (s == NULL) {
        extended_error(c, "34000", "there is no such portal");
        return STEP_NEXT;
    }
    struct proto_span text = text_of(s);
    if (!admin_command_next(&text, &command)) {
        write_simple(c, proto_write_empty_query);
        return STEP_NEXT;
    }
    /* All rows, whatever the limit: a table of the console is small. */
    const enum admin_result result = admin_run(c, &command, false);
    if (result == ADMIN_FAILED)
        c->skipping = true;
    return result == ADMIN_SUSPENDED ? STEP_WAIT : STEP_NEXT;
}

static void on_close(struct admin_client *c, struct proto_span body)
{
    struct proto_target target;
    if (proto_target_read(body, &target) != PROTO_OK) {
        fatal(c, "08P01", "malformed Close message");
        return;
    }
    drop(find(target.what == 'S' ? c->statements : c->portals, target.name));
    write_simple(c, proto_write_close_complete);
}

/* ---- messages ---- */

static enum step on_message(struct admin_client *c, uint8_t type, struct proto_span body)
{
    if (c->skipping && type != 'S' && type != 'X')
        return STEP_NEXT;
    switch (type) {
    case 'Q':
        return on_query(c, body);
    case 'P':
        on_parse(c, body);
        return STEP_NEXT;
    case 'B':
        on_bind(c, body);
        return STEP_NEXT;
    case 'D':
        on_describe(c, body);
        return STEP_NEXT;
    case 'E':
        return on_execute(c, body);
    case 'C':
        on_close(c, body);
        return STEP_NEXT;
    case 'S':
        c->skipping = false;
        if (!c->in_block)
            drop_all(c->portals);
        ready(c);
        return STEP_NEXT;
    case 'H': /* everything is flushed anyway */
    case 'd': /* the rest of a COPY that never began */
    case 'c':
    case 'f':
        return STEP_NEXT;
    case 'X':
        c->close_after_flush = true;
        return STEP_NEXT;
    default:
        fatal(c, "08P01", "a message of a type that the console does not know");
        return STEP_NEXT;
    }
}

/* False: no whole message, or it waits. */
static bool process_one(struct admin_client *c, size_t *at)
{
    const struct proto_span in = {c->in + *at, c->in_size - *at};
    struct proto_header header;
    const enum proto_status status =
        proto_header_peek(in, ADMIN_IN_SIZE - PROTO_HEADER_SIZE, &header);
    if (status == PROTO_MORE)
        return false;
    if (status != PROTO_OK) {
        fatal(c, status == PROTO_ETOOBIG ? "54000" : "08P01",
              status == PROTO_ETOOBIG ? "the message is too long" : "invalid message length");
        return false;
    }
    const size_t size = PROTO_HEADER_SIZE + (size_t)header.body_size;
    if (in.size < size)
        return false;
    const struct proto_span body = {in.base + PROTO_HEADER_SIZE, header.body_size};
    if (on_message(c, header.type, body) == STEP_WAIT) {
        assert(c->suspended);
        return false;
    }
    *at += size;
    return true;
}

void admin_session_process(struct admin_client *c)
{
    size_t at = 0;
    while (!c->suspended && !c->close_after_flush && c->out.size - c->out_sent < ADMIN_OUT_HIGH &&
           process_one(c, &at))
        ;
    memmove(c->in, c->in + at, c->in_size - at);
    c->in_size -= at;
    if (c->out.failed)
        c->close_after_flush = true; /* no memory for an answer */
}

void admin_session_deinit(struct admin_client *c)
{
    drop_all(c->statements);
    drop_all(c->portals);
    admin_snapshot_forget(c);
    text_deinit(&c->out);
}

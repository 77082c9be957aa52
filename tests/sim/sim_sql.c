/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_sql: the few statements that the simulation speaks, and their replies.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

static bool begins(struct proto_span text, const char *with)
{
    return text.size >= strlen(with) && memcmp(text.base, with, strlen(with)) == 0;
}

bool sim_tag_read(struct proto_span text, int *ret_client, int *ret_number)
{
    char buf[160];
    const size_t size = text.size < sizeof(buf) - 1 ? text.size : sizeof(buf) - 1;
    memcpy(buf, text.base, size);
    buf[size] = '\0';
    for (const char *p = strpbrk(buf, "c"); p != NULL; p = strpbrk(p + 1, "c"))
        if (sscanf(p, "c%d.s%d", ret_client, ret_number) == 2 ||
            sscanf(p, "c%d_s%d", ret_client, ret_number) == 2)
            return true;
    return false;
}

/* The first that matches. */
static const struct {
    const char *text;
    enum sim_kind kind;
} kinds[] = {
    {"SELECT 1/0", SIM_ERROR},
    {"SELECT lower(", SIM_LIAR},
    {"SELECT EXISTS (SELECT FROM pg_catalog.", SIM_QUESTION},
    {"SELECT pg_advisory_lock(", SIM_LOCK},
    {"SELECT pg_terminate_backend(", SIM_SIGNAL},
    {"SELECT pg_try_advisory_lock(", SIM_TRY_LOCK},
    {"SELECT pg_advisory_unlock(", SIM_UNLOCK},
    {"SELECT bump(", SIM_FUNCTION},
    {"SELECT $1", SIM_PREAD},
    {"SELECT rows", SIM_ROWS},
    {"SELECT tag FROM changing", SIM_TABLE},
    {"SELECT '", SIM_READ},
    {"INSERT INTO t VALUES ($1)", SIM_PWRITE},
    {"INSERT", SIM_WRITE},
    {"BEGIN READ ONLY", SIM_BEGIN_READ_ONLY},
    {"BEGIN", SIM_BEGIN},
    {"COMMIT", SIM_COMMIT},
    {"ROLLBACK TO", SIM_ROLLBACK_TO},
    {"ROLLBACK", SIM_ROLLBACK},
    {"SAVEPOINT", SIM_SAVEPOINT},
    {"SET work_mem", SIM_SET},
    {"SET search_path", SIM_SET_PATH},
    {"SET LOCAL search_path", SIM_SET_LOCAL},
    {"SET application_name", SIM_SET_APPLICATION},
    {"RESET work_mem", SIM_RESET},
    {"RESET application_name", SIM_RESET_APPLICATION},
    {"RESET ALL", SIM_RESET_ALL},
    {"SHOW work_mem", SIM_SHOW},
    {"SHOW application_name", SIM_SHOW_APPLICATION},
    {"DISCARD ALL", SIM_DISCARD},
    {"EXECUTE ", SIM_EXECUTE},
    {"COPY (", SIM_COPY_OUT},
    {"COPY c", SIM_COPY_IN},
    {"RESET SESSION AUTHORIZATION", SIM_SETTINGS},
    {"RESET ROLE", SIM_SETTINGS},
    {"SELECT pg_catalog.setseed(", SIM_SETTINGS},
    {"DO '", SIM_SETTINGS},
    {"SELECT pg_catalog.set_config(", SIM_SET_CONFIG},
    {"set ", SIM_SETTINGS}, /* the proxy writes it like this */
};

bool sim_settings_apply(struct sim_settings *s, enum sim_kind kind, const char *value,
                        const char *start)
{
    switch ((int)kind) {
    case SIM_SET:
    case SIM_RESET:
        (void)snprintf(s->work_mem, sizeof(s->work_mem), "%s", kind == SIM_SET ? value : "");
        return true;
    case SIM_SET_PATH:
        (void)snprintf(s->path_session, sizeof(s->path_session), "%s", value);
        (void)snprintf(s->path, sizeof(s->path), "%s", value);
        return true;
    case SIM_SET_LOCAL:
        (void)snprintf(s->path, sizeof(s->path), "%s", value);
        return true;
    case SIM_SET_APPLICATION:
    case SIM_RESET_APPLICATION:
        (void)snprintf(s->application, sizeof(s->application), "%s",
                       kind == SIM_SET_APPLICATION ? value : start);
        return true;
    case SIM_RESET_ALL:
    case SIM_DISCARD:
        memset(s, 0, sizeof(*s));
        (void)snprintf(s->application, sizeof(s->application), "%s", start);
        return true;
    default:
        return false;
    }
}

void sim_settings_end(struct sim_settings *s)
{
    memcpy(s->path, s->path_session, sizeof(s->path));
}

struct sim_sql sim_sql_read(struct proto_span text)
{
    struct sim_sql sql = {.kind = text.size == 0 ? SIM_EMPTY : SIM_GARBAGE, .client = -1};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (begins(text, kinds[i].text)) {
            sql.kind = kinds[i].kind;
            break;
        }
    if (sim_is_setting(sql.kind) || sql.kind == SIM_QUESTION ||
        !sim_tag_read(text, &sql.client, &sql.number))
        sql.client = -1;
    return sql;
}

void sim_sql_split(struct proto_span *text, struct proto_span *ret)
{
    const enum sim_kind kind = sim_sql_read(*text).kind;
    bool quoted = false;
    size_t end = 0;
    for (; end < text->size && (quoted || text->base[end] != ';'); end++)
        quoted = quoted != (text->base[end] == '\'');
    if (kind == SIM_SETTINGS || kind == SIM_QUESTION)
        end = text->size; /* ours: as a whole */
    *ret = (struct proto_span){.base = text->base, .size = end};
    end += end < text->size;
    while (end < text->size && text->base[end] == ' ')
        end++;
    *text = (struct proto_span){.base = text->base + end, .size = text->size - end};
}

static const char *format_of(enum sim_kind kind)
{
    switch ((int)kind) {
    case SIM_READ:
        return "SELECT 'c%d.s%d' AS tag";
    case SIM_ROWS:
        return "SELECT rows.a, 'c%d.s%d' AS tag FROM rows";
    case SIM_PREAD:
        return "SELECT $1 AS tag";
    case SIM_TABLE:
        return "SELECT tag FROM changing WHERE tag = $1";
    case SIM_LIAR:
        return "SELECT lower('c%d.s%d') AS tag";
    case SIM_ERROR:
        return "SELECT 1/0 AS tag, 'c%d.s%d'";
    case SIM_WRITE:
        return "INSERT INTO t VALUES ('c%d.s%d')";
    case SIM_PWRITE:
        return "INSERT INTO t VALUES ($1)";
    case SIM_FUNCTION:
        return "SELECT bump('c%d.s%d') AS tag";
    case SIM_BEGIN:
        return "BEGIN";
    case SIM_BEGIN_READ_ONLY:
        return "BEGIN READ ONLY";
    case SIM_COMMIT:
        return "COMMIT";
    case SIM_ROLLBACK:
        return "ROLLBACK";
    case SIM_SAVEPOINT:
        return "SAVEPOINT sp";
    case SIM_ROLLBACK_TO:
        return "ROLLBACK TO sp";
    case SIM_SET:
        return "SET work_mem = 'c%d.s%d'";
    case SIM_SET_PATH:
        return "SET search_path = 'c%d.s%d'";
    case SIM_SET_LOCAL:
        return "SET LOCAL search_path = 'c%d.s%d'";
    case SIM_SET_APPLICATION:
        return "SET application_name = 'c%d.s%d'";
    case SIM_RESET:
        return "RESET work_mem";
    case SIM_RESET_APPLICATION:
        return "RESET application_name";
    case SIM_RESET_ALL:
        return "RESET ALL";
    case SIM_SHOW:
        return "SHOW work_mem";
    case SIM_SHOW_APPLICATION:
        return "SHOW application_name";
    case SIM_DISCARD:
        return "DISCARD ALL";
    case SIM_LOCK:
        return "SELECT pg_advisory_lock(1) AS \"c%d.s%d\"";
    case SIM_TRY_LOCK:
        return "SELECT pg_try_advisory_lock(1) AS \"c%d.s%d\"";
    case SIM_UNLOCK:
        return "SELECT pg_advisory_unlock(1) AS \"c%d.s%d\"";
    case SIM_EXECUTE:
        return "('c%d.s%d')";
    case SIM_COPY_IN:
        return "COPY c%d_s%d FROM STDIN";
    case SIM_COPY_OUT:
        return "COPY (SELECT 'c%d.s%d') TO STDOUT";
    case SIM_SIGNAL:
        return " /* c%d.s%d */";
    case SIM_EMPTY:
    case SIM_SETTINGS:
    case SIM_SET_CONFIG:
    case SIM_QUESTION:
    case SIM_CALL:
    case SIM_GARBAGE:
        break;
    }
    return "";
}

size_t sim_sql_write(enum sim_kind kind, int client, int number, size_t pad, char *buf,
                     size_t buf_size)
{
    int n = 0;
    if (kind == SIM_EXECUTE)
        n = snprintf(buf, buf_size, "EXECUTE %c", 'a' + sim_executes(number));
    if (kind == SIM_SIGNAL)
        n = snprintf(buf, buf_size, "SELECT pg_terminate_backend(%d)",
                     SIM_SIGNAL_PID + number % SIM_SIGNALS);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    n += snprintf(buf + n, buf_size - (size_t)n, format_of(kind), client, number);
#pragma GCC diagnostic pop
    if (kind == SIM_LIAR) /* each a statement of its own, that must be learned anew */
        n += snprintf(buf + n, buf_size - (size_t)n, "_%d_%d", client, number);
    if (pad > 0 && (size_t)n + pad + 4 < buf_size) {
        n += snprintf(buf + n, buf_size - (size_t)n, " -- ");
        memset(buf + n, 'x', pad);
        n += (int)pad;
        buf[n] = '\0';
    }
    return (size_t)n;
}

/* ---- replies ---- */

static void write_with(struct sim_queue *q, void (*write)(struct proto_writer *w, const void *arg),
                       const void *arg)
{
    uint8_t buf[4096];
    struct proto_writer w = proto_writer_make(buf, sizeof(buf));
    write(&w, arg);
    if (w.overflow)
        abort();
    sim_queue_add(q, buf, w.size);
}

static void write_columns(struct proto_writer *w, const void *arg)
{
    static const char *const columns[] = {"tag"};
    (void)arg;
    proto_write_row_description(w, columns, 1);
}

void sim_reply_columns(struct sim_queue *q)
{
    write_with(q, write_columns, NULL);
}

static void write_answer(struct proto_writer *w, const void *arg)
{
    static const char *const columns[] = {"a", "b", "c", "d", "e"};
    struct proto_span values[5];
    for (int i = 0; i < 5; i++)
        values[i] = (struct proto_span){(const uint8_t *)"f", 1};
    values[1] = *(const struct proto_span *)arg;
    proto_write_row_description(w, columns, 5);
    proto_write_data_row(w, values, 5);
    proto_write_command_complete(w, "SELECT 1");
}

void sim_reply_question(struct sim_queue *q, bool locks)
{
    const struct proto_span value = {(const uint8_t *)(locks ? "t" : "f"), 1};
    write_with(q, write_answer, &value);
}

static void write_row(struct proto_writer *w, const void *arg)
{
    const struct proto_span *value = arg;
    proto_write_data_row(w, value, 1);
}

void sim_reply_row(struct sim_queue *q, const char *value, size_t pad)
{
    char text[512];
    const int n = snprintf(text, sizeof(text), "%s%*s", value, (int)pad, "");
    const struct proto_span span = {.base = (const uint8_t *)text, .size = (size_t)n};
    write_with(q, write_row, &span);
}

static void write_tag(struct proto_writer *w, const void *arg)
{
    proto_write_command_complete(w, arg);
}

void sim_reply_tag(struct sim_queue *q, const char *tag)
{
    write_with(q, write_tag, tag);
}

void sim_reply_ready(struct sim_queue *q, uint8_t status)
{
    const uint8_t message[] = {'Z', 0, 0, 0, 5, status};
    sim_queue_add(q, message, sizeof(message));
}

static void write_application(struct proto_writer *w, const void *arg)
{
    const char *value = arg;
    proto_write_parameter_status(w, (struct proto_span){(const uint8_t *)"application_name", 16},
                                 (struct proto_span){(const uint8_t *)value, strlen(value)});
}

void sim_reply_application(struct sim_queue *q, const char *value)
{
    write_with(q, write_application, value);
}

void sim_reply_plain(struct sim_queue *q, char type)
{
    const uint8_t message[] = {(uint8_t)type, 0, 0, 0, 4};
    sim_queue_add(q, message, sizeof(message));
}

void sim_reply_parameters(struct sim_queue *q, bool one)
{
    static const uint8_t none_of_them[] = {'t', 0, 0, 0, 6, 0, 0};
    static const uint8_t one_of_them[] = {'t', 0, 0, 0, 10, 0, 1, 0, 0, 0, 25};
    if (one)
        sim_queue_add(q, one_of_them, sizeof(one_of_them));
    else
        sim_queue_add(q, none_of_them, sizeof(none_of_them));
}

void sim_reply_copy(struct sim_queue *q, char type)
{
    const uint8_t message[] = {(uint8_t)type, 0, 0, 0, 9, 0, 0, 1, 0, 0};
    sim_queue_add(q, message, sizeof(message));
}

void sim_reply_copy_data(struct sim_queue *q, const char *text)
{
    uint8_t head[PROTO_HEADER_SIZE] = {'d'};
    proto_store_u32(head + 1, (uint32_t)(4 + strlen(text)));
    sim_queue_add(q, head, sizeof(head));
    sim_queue_add(q, text, strlen(text));
}

void sim_reply_error(struct sim_queue *q, const char *severity, const char *sqlstate,
                     const char *message, const char *routine)
{
    uint8_t buf[512];
    const int n = snprintf((char *)buf + PROTO_HEADER_SIZE, sizeof(buf) - PROTO_HEADER_SIZE,
                           "S%s%cV%s%cC%s%cM%s%cR%s%c", severity, 0, severity, 0, sqlstate, 0,
                           message, 0, routine, 0);
    const uint32_t size = (uint32_t)n + 1; /* and the NUL that ends the list */
    buf[0] = strcmp(severity, "NOTICE") == 0 ? 'N' : 'E';
    proto_store_u32(buf + 1, 4 + size);
    sim_queue_add(q, buf, PROTO_HEADER_SIZE + size);
}

static uint32_t rows_of(struct sim_sql sql)
{
    return sql.kind == SIM_ROWS ? 2 + (uint32_t)sql.number % 20 : 1;
}

bool sim_reply_part(struct sim_queue *q, struct sim_sql sql, const char *value, uint32_t *position,
                    uint32_t rows)
{
    const bool shows = sql.kind == SIM_SHOW || sql.kind == SIM_SHOW_APPLICATION;
    if (!sim_has_rows(sql.kind)) {
        sim_reply_result(q, sql, value, false);
        return true;
    }
    for (uint32_t n = 0; *position < rows_of(sql) && (rows == 0 || n < rows); n++) {
        const uint32_t i = (*position)++;
        sim_reply_row(q, value, sql.kind == SIM_ROWS ? ((size_t)sql.number * 7 + i) % 300 : 0);
        if (rows > 0 && n + 1 == rows) { /* it does not look whether there is another one */
            sim_reply_plain(q, 's');
            return false;
        }
    }
    sim_reply_tag(q, shows ? "SHOW" : "SELECT 1");
    return true;
}

void sim_reply_result(struct sim_queue *q, struct sim_sql sql, const char *value, bool columns)
{
    static const uint8_t called[] = {'V', 0, 0, 0, 8, 0, 0, 0, 0};
    uint32_t position = 0;
    if (sim_has_rows(sql.kind)) {
        if (columns)
            sim_reply_columns(q);
        (void)sim_reply_part(q, sql, value, &position, 0);
        return;
    }
    switch ((int)sql.kind) {
    case SIM_CALL:
        sim_queue_add(q, called, sizeof(called));
        return;
    case SIM_WRITE:
    case SIM_PWRITE:
        sim_reply_tag(q, "INSERT 0 1");
        return;
    case SIM_COPY_OUT:
        sim_reply_copy(q, 'H');
        for (int i = 0; i < sql.number % 5; i++)
            sim_reply_copy_data(q, value);
        sim_reply_plain(q, 'c');
        sim_reply_tag(q, "COPY 1");
        return;
    case SIM_BEGIN:
    case SIM_BEGIN_READ_ONLY:
        sim_reply_tag(q, "BEGIN");
        return;
    case SIM_COMMIT:
        sim_reply_tag(q, "COMMIT");
        return;
    case SIM_ROLLBACK:
    case SIM_ROLLBACK_TO:
        sim_reply_tag(q, "ROLLBACK");
        return;
    case SIM_SAVEPOINT:
        sim_reply_tag(q, "SAVEPOINT");
        return;
    case SIM_SET:
    case SIM_SET_PATH:
    case SIM_SET_LOCAL:
    case SIM_SET_APPLICATION:
        sim_reply_tag(q, "SET");
        return;
    case SIM_RESET:
    case SIM_RESET_APPLICATION:
    case SIM_RESET_ALL:
    case SIM_SETTINGS:
        sim_reply_tag(q, "RESET");
        return;
    case SIM_DISCARD:
        sim_reply_tag(q, "DISCARD ALL");
        return;
    case SIM_EMPTY:
        sim_reply_plain(q, 'I');
        return;
    case SIM_COPY_IN:
    case SIM_ERROR:
    case SIM_EXECUTE:
    case SIM_GARBAGE:
        break;
    }
    abort(); /* has no such result */
}

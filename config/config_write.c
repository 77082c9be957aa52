/* SPDX-License-Identifier: PostgreSQL
 *
 * config_write: the sample file, the reference page and the list of options, from the one table.
 */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

/* Text that may not fit: counts on, as snprintf. */
struct sink {
    char *buf;
    size_t size;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void sink_print(struct sink *s, const char *format,
                                                             ...)
{
    const size_t left = s->used < s->size ? s->size - s->used : 0;
    va_list list;
    va_start(list, format);
    const int size = vsnprintf(left > 0 ? s->buf + s->used : NULL, left, format, list);
    va_end(list);
    s->used += size > 0 ? (size_t)size : 0;
}

/* "1 to 256", "text, json", or nothing. */
static void bounds_print(struct sink *s, const struct config_option *o)
{
    if (o->min_text != NULL && o->max_text != NULL)
        sink_print(s, "%s to %s", o->min_text, o->max_text);
    for (size_t i = 0; o->choices != NULL && o->choices[i] != NULL; i++)
        sink_print(s, "%s%s", i == 0 ? "" : ", ", o->choices[i]);
}

static const char *type_text(const struct config_option *o)
{
    switch (o->type) {
    case CONFIG_BOOL:
        return "boolean";
    case CONFIG_INTEGER:
        return strcmp(o->default_text, "auto") == 0 ? "integer or auto" : "integer";
    case CONFIG_DURATION:
        return "duration";
    case CONFIG_SIZE:
        return "size";
    case CONFIG_SHARE:
        return "share";
    case CONFIG_STRING:
        return o->choices != NULL ? "choice" : "string";
    case CONFIG_ENUM:
        return "choice";
    case CONFIG_LIST:
        return "list";
    }
    return "";
}

/* ---- the sample file ---- */

/* What the sample sets; all else stands in it as a comment. */
static const struct {
    enum config_section section;
    const char *key;
    const char *value;
} sample_values[] = {
    {CONFIG_SECTION_SWITCHGEAR, "listen", "127.0.0.1:6432"},
    {CONFIG_SECTION_SWITCHGEAR, "admin_socket", "/run/switchgear"},
    {CONFIG_SECTION_SWITCHGEAR, "http_listen", "127.0.0.1:9188"},
    {CONFIG_SECTION_SWITCHGEAR, "auth_type", "scram-sha-256"},
    {CONFIG_SECTION_SWITCHGEAR, "auth_file", "users.txt"},
    {CONFIG_SECTION_NODE, "host", "127.0.0.1"},
    {CONFIG_SECTION_NODE, "port", "5432"},
    {CONFIG_SECTION_DATABASE, "pool_size", "20"},
    {CONFIG_SECTION_DATABASE, "consistency", "session"},
    {CONFIG_SECTION_DATABASE, "max_lag", "5s"},
    {CONFIG_SECTION_PROBE, "interval", "500ms"},
    {CONFIG_SECTION_BREAKER, "failures", "3"},
};

static const char *sample_value(const struct config_option *o)
{
    for (size_t i = 0; i < sizeof sample_values / sizeof sample_values[0]; i++) {
        if (sample_values[i].section == o->section && strcmp(sample_values[i].key, o->name) == 0)
            return sample_values[i].value;
    }
    return NULL;
}

static void sample_section(struct sink *s, enum config_section section)
{
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        if (o->section != section)
            continue;
        const char *value = sample_value(o);
        sink_print(s, "\n; %s", o->help);
        if (o->type == CONFIG_ENUM || o->choices != NULL) {
            sink_print(s, "\n; One of: ");
            bounds_print(s, o);
        }
        sink_print(s, "%s\n", o->in_effect ? "" : "\n; Accepted, without effect yet.");
        if (value != NULL)
            sink_print(s, "%s = %s\n", o->name, value);
        else
            sink_print(s, ";%s =%s%s\n", o->name, *o->default_text == '\0' ? "" : " ",
                       o->default_text);
    }
}

size_t config_write_sample(char *buf, size_t buf_size)
{
    struct sink s = {.buf = buf, .size = buf_size};
    sink_print(&s,
               "; Sample configuration of Switchgear. A line that begins with ;name shows the\n"
               "; default of an option. Durations take us ms s m h, sizes kB MB GB, shares %%.\n"
               "; `switchgear check FILE` lists every mistake in a file.\n"
               "\n[switchgear]\n");
    sample_section(&s, CONFIG_SECTION_SWITCHGEAR);
    sink_print(&s, "\n; One PostgreSQL server each.\n[node pg1]\n");
    sample_section(&s, CONFIG_SECTION_NODE);
    sink_print(&s, "\n[node pg2]\nhost = 127.0.0.1\nport = 5433\n"
                   "\n; What clients name; [database *] is any other.\n[database app]\n");
    sample_section(&s, CONFIG_SECTION_DATABASE);
    sink_print(&s, "\n; How the proxy looks at the nodes.\n[probe]\n");
    sample_section(&s, CONFIG_SECTION_PROBE);
    sink_print(&s, "\n; When a node is left alone, and how it comes back.\n[breaker]\n");
    sample_section(&s, CONFIG_SECTION_BREAKER);
    return s.used;
}

/* ---- the reference page ---- */

static void reference_section(struct sink *s, enum config_section section, const char *title,
                              const char *text)
{
    sink_print(s, "\n## %s\n\n%s\n\n", title, text);
    sink_print(s, "| key | type | default | bounds or choices | by reload | in effect | what it "
                  "does |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        if (o->section != section)
            continue;
        sink_print(s, "| `%s` | %s", o->name, type_text(o));
        if (o->type == CONFIG_DURATION || o->type == CONFIG_SIZE || o->type == CONFIG_SHARE)
            sink_print(s, " (%s)", o->unit);
        if (*o->default_text == '\0')
            sink_print(s, " | empty | ");
        else
            sink_print(s, " | `%s` | ", o->default_text);
        bounds_print(s, o);
        sink_print(s, " | %s | %s | %s |\n", o->reloadable ? "yes" : "restart",
                   o->in_effect ? "yes" : "not yet", o->help);
    }
}

static const char reference_head[] =
    "# Configuration\n\n"
    "This page is made from the table of options in `config/config_options.c`; do not edit it.\n\n"
    "The file is an INI file: sections `[switchgear]`, `[node NAME]`, `[database NAME]`, "
    "`[probe]`\n"
    "and `[breaker]`, each at most once, and in them lines `key = value` that begin in the first\n"
    "column. A `;` or `#` begins a comment line; a blank and a `;` begin a comment behind a "
    "value.\n"
    "A line has at most 4096 bytes. Nothing quotes: a password with ` ;` in it, or with blanks at "
    "its\n"
    "ends, has to go into a passfile (`options = passfile=...` of the nodes).\n\n"
    "Durations take `us`, `ms`, `s`, `m` or `h`, sizes `kB`, `MB` or `GB` (of 1024), shares `%`; "
    "a\n"
    "plain number is in the unit that stands behind the type. Booleans are `yes`, `on`, `true` or\n"
    "`1`, and `no`, `off`, `false` or `0`.\n\n"
    "Unknown sections and keys, bad values and contradictions are errors with file and line, all\n"
    "of them listed at once. An option that is not in effect yet is accepted, with a warning when\n"
    "it is set to something else than its default. A reload that changes what needs a restart is\n"
    "refused and changes nothing.\n\n"
    "`--set section.key=value` wins over the file, for example `--set switchgear.workers=2`,\n"
    "`--set node.pg1.port=5433`, `--set database.app.max_lag=1s`.\n";

static const char reference_environment[] =
    "\n## Environment\n\n"
    "Without a file, `switchgear serve` is configured by the environment:\n\n"
    "| variable | what it does |\n"
    "| --- | --- |\n"
    "| `DATABASE_URL` | The primary as a libpq URL. Its database name is what clients name. "
    "Clients "
    "log in with its user and password; without a password `auth_type` is `trust`, on loopback "
    "only. |\n"
    "| `DATABASE_READ_REPLICAS` | Replicas as libpq URLs, separated by commas (a comma inside one "
    "is `%2C`); empty: all traffic to the primary. User and password default to the primary's. |\n"
    "| `DATABASE_REPLICA_FAILOVER_THRESHOLD` | `failures` of `[breaker]`. |\n"
    "| `DATABASE_REPLICA_HEALTH_CHECK_INTERVAL` | `interval` of `[probe]`, in milliseconds. |\n\n"
    "The nodes are called `primary`, `replica1`, `replica2` and so on; the role of each is "
    "probed.\n"
    "A URL without a host means 127.0.0.1, one without a port 5432. Parameters behind the `?` are\n"
    "handed to libpq.\n";

size_t config_write_reference(char *buf, size_t buf_size)
{
    struct sink s = {.buf = buf, .size = buf_size};
    sink_print(&s, "%s", reference_head);
    reference_section(&s, CONFIG_SECTION_SWITCHGEAR, "[switchgear]",
                      "The proxy itself. PgBouncer's names mean what they mean there.");
    reference_section(&s, CONFIG_SECTION_NODE, "[node NAME]",
                      "One PostgreSQL server; at most 16. Adding or removing one needs a restart.");
    reference_section(
        &s, CONFIG_SECTION_DATABASE, "[database NAME]",
        "What clients name; at most 64. `[database *]` is any other. `switchgear` and "
        "`pgbouncer`\nare the admin console's.");
    reference_section(&s, CONFIG_SECTION_PROBE, "[probe]", "How the proxy looks at the nodes.");
    reference_section(&s, CONFIG_SECTION_BREAKER, "[breaker]",
                      "When a node is left alone, and how it comes back.");
    sink_print(&s, "%s", reference_environment);
    return s.used;
}

size_t config_write_options(char *buf, size_t buf_size)
{
    struct sink s = {.buf = buf, .size = buf_size};
    sink_print(&s, "section\tname\ttype\tunit\tdefault\tbounds\treloadable\tin_effect\thelp\n");
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        sink_print(&s, "%s\t%s\t%s\t%s\t%s\t", config_section_text(o->section), o->name,
                   type_text(o), o->unit, o->default_text);
        bounds_print(&s, o);
        sink_print(&s, "\t%s\t%s\t%s\n", o->reloadable ? "yes" : "no", o->in_effect ? "yes" : "no",
                   o->help);
    }
    return s.used;
}

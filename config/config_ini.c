/* SPDX-License-Identifier: PostgreSQL
 *
 * config_ini: the file, by inih. inih knows neither the line of a key nor a section without keys,
 * cuts long lines, joins indented ones to the value before, and reports one syntax error only: our
 * reader checks each line first and hands a blank one on in place of a bad one.
 */
#include "config_internal.h"

#include <ini.h>
#include <string.h>

struct reader {
    struct config *config;
    struct config_problems *problems;
    struct config_source source; /* with the line that was read last */
    const char *text;
    size_t size;
    size_t position;
    bool in_section;    /* a header was seen */
    bool section_known; /* and understood: else its keys are passed over */
    struct config_place place;
    char line[CONFIG_LINE_MAX + 1];
    const char *long_value; /* inside `line`: what did not fit inih's buffer; NULL: it did */
};

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\f' || ch == '\v';
}

/* Cuts an end-of-line comment and the blanks before it; returns the new size. */
static size_t comment_cut(char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (line[i] != ';' || (i > 0 && !is_blank(line[i - 1])))
            continue;
        size = i;
        break;
    }
    while (size > 0 && is_blank(line[size - 1]))
        size--;
    line[size] = '\0';
    return size;
}

/* The size of the line without its comment, in r->line; 0: nothing in it. */
static size_t line_take(struct reader *r)
{
    const char *start = r->text + r->position;
    const size_t left = r->size - r->position;
    const char *newline = memchr(start, '\n', left);
    size_t size = newline == NULL ? left : (size_t)(newline - start);
    r->position += newline == NULL ? size : size + 1;
    r->source.line++;
    if (r->source.line == 1 && size >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0) {
        start += 3; /* a byte order mark */
        size -= 3;
    }
    size_t first = 0;
    while (first < size && is_blank(start[first]))
        first++;
    if (first == size || start[first] == ';' || start[first] == '#')
        return 0;
    if (memchr(start, '\0', size) != NULL) {
        config_error(r->problems, &r->source, "the line holds a zero byte: is this a text file?");
        return 0;
    }
    if (size > CONFIG_LINE_MAX) {
        config_error(r->problems, &r->source, "the line is longer than %d bytes: shorten it",
                     CONFIG_LINE_MAX);
        return 0;
    }
    memcpy(r->line, start, size);
    return comment_cut(r->line, size);
}

static void section_unknown(struct reader *r, const char *kind)
{
    static const char *const known[] = {"switchgear", "node", "database", "probe", "breaker", NULL};
    const char *hint = "the sections are [switchgear], [node NAME], [database NAME], [probe] and "
                       "[breaker]";
    const char *nearest = config_nearest(kind, known);
    if (strcmp(kind, "pgbouncer") == 0)
        hint = "PgBouncer's settings go in [switchgear]";
    else if (strcmp(kind, "databases") == 0)
        hint = "write one section [database NAME] for each, and a [node NAME] for each server";
    else if (strcmp(kind, "nodes") == 0)
        hint = "write one section [node NAME] for each server";
    else if (strcmp(kind, "users") == 0)
        hint = "users are in the file that auth_file names";
    else if (nearest != NULL)
        hint = config_arena_print(r->config->arena, "did you mean [%s]?", nearest);
    config_error(r->problems, &r->source, "unknown section [%s]: %s", kind, hint);
}

/* "[kind name]": opens the section. False: a problem was added. */
static bool header_read(struct reader *r, size_t size)
{
    struct config_arena *a = r->config->arena;
    const char *end = strchr(r->line, ']');
    r->in_section = true;
    r->section_known = false;
    if (end == NULL) {
        config_error(r->problems, &r->source, "the section header does not end: add ]");
        return false;
    }
    if (end != r->line + size - 1) {
        config_error(r->problems, &r->source,
                     "text after the section header: put it on a line of its own");
        return false;
    }
    const char *kind = r->line + 1;
    while (kind < end && is_blank(*kind))
        kind++;
    const char *kind_end = kind;
    while (kind_end < end && !is_blank(*kind_end))
        kind_end++;
    const char *name = kind_end;
    while (name < end && is_blank(*name))
        name++;
    while (end > name && is_blank(end[-1]))
        end--;
    const char *kind_text = config_arena_copy(a, kind, (size_t)(kind_end - kind));
    const char *name_text = config_arena_copy(a, name, (size_t)(end - name));
    enum config_section section = CONFIG_SECTION_SWITCHGEAR;
    while (section <= CONFIG_SECTION_BREAKER &&
           strcmp(config_section_text(section), kind_text) != 0)
        section++;
    if (section > CONFIG_SECTION_BREAKER) {
        section_unknown(r, kind_text);
        return false;
    }
    const bool named = section == CONFIG_SECTION_NODE || section == CONFIG_SECTION_DATABASE;
    if (!named && *name_text != '\0') {
        config_error(r->problems, &r->source, "[%s] has no name: remove %s", kind_text, name_text);
        return false;
    }
    r->section_known =
        config_place_open(r->config, section, name_text, &r->source, r->problems, &r->place);
    return r->section_known;
}

/* "key = value": false when inih should not see it. */
static bool key_check(struct reader *r)
{
    const char *separator = strpbrk(r->line, "=:");
    if (is_blank(r->line[0])) {
        config_error(r->problems, &r->source,
                     "the line is indented: begin a key in the first column, and write a value on "
                     "one line");
        return false;
    }
    if (separator == NULL) {
        const size_t word = strcspn(r->line, " \t"); /* what follows may be a secret */
        config_error(r->problems, &r->source, "%.*s has no value: write key = value",
                     word > 60 ? 60 : (int)word, r->line);
        return false;
    }
    if (separator == r->line) {
        config_error(r->problems, &r->source, "there is no key before the %c", *separator);
        return false;
    }
    if (!r->in_section) {
        config_error(r->problems, &r->source,
                     "%.*s stands before the first section: put it below "
                     "[switchgear] or another one",
                     (int)(separator - r->line > 60 ? 60 : separator - r->line), r->line);
        return false;
    }
    return r->section_known;
}

/* Copies the line into inih's buffer. Of a long one only the key goes there: the value stays. */
static void line_give(struct reader *r, size_t size, char *buf, size_t buf_size)
{
    r->long_value = NULL;
    if (size + 2 > buf_size) {
        const char *separator = strpbrk(r->line, "=:");
        size = separator == NULL ? buf_size : (size_t)(separator - r->line) + 1;
        r->long_value = r->line + size;
        if (size + 2 > buf_size) {
            config_error(r->problems, &r->source, "unknown key %.60s...: remove it", r->line);
            size = 0;
        }
    }
    memcpy(buf, r->line, size);
    buf[size] = '\n';
    buf[size + 1] = '\0';
}

static char *on_read(char *buf, int buf_size, void *stream)
{
    struct reader *r = stream;
    if (r->position == r->size)
        return NULL;
    size_t size = line_take(r);
    if (size > 0) {
        if (r->line[0] == '[') {
            (void)header_read(r, size);
            size = 0; /* inih would cut its name; the section is known by r->place */
        } else if (!key_check(r)) {
            size = 0;
        }
    }
    line_give(r, size, buf, (size_t)buf_size);
    return buf;
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;
    (void)section;
    if (r->long_value != NULL) {
        while (is_blank(*r->long_value))
            r->long_value++;
        value = r->long_value;
    }
    config_apply(r->config, &r->place, name, value, &r->source, r->problems);
    return 1;
}

void config_parse_ini(struct config *c, const char *file, const char *text, size_t size,
                      struct config_problems *p)
{
    file = config_arena_copy(c->arena, file, strlen(file));
    struct reader r = {
        .config = c,
        .problems = p,
        .source = {.file = file, .rank = CONFIG_BY_FILE, .about = ""},
        .text = text,
        .size = size,
    };
    c->arena->main_file = file;
    const int bad_line = ini_parse_stream(on_read, &r, on_key, &r);
    if (bad_line < 0) {
        r.source.line = 0;
        config_error(p, &r.source, "no memory to read the file");
    } else if (bad_line > 0) { /* what our reader let pass */
        r.source.line = (uint32_t)bad_line;
        config_error(p, &r.source, "the line cannot be read: write key = value");
    }
}

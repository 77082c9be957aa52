/* SPDX-License-Identifier: PostgreSQL
 *
 * config_words: the lines of pg_hba.conf and pg_ident.conf as fields of words. Blanks part fields,
 * a comma parts the words of one field, `#` begins a comment, quotes make any text one word, and a
 * backslash at the end of a line joins the next one to it. Pure.
 */
#include "config_internal.h"

#include <assert.h>
#include <string.h>

/* Bytes of the next line with those that it is continued by. */
static size_t line_extent(const struct config_words *w)
{
    size_t end = w->position;
    bool more = true;
    while (more && end < w->size) {
        const char *line = w->text + end;
        const char *newline = memchr(line, '\n', w->size - end);
        size_t size = newline == NULL ? w->size - end : (size_t)(newline - line);
        end += newline == NULL ? size : size + 1;
        if (size > 0 && line[size - 1] == '\r')
            size--;
        more = size > 0 && line[size - 1] == '\\';
    }
    return end - w->position;
}

/* Takes it: joined, without line ends, into `ret`, which has room for line_extent() bytes. */
static size_t line_join(struct config_words *w, char *ret)
{
    const size_t end = w->position + line_extent(w);
    size_t used = 0;
    while (w->position < end) {
        const char *line = w->text + w->position;
        const char *newline = memchr(line, '\n', end - w->position);
        size_t size = newline == NULL ? end - w->position : (size_t)(newline - line);
        w->position += newline == NULL ? size : size + 1;
        w->next_line++;
        if (size > 0 && line[size - 1] == '\r')
            size--;
        if (size > 0 && line[size - 1] == '\\')
            size--;
        memcpy(ret + used, line, size);
        used += size;
    }
    return used;
}

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t';
}

/* One word from *at on, which is no blank, comma or comment, into *out, which has room for the rest
 * of the line. False: its quote does not end. */
static bool word_take(const char **at, const char *end, char **out, struct config_word *ret)
{
    const char *from = *at;
    bool quoted = false;
    *ret = (struct config_word){.text = *out, .quoted = *from == '"'};
    for (; from < end; from++) {
        if (!quoted && (is_blank(*from) || *from == ',' || *from == '#'))
            break;
        if (*from != '"') {
            *(*out)++ = *from;
        } else if (quoted && from + 1 < end && from[1] == '"') {
            *(*out)++ = *from++;
        } else {
            quoted = !quoted;
        }
    }
    *(*out)++ = '\0';
    *at = from;
    return !quoted;
}

/* NULL: the line's words are in `ret`. `out` has room for one byte more than the line. */
static const char *line_split(const char *line, const char *end, char *out, struct config_line *ret)
{
    bool joined = false; /* a comma came: the next word belongs to the same field */
    for (const char *at = line; at < end && *at != '#';) {
        if (is_blank(*at) || *at == ',') {
            joined = joined || (*at == ',' && ret->words_count > 0);
            at++;
            continue;
        }
        if (ret->words_count == CONFIG_LINE_WORDS_MAX)
            return "more than 256 words in one line: write several lines";
        if (!joined && ret->fields_count == CONFIG_LINE_FIELDS_MAX)
            return "more than 32 fields in one line: write several lines";
        if (!joined)
            ret->fields[ret->fields_count++] = ret->words_count;
        if (!word_take(&at, end, &out, &ret->words[ret->words_count++]))
            return "a quote is opened and not closed";
        joined = false;
    }
    return NULL;
}

bool config_words_next(struct config_words *w, struct config_problems *p, struct config_line *ret)
{
    while (w->position < w->size) {
        const size_t extent = line_extent(w);
        char *line = config_arena_alloc(w->arena, 2 * extent + 2);
        *ret = (struct config_line){.line = w->next_line + 1};
        if (line == NULL)
            return false; /* config_finish() says so */
        const size_t size = line_join(w, line);
        const struct config_source source = {.file = w->file, .line = ret->line, .about = ""};
        const char *wrong = NULL;
        if (memchr(line, '\0', size) != NULL)
            wrong = "the line holds a zero byte: is this a text file?";
        else if (size > CONFIG_LINE_MAX)
            wrong = "the line is too long";
        else
            wrong = line_split(line, line + size, line + extent + 1, ret);
        if (wrong != NULL)
            config_error(p, &source, "%s", wrong);
        else if (ret->words_count > 0)
            return true;
    }
    return false;
}

const struct config_word *config_line_field(const struct config_line *line, uint32_t field,
                                            uint32_t *ret_count)
{
    assert(field < line->fields_count);
    const uint32_t first = line->fields[field];
    const uint32_t next =
        field + 1 < line->fields_count ? line->fields[field + 1] : line->words_count;
    *ret_count = next - first;
    return &line->words[first];
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * config_internal: what the files of config/ share. Pure; only config/ includes it.
 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config.h"

#include <regex.h>
#include <stdarg.h>

/* ---- memory ---- */

enum { CONFIG_OPTIONS_MAX = 192 };

/* Who said it; a higher one wins. */
enum config_rank { CONFIG_BY_DEFAULT, CONFIG_BY_ENVIRONMENT, CONFIG_BY_FILE, CONFIG_BY_SET };

/* Where one value comes from. */
struct config_origin {
    const char *file; /* NULL: the default */
    uint32_t line;
    uint32_t file_line; /* of the key in the file, also when --set has won since */
    uint8_t rank;       /* enum config_rank */
    bool automatic;     /* `auto`, or nothing said */
};

struct config_origins {
    struct config_origin header; /* of the section; rank: the highest that named it */
    uint32_t header_file_line;
    struct config_origin keys[CONFIG_OPTIONS_MAX]; /* by index in config_options */
};

/* Memory that is freed at once, and for a config where its values came from. */
struct config_arena {
    struct config_chunk *chunks; /* newest first */
    size_t used;                 /* of the newest */
    size_t total;
    bool failed; /* an allocation failed, or CONFIG_MEMORY_MAX was reached */
    const char *main_file;
    struct config_regex *regexes;
    struct config_origins switchgear, probe, breaker;
    struct config_origins *nodes[CONFIG_NODES_MAX];
    struct config_origins *databases[CONFIG_DATABASES_MAX];
};
struct config_arena *config_arena_create(void);
void config_arena_destroy(struct config_arena *a);
/* Zeroed. NULL: no memory; `failed` is set. */
void *config_arena_alloc(struct config_arena *a, size_t size);
/* A copy with a NUL at its end; "" when there is no memory. */
const char *config_arena_copy(struct config_arena *a, const char *text, size_t size);
const char *config_arena_print(struct config_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- problems ---- */

/* Who speaks: for messages, and for the origin of a value. */
struct config_source {
    const char *file;
    uint32_t line;
    enum config_rank rank;
    const char *about; /* put in front of messages: "DATABASE_URL: "; "" */
};
void config_error(struct config_problems *p, const struct config_source *source, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));
void config_warning(struct config_problems *p, const struct config_source *source,
                    const char *format, ...) __attribute__((format(printf, 3, 4)));
/* File by file, by line. */
void config_problems_sort(struct config_problems *p);

/* ---- values ---- */

union config_value {
    bool boolean;
    uint64_t number;
    uint32_t share;
    int choice;
    const char *string; /* borrowed from the text */
};
/* NULL: *ret and *ret_automatic were written; else what is wrong, in memory of `scratch`. */
const char *config_value_parse(const struct config_option *o, const char *text,
                               struct config_arena *scratch, union config_value *ret,
                               bool *ret_automatic);
void config_value_store(const struct config_option *o, void *section_struct,
                        union config_value value);

/* ---- sections and keys ---- */

/* One section: its struct and where its values come from. */
struct config_place {
    enum config_section section;
    void *values;
    struct config_origins *origins;
};
const char *config_section_text(enum config_section section);
struct config_place config_place_of(struct config *c, enum config_section section, uint32_t index);
/* Finds or makes [node name] or [database name]; the other sections have no name. False: a problem
 * was added. */
bool config_place_open(struct config *c, enum config_section section, const char *name,
                       const struct config_source *source, struct config_problems *p,
                       struct config_place *ret);
const struct config_option *config_option_find(enum config_section section, const char *name);
/* The origin of the value of one key. */
struct config_origin *config_origin_of(const struct config_place *place, const char *name);
/* Checks a value and, unless a higher rank has spoken, stores it. */
void config_apply(struct config *c, const struct config_place *place, const char *key,
                  const char *value, const struct config_source *source, struct config_problems *p);
/* The same for a value that we know to be right: a string that is in the arena already. */
void config_apply_string(const struct config_place *place, const char *key, const char *value,
                         const struct config_source *source);
/* The candidate that `word` most resembles, or NULL; `candidates` ends with NULL. */
const char *config_nearest(const char *word, const char *const *candidates);

/* ---- lists ---- */

/* The next item of a comma separated list, blanks trimmed; false at the end. An empty list has no
 * items, "a,,b" has an empty one. *position starts at 0. */
struct config_item {
    const char *text;
    size_t size;
};
bool config_list_next(const char *list, size_t *position, struct config_item *ret);

/* ---- lines of words: pg_hba.conf, pg_ident.conf ---- */

enum { CONFIG_LINE_WORDS_MAX = 256, CONFIG_LINE_FIELDS_MAX = 32 };

struct config_word {
    const char *text;
    bool quoted; /* it began with a quote: no keyword, no prefix */
};
/* Field i holds the words from fields[i] on. */
struct config_line {
    uint32_t line;
    uint32_t words_count, fields_count;
    uint32_t fields[CONFIG_LINE_FIELDS_MAX];
    struct config_word words[CONFIG_LINE_WORDS_MAX];
};
struct config_words {
    struct config_arena *arena;
    const char *file; /* for messages */
    const char *text;
    size_t size, position;
    uint32_t next_line;
};
/* The next line that holds a word; lines that cannot be read are problems. False: the end. */
bool config_words_next(struct config_words *w, struct config_problems *p, struct config_line *ret);
const struct config_word *config_line_field(const struct config_line *line, uint32_t field,
                                            uint32_t *ret_count);

/* A compiled POSIX extended expression that lives as long as the arena. NULL: *ret_wrong says why.
 */
const regex_t *config_regex_make(struct config_arena *a, const char *pattern,
                                 const char **ret_wrong);

/* ---- URLs ---- */

/* A libpq URL, decoded into the arena; absent parts are "". */
struct config_url {
    const char *user, *password, *host, *port, *dbname;
    const char *options;     /* the other parameters as libpq keywords: sslmode='require' */
    const char *dropped;     /* those of frameworks, unknown to libpq: "schema, pgbouncer" */
    bool certificate_wanted; /* one of these asked for the server's certificate to be checked */
};
/* NULL: *ret was filled; else what is wrong, in memory of the arena. */
const char *config_url_parse(struct config_arena *a, const char *text, struct config_url *ret);
/* keyword='value', quoted for libpq, appended to `options`. */
const char *config_keyword_append(struct config_arena *a, const char *options, const char *keyword,
                                  const char *value);
/* NULL when `text` is a list of keyword=value as libpq reads it, naming no host, port or dbname. */
const char *config_keywords_check(struct config_arena *scratch, const char *text);

/* Adds users and sorts; a name that is there twice is an error. */
struct config_user_line {
    struct config_user user;
    uint32_t line;
};
void config_users_add(struct config *c, const struct config_user_line *lines, uint32_t count,
                      const char *file, struct config_problems *p);

bool config_value_is_default(const struct config_option *o, const void *section_struct,
                             struct config_arena *scratch);

/* Contradictions between values, before config_finish() works out what is inherited; it has named
 * the shards by then. */
void config_check(struct config *c, struct config_problems *p);
void config_tls_check(struct config *c, struct config_problems *p);
/* Makes the names of files absolute, as far as the configuration file's own is. */
void config_tls_finish(struct config *c);
void config_check_auth(struct config *c, struct config_problems *p);
/* Where a key was set; the section where it was not; else the whole. */
struct config_source config_at_key(const struct config *c, const struct config_place *place,
                                   const char *key);

/* ---- config_network.c ---- */

void config_check_network(struct config *c, struct config_problems *p);

#endif

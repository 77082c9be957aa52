/* SPDX-License-Identifier: PostgreSQL
 *
 * core_settings: what a session has SET, as values that never change. A set is an ordered list of
 * settings, each with the statement that makes it; equal sets of a worker are one object, so that
 * two are compared by their hash or address, and a transaction's snapshot is a pointer.
 *
 * Pure; one worker's thread; reference-counted. Making one is the cold path.
 */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include "core.h"
#include "router_change.h"

enum {
    CORE_SETTINGS_COUNT_MAX = 128, /* of one session; one more pins it */
    CORE_SETTINGS_TEXT_MAX = 16 * 1024,
    CORE_SETTING_TEXT_MAX = 16 * 1024, /* of one that a client brings along */
    CORE_SETTINGS_UNKNOWN = 1,         /* of a backend: no set has this hash */
};

struct core_setting {
    const char *name; /* lower case */
    const char *text; /* a statement that makes it */
    uint8_t flags;    /* enum router_setting_flag bits */
};

struct core_settings {
    struct core_settings *next;     /* in its hash chain */
    uint64_t hash;                  /* 0: empty */
    uint8_t salt[CORE_DIGEST_SIZE]; /* of those that parsing depends on */
    uint32_t references;
    uint32_t count;
    uint32_t texts_size;
    bool salted;
    uint8_t flags; /* of all together */
    struct core_setting items[];
};

/*
 * A setting as set_config(), in `text`, which it points at like at `name` (in lower case), rather
 * than as SET: a list such as search_path=a,b is to be read as in a start-up packet, and not as one
 * name. False: it does not fit.
 */
bool core_setting_make(const char *name, const char *value, char text[CORE_SETTING_TEXT_MAX],
                       struct core_setting *ret);

/* False: no memory. */
bool core_settings_init(struct core_worker *w);
void core_settings_deinit(struct core_worker *w);

/* The empty set; one reference, as of all that return a set. */
struct core_settings *core_settings_none(struct core_worker *w);
static inline struct core_settings *core_settings_hold(struct core_settings *set)
{
    assert(set != NULL && set->references > 0);
    set->references++;
    return set;
}
void core_settings_release(struct core_worker *w, struct core_settings *set);

/* enum router_setting_flag bits of what is in force: the client's own, and the server's. */
static inline uint8_t core_settings_flags(const struct core_session *s)
{
    return s->settings != NULL ? s->settings->flags | s->told_flags : 0;
}

/* Does its server read texts otherwise than our lexer? Then nobody knows what one of them does. */
static inline bool core_is_misread(const struct core_session *s)
{
    return (core_settings_flags(s) & ROUTER_SETTING_LEXER) != 0;
}

/* With one more, or another value of it, at the end: settings are made again in the order in which
 * the client made them, since a role may forbid what another allowed. client_encoding comes first;
 * `start`: the texts are a start-up packet's, which an encoding does not touch. NULL: it cannot be
 * followed (too many, or their texts would mean something else in another encoding). */
struct core_settings *core_settings_with(struct core_worker *w, const struct core_settings *set,
                                         const struct core_setting *one, bool start);
/* RESET: `name` as it is in `start`, or not at all. NULL: as above. */
struct core_settings *core_settings_reset(struct core_worker *w, const struct core_settings *set,
                                          const struct core_settings *start, const char *name);
/* RESET ALL keeps role and session_authorization; DISCARD ALL (`discard`) does not even keep the
 * start-up packet's. */
struct core_settings *core_settings_reset_all(struct core_worker *w,
                                              const struct core_settings *set,
                                              const struct core_settings *start, bool discard);
/* Those of `start` that `set` has unchanged. */
struct core_settings *core_settings_common(struct core_worker *w, const struct core_settings *set,
                                           const struct core_settings *start);
/* Has it brought a seed of random() along, which only a reset takes back? */
static inline bool core_settings_seed(const struct core_session *s)
{
    return (core_settings_flags(s) & ROUTER_SETTING_SEED) != 0;
}
bool core_settings_has(const struct core_settings *set, const char *name);

/* Writes the simple Queries that bring a backend from any settings to these. `fresh`: it has none.
 * `apart`: what is reset goes alone, so that the server tells every parameter that these settings
 * change, even to a value that it had. Returns how many. */
uint32_t core_settings_write(const struct core_settings *set, bool fresh, bool apart,
                             struct proto_writer *w);

#endif

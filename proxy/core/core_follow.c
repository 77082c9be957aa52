/* SPDX-License-Identifier: PostgreSQL
 *
 * core_follow: keeps a session's settings as its server keeps them. What a statement changes is
 * read as it is sent, and counts when its CommandComplete has come; what a transaction or a
 * savepoint takes back is taken back here too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_follow.h"
#include "core_internal.h"
#include "core_pin.h"
#include "core_settings.h"

enum { SAVEPOINTS_MAX = 4096 };

struct savepoint {
    struct core_settings *settings;
    bool off;
    bool local_salted;
    char name[254];
};

/* ---- savepoints: a run of them in a block ---- */

static uint32_t savepoints_count(const struct core_session *s)
{
    return (uint32_t)(core_block_span(s->savepoints).size / sizeof(struct savepoint));
}

static struct savepoint *savepoint_at(struct core_session *s, uint32_t nth)
{
    return (struct savepoint *)(void *)(s->savepoints->data + s->savepoints->start) + nth;
}

static void savepoints_cut(struct core_session *s, uint32_t count)
{
    for (uint32_t i = savepoints_count(s); i-- > count;)
        core_settings_release(s->worker, savepoint_at(s, i)->settings);
    if (s->savepoints == NULL)
        return;
    s->savepoints->size = s->savepoints->start + count * (uint32_t)sizeof(struct savepoint);
    if (count == 0)
        core_block_give(s->worker, &s->savepoints);
}

/* The newest of this name, or -1. */
static int64_t savepoint_find(struct core_session *s, const char *name)
{
    for (uint32_t i = savepoints_count(s); i-- > 0;)
        if (strcmp(savepoint_at(s, i)->name, name) == 0)
            return i;
    return -1;
}

/* False: too many. */
static bool savepoint_push(struct core_session *s, const char *name)
{
    struct savepoint one = {
        .settings = s->settings, .off = s->settings_off, .local_salted = s->local_salted};
    if (savepoints_count(s) == SAVEPOINTS_MAX || strlen(name) >= sizeof(one.name))
        return false;
    memcpy(one.name, name, strlen(name) + 1);
    (void)core_settings_hold(s->settings);
    core_block_append(s->worker, &s->savepoints,
                      (struct proto_span){.base = (const uint8_t *)&one, .size = sizeof(one)});
    return true;
}

/* ---- what changes ---- */

/* Takes the reference. */
static void replace(struct core_session *s, struct core_settings *next)
{
    core_settings_release(s->worker, s->settings);
    s->settings = next;
}

void core_follow_adopt(struct core_session *s, struct core_settings *next)
{
    replace(s, next);
}

static void remember(struct core_session *s)
{
    if (s->settings_before != NULL)
        return;
    s->settings_before = core_settings_hold(s->settings);
    s->settings_off_before = s->settings_off;
}

static void transaction_over(struct core_session *s, bool committed)
{
    if (s->settings_before != NULL && committed) {
        core_settings_release(s->worker, s->settings_before);
    } else if (s->settings_before != NULL) {
        replace(s, s->settings_before);
        s->settings_off = s->settings_off_before;
    }
    s->settings_before = NULL;
    s->local_salted = false;
    savepoints_cut(s, 0);
}

void core_follow_lose(struct core_session *s, struct core_actions *a)
{
    if (s->backend->is_replica)
        core_fatal(s, "54000", "too many settings or savepoints in a READ ONLY transaction", NULL,
                   a);
    else
        core_pin_force(s, ROUTER_PIN_SET | ROUTER_PIN_OTHER);
}

static void salt_local(struct core_session *s, const char *text)
{
    uint8_t bytes[CORE_DIGEST_SIZE + ROUTER_CHANGE_TEXT_MAX + 1] = {0};
    uint8_t digest[PROTO_SHA256_SIZE];
    const size_t size = strlen(text);
    assert(size <= ROUTER_CHANGE_TEXT_MAX);
    if (s->local_salted)
        memcpy(bytes, s->local_salt, sizeof(s->local_salt));
    memcpy(bytes + CORE_DIGEST_SIZE, text, size + 1);
    if (size == 0) { /* not known: like no other */
        const uint64_t id = ++s->worker->next_id;
        memcpy(bytes + CORE_DIGEST_SIZE + 1, &id, sizeof(id));
    }
    s->worker->hashes->sha256(bytes, CORE_DIGEST_SIZE + 1 + (size > 0 ? size : sizeof(uint64_t)),
                              digest);
    memcpy(s->local_salt, digest, sizeof(s->local_salt));
    s->local_salted = true;
}

static void roll_back_to(struct core_session *s, const char *name, struct core_actions *a)
{
    const int64_t found = savepoint_find(s, name);
    if (found < 0) {
        if (s->settings_before != NULL)
            core_follow_lose(s, a);
        return;
    }
    const struct savepoint *to = savepoint_at(s, (uint32_t)found);
    replace(s, core_settings_hold(to->settings));
    s->settings_off = to->off;
    const bool local = to->local_salted || s->local_salted;
    savepoints_cut(s, (uint32_t)found + 1);
    if (local)
        salt_local(s, "");
}

/* `next` NULL: it cannot be followed. */
static void set(struct core_session *s, struct core_settings *next, bool off,
                struct core_actions *a)
{
    if (next == NULL) {
        core_follow_lose(s, a);
        return;
    }
    remember(s);
    replace(s, next);
    s->settings_awaited = false;
    s->settings_off = s->settings_off || off;
    s->backend->settings_hash = CORE_SETTINGS_UNKNOWN; /* until the session leaves it */
}

static bool tag_is(struct proto_span body, const char *word)
{
    const size_t size = strlen(word);
    return body.size > size && memcmp(body.base, word, size) == 0;
}

/* A failed block answers COMMIT with ROLLBACK. (What the last ReadyForQuery said does not tell: the
 * block may have begun since, in the same string or batch.) */
static bool is_committed(struct proto_span tag)
{
    return !tag_is(tag, "ROLLBACK");
}

static void apply(struct core_session *s, const struct router_changes *changes,
                  const struct router_change *c, struct proto_span tag, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    const struct core_settings *start = s->profile->start;
    const char *name = changes->texts + c->name;
    const struct core_setting one = {name, changes->texts + c->text, c->flags};
    const bool discard = c->kind == ROUTER_CHANGE_DISCARD_ALL;
    int64_t found;
    switch ((enum router_change_kind)c->kind) {
    case ROUTER_CHANGE_SET:
        set(s, core_settings_with(w, s->settings, &one, false), false, a);
        break;
    case ROUTER_CHANGE_RESET:
        set(s, core_settings_reset(w, s->settings, start, name), core_settings_has(start, name), a);
        break;
    case ROUTER_CHANGE_RESET_ALL:
    case ROUTER_CHANGE_DISCARD_ALL:
        set(s, core_settings_reset_all(w, s->settings, start, discard), start->count > 0, a);
        break;
    case ROUTER_CHANGE_LOCAL:
        salt_local(s, one.text);
        break;
    case ROUTER_CHANGE_COMMIT:
        transaction_over(s, is_committed(tag));
        break;
    case ROUTER_CHANGE_ROLLBACK:
        transaction_over(s, false);
        break;
    case ROUTER_CHANGE_SAVEPOINT:
        if (!savepoint_push(s, name))
            core_follow_lose(s, a);
        break;
    case ROUTER_CHANGE_RELEASE:
        found = savepoint_find(s, name);
        if (found >= 0)
            savepoints_cut(s, (uint32_t)found);
        break;
    case ROUTER_CHANGE_DEALLOCATE:
        core_lend_forget(s, name);
        break;
    case ROUTER_CHANGE_ROLLBACK_TO:
        roll_back_to(s, name, a);
        break;
    }
}

/* ---- sent, answered ---- */

/* SAVEPOINT x, RELEASE x, ROLLBACK TO x: read without the parser, as some drivers send one around
 * every statement. NULL: let the parser do it. */
static struct router_changes *read_savepoint(struct proto_span text)
{
    static const char *const filling[] = {"to", "savepoint", "work", "transaction"};
    const char *base = (const char *)text.base;
    struct router_lexer lexer = router_lexer_make(base, text.size);
    struct router_token words[6];
    uint32_t count = 0;
    for (struct router_token t = router_lexer_next(&lexer); t.kind != ROUTER_TOKEN_END;
         t = router_lexer_next(&lexer)) {
        if (t.kind == ROUTER_TOKEN_SELF && base[t.start] == ';')
            continue;
        if (t.kind != ROUTER_TOKEN_WORD || count == 6)
            return NULL;
        words[count++] = t;
    }
    if (count < 2)
        return NULL;
    for (uint32_t i = 1; i + 1 < count; i++) {
        bool fills = false;
        for (size_t f = 0; f < sizeof(filling) / sizeof(filling[0]); f++)
            fills = fills || (strlen(filling[f]) == words[i].size &&
                              strncasecmp(base + words[i].start, filling[f], words[i].size) == 0);
        if (!fills)
            return NULL;
    }
    const char first = (char)(base[words[0].start] | 0x20);
    const char second = (char)(base[words[0].start + 1] | 0x20);
    return router_changes_savepoint(first == 's'                    ? ROUTER_CHANGE_SAVEPOINT
                                    : first == 'r' && second == 'e' ? ROUTER_CHANGE_RELEASE
                                                                    : ROUTER_CHANGE_ROLLBACK_TO,
                                    base + words[count - 1].start, words[count - 1].size);
}

enum core_follow core_follow_read(struct core_session *s, const struct router_class *class,
                                  struct proto_span text, struct router_changes **ret_changes)
{
    *ret_changes = NULL;
    if (class->ends)
        return CORE_FOLLOW_COMMIT;
    if (class->rolls_back)
        return CORE_FOLLOW_ROLLBACK;
    if (class->unread)
        return CORE_FOLLOW_UNREAD;
    if (!class->changes)
        return CORE_FOLLOW_NOTHING;
    if (class->alone && class->reason == ROUTER_REASON_SAVEPOINT)
        *ret_changes = read_savepoint(text);
    if (*ret_changes == NULL) {
        s->worker->work += CORE_WORK_PARSE + text.size * CORE_WORK_PARSED_BYTE;
        *ret_changes = router_changes_read((const char *)text.base, text.size);
    }
    return *ret_changes != NULL ? CORE_FOLLOW_CHANGES : CORE_FOLLOW_UNREAD;
}

/* Does what a statement's text means depend on it? */
static bool moves_salt(const struct core_session *s, const struct router_changes *changes)
{
    for (uint32_t i = 0; i < changes->count; i++) {
        const struct router_change *c = &changes->items[i];
        const char *name = changes->texts + c->name;
        const struct router_name span = {.base = name, .size = strlen(name)};
        switch ((enum router_change_kind)c->kind) {
        case ROUTER_CHANGE_SET:
        case ROUTER_CHANGE_RESET:
            if ((router_setting_flags(span, span) & ROUTER_SETTING_PARSES) != 0)
                return true;
            break;
        case ROUTER_CHANGE_RESET_ALL:
        case ROUTER_CHANGE_DISCARD_ALL:
        case ROUTER_CHANGE_LOCAL:
            return true;
        case ROUTER_CHANGE_COMMIT:
        case ROUTER_CHANGE_ROLLBACK:
        case ROUTER_CHANGE_ROLLBACK_TO:
            if (core_follow_pending(s))
                return true;
            break;
        case ROUTER_CHANGE_SAVEPOINT:
        case ROUTER_CHANGE_DEALLOCATE:
        case ROUTER_CHANGE_RELEASE:
            break;
        }
    }
    return false;
}

void core_follow_sent(struct core_session *s, struct core_expect *e, enum core_follow follow,
                      struct router_changes *changes)
{
    assert(e->changes == NULL);
    e->follow = (uint8_t)follow;
    e->changes = changes;
    if (follow == CORE_FOLLOW_CHANGES || follow == CORE_FOLLOW_UNREAD) {
        s->settings_hidden = false; /* behind a Flush: what it changes is reported along */
        s->worker->work += s->settings->texts_size * CORE_WORK_HASHED_BYTE; /* when answered */
    }
    const bool moves = changes != NULL ? moves_salt(s, changes) : core_follow_pending(s);
    if (!moves)
        return;
    s->salt_unique = true;
    s->salt_id = ++s->worker->next_id;
}

/* Of a text that is too long, or in a grammar that the parser does not know. */
static void completed_unread(struct core_session *s, struct proto_span tag)
{
    static const char *const harmless[] = {"INSERT ", "UPDATE ", "DELETE ",  "MERGE ",
                                           "SELECT ", "COPY ",   "BEGIN",    "START TRANSACTION",
                                           "FETCH ",  "EXPLAIN", "VACUUM",   "ANALYZE",
                                           "ALTER ",  "DROP ",   "GRANT",    "REVOKE",
                                           "CALL",    "DO",      "TRUNCATE", "CREATE INDEX"};
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
        if (tag_is(tag, harmless[i]))
            return;
    if (tag_is(tag, "COMMIT"))
        transaction_over(s, true);
    else if (tag_is(tag, "ROLLBACK"))
        transaction_over(s, false);
    else if (!s->backend->is_replica && !s->left_unknown) /* else the server will be asked */
        core_pin_force(s, ROUTER_PIN_LONG);
}

void core_follow_completed(struct core_backend *b, struct core_expect *e, struct proto_span body,
                           struct core_actions *a)
{
    struct core_session *s = b->session;
    uint32_t statement = e->completed++;
    if (s == NULL)
        return;
    switch ((enum core_follow)e->follow) {
    case CORE_FOLLOW_NOTHING:
    case CORE_FOLLOW_ASKED:
    case CORE_FOLLOW_LEFT:
        return;
    case CORE_FOLLOW_RESTORED:
        s->settings_off = false;
        return;
    case CORE_FOLLOW_COMMIT:
        if (core_follow_pending(s))
            transaction_over(s, is_committed(body));
        return;
    case CORE_FOLLOW_ROLLBACK:
        if (core_follow_pending(s))
            transaction_over(s, false);
        return;
    case CORE_FOLLOW_CHANGES:
        statement = core_splice_completed(s, e->changes, statement);
        for (uint32_t i = 0; i < e->changes->count; i++)
            if (e->changes->items[i].statement == statement)
                apply(s, e->changes, &e->changes->items[i], body, a);
        return;
    case CORE_FOLLOW_UNREAD:
        completed_unread(s, body);
        return;
    }
}

/* All of its rows may have come, or none: a function that sets has set. */
void core_follow_suspended(struct core_backend *b, struct core_expect *e, struct core_actions *a)
{
    if (e->follow == CORE_FOLLOW_CHANGES)
        core_follow_completed(b, e, (struct proto_span){0}, a);
    else if (b->session != NULL && !b->is_replica)
        core_pin_force(b->session, ROUTER_PIN_SET |
                                       ROUTER_PIN_OTHER); /* its end will come to another Execute */
}

/* SET DateStyle may name only half of it, and keeps the other half of what there was: made again
 * elsewhere it would be another value. What the server says that it is now stands for all of it. */
void core_follow_reported(struct core_session *s, const struct proto_parameter *parameter)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz, ";
    char value[32];
    char text[sizeof(value) + 32];
    const struct proto_span name = core_span("DateStyle");
    if (s->settings == NULL || s->settings_off || s->settings_hidden || s->preflight ||
        parameter->name.size != name.size ||
        memcmp(parameter->name.base, name.base, name.size) != 0 ||
        parameter->value.size >= sizeof(value) || !core_settings_has(s->settings, "datestyle"))
        return;
    memcpy(value, parameter->value.base, parameter->value.size);
    value[parameter->value.size] = '\0';
    if (strspn(value, allowed) != parameter->value.size)
        return;
    (void)snprintf(text, sizeof(text), "SET datestyle = '%s'", value);
    const struct core_setting one = {"datestyle", text, ROUTER_SETTING_PARSES};
    struct core_settings *next = core_settings_with(s->worker, s->settings, &one, false);
    if (next == NULL)
        return;
    remember(s);
    replace(s, next);
}

void core_follow_ready(struct core_session *s)
{
    const bool failed = s->group_failed;
    s->group_failed = false;
    if (s->bound != NULL && s->backend->status == 'I' && s->syncs == 0 && !s->unsynced &&
        !s->emitting)
        core_bound_clear(
            s); /* the transaction's portals are gone, and nothing else is on its way */
    if (s->backend->status == 'I' && core_follow_pending(s))
        transaction_over(s, !failed);
}

void core_follow_over(struct core_session *s)
{
    if (core_follow_pending(s))
        transaction_over(s, true);
}

/* ---- coming and going ---- */

void core_follow_attach(struct core_session *s)
{
    s->settings_off = s->settings != NULL && s->backend->settings_hash != s->settings->hash;
}

void core_follow_detach(struct core_session *s)
{
    struct core_backend *b = s->backend;
    core_bound_clear(s);
    if (s->settings == NULL)
        return;
    const bool back = b->status != 'I' && s->settings_before != NULL; /* it will be rolled back */
    const bool off = back ? s->settings_off_before : s->settings_off;
    const struct core_settings *last = back ? s->settings_before : s->settings;
    const bool known = !off && !s->preflight;
    b->settings_hash = known ? last->hash : CORE_SETTINGS_UNKNOWN;
    b->with_role = !known || (last->flags & ROUTER_SETTING_ROLE) != 0;
    s->settings_off = s->settings_fly = s->settings_hidden = false;
}

void core_follow_deinit(struct core_session *s)
{
    savepoints_cut(s, 0);
    core_bound_clear(s);
    if (s->settings_before != NULL)
        core_settings_release(s->worker, s->settings_before);
    if (s->settings != NULL)
        core_settings_release(s->worker, s->settings);
    s->settings = s->settings_before = NULL;
}

bool core_follow_salt(const struct core_session *s, uint8_t ret[CORE_DIGEST_SIZE])
{
    const bool salted = s->settings->salted;
    if (!salted && !s->local_salted && !s->salt_unique)
        return false;
    memset(ret, 0, CORE_DIGEST_SIZE);
    if (salted)
        memcpy(ret, s->settings->salt, CORE_DIGEST_SIZE);
    for (size_t i = 0; s->local_salted && i < CORE_DIGEST_SIZE; i++)
        ret[i] ^= s->local_salt[i];
    const uint64_t id = s->salt_unique ? s->salt_id : 0;
    for (size_t i = 0; i < sizeof(id); i++)
        ret[i] ^= (uint8_t)(id >> (8 * i));
    return true;
}

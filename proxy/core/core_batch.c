/* SPDX-License-Identifier: PostgreSQL
 *
 * core_batch: where a batch ends, and what it is as a whole. A batch is one simple Query, or all
 * extended messages up to Sync or Flush. Nothing is sent from here, nothing of the session changes.
 */
#include "core_begin.h"
#include "core_internal.h"
#include "core_known.h"
#include "core_stmt.h"

enum { BATCH_NAMES_MAX = 16, EARLY_PARTS = 32 };

/* Statements that the batch itself parses: a later Bind in it may name them. */
struct batch_names {
    uint64_t work_max; /* above this the batch takes too long to be read whole */
    uint32_t set_size; /* bytes of statements that set something */
    uint32_t count;
    struct batch_name {
        struct proto_span name;
        struct router_class class;
        bool bound; /* a Bind has named it: a further one is a further statement */
    } items[BATCH_NAMES_MAX];
};

/* Which verdict decides when several come together: the higher one. */
static int weight(const struct router_class *c)
{
    switch ((enum router_verdict)c->verdict) {
    case ROUTER_VERDICT_LOCAL:
        return 0;
    case ROUTER_VERDICT_READ:
        return 1;
    case ROUTER_VERDICT_TRANSACTION:
        return 2;
    case ROUTER_VERDICT_WRITE:
        return 3;
    case ROUTER_VERDICT_SESSION:
        return 4;
    case ROUTER_VERDICT_PIN:
    case ROUTER_VERDICT_COUNT:
        break;
    }
    return 5;
}

static void merge(struct core_batch *batch, const struct router_class *c, bool first)
{
    if (first) {
        batch->class = *c;
        return;
    }
    struct router_class *into = &batch->class;
    const struct router_class was = *into;
    if (weight(c) > weight(into))
        *into = *c;
    /* Parse, Bind and Describe of one DEALLOCATE ALL are still nothing but that */
    into->alone = was.alone && c->alone && was.forgets_statements && c->forgets_statements &&
                  was.reason == ROUTER_REASON_DEALLOCATE && c->reason == ROUTER_REASON_DEALLOCATE;
    into->begin = ROUTER_BEGIN_NONE;
    into->begins = was.begins || c->begins;
    into->local = ROUTER_LOCAL_NONE;
    into->signals = 0; /* of one statement alone */
    into->ends = into->rolls_back = into->unpins = into->set_read_only = false;
    into->releases = 0;
    into->pins = was.pins | c->pins;
    into->asks = was.asks | c->asks;
    into->names_prepared = was.names_prepared || c->names_prepared;
    into->changes = was.changes || c->changes;
    into->resets = was.resets || c->resets;
    into->unread = was.unread || c->unread;
    into->writes = was.writes || c->writes;
    into->taints = was.taints || c->taints;
    into->has_transaction = core_ends_inside(&was) || core_ends_inside(c) || was.begin != 0 ||
                            c->begin != 0 || c->ends || was.ends || c->rolls_back || was.rolls_back;
    into->changes_seed = was.changes_seed || c->changes_seed;
    into->uses_random = was.uses_random || c->uses_random;
    into->asks_sequence = was.asks_sequence || (c->asks_sequence && !was.moves_sequence);
    into->moves_sequence = was.moves_sequence || c->moves_sequence;
    into->proven = was.proven && c->proven;
    into->home = was.home || c->home;
    into->outside = was.outside || c->outside;
    into->acts = was.acts || c->acts;
    into->opaque = was.opaque || c->opaque;
    into->keeps = was.keeps || c->keeps;
    into->changes_catalog = was.changes_catalog || c->changes_catalog;
    into->makes_names = was.makes_names || c->makes_names;
    into->by_node_type = was.by_node_type || c->by_node_type;
    into->forgets_statements = was.forgets_statements || c->forgets_statements;
}

static void remember_hash(struct core_batch *batch, const struct router_hash *hash)
{
    if (batch->hashes_count < CORE_HASHES_MAX)
        batch->hashes[batch->hashes_count++] = *hash;
}

static const struct router_class unknown_statement = {
    .verdict = ROUTER_VERDICT_WRITE, .reason = ROUTER_REASON_UNKNOWN_STATEMENT, .alone = true};

static const struct router_class unknown_prepared = {.verdict = ROUTER_VERDICT_WRITE,
                                                     .reason = ROUTER_REASON_UNKNOWN_STATEMENT,
                                                     .alone = true,
                                                     .writes = true,
                                                     .taints = true};

/* More than is tracked: the primary. */
static void beyond(struct router_class *c)
{
    if (weight(c) >= weight(&unknown_statement))
        return;
    c->verdict = unknown_statement.verdict;
    c->reason = unknown_statement.reason;
}

/* What has just been classified, in this session. */
static void settle(const struct core_session *s, struct core_batch *batch, struct core_known *known)
{
    remember_hash(batch, &known->hash);
    if (s->seed_set && known->class.uses_random && known->class.verdict == ROUTER_VERDICT_READ) {
        known->class.verdict = ROUTER_VERDICT_WRITE;
        known->class.reason = ROUTER_REASON_SETSEED;
    }
}

/* The batch's own latest Parse of this name, or NULL. */
static struct batch_name *own_name(struct batch_names *names, struct proto_span name)
{
    for (uint32_t i = names->count; i-- > 0;) {
        struct batch_name *item = &names->items[i];
        if (item->name.size == name.size &&
            (name.size == 0 || memcmp(item->name.base, name.base, name.size) == 0))
            return item;
    }
    return NULL;
}

/* What is kept of a statement, as this session sees it now. */
static inline const struct router_class *kept_class(struct core_session *s,
                                                    struct core_known *known,
                                                    struct proto_span text,
                                                    struct core_batch *batch)
{
    core_known_refresh(s, known, text);
    /* a replica has run it since it was parsed, for this or another session */
    if (!known->class.proven && !known->typed && known->class.verdict == ROUTER_VERDICT_READ)
        known->class.proven = router_cache_proven(s->worker->cache, &known->hash);
    remember_hash(batch, &known->hash);
    return &known->class;
}

/* The class of what a Bind or Describe names. NULL: the batch's own Parse has brought it in
 * already, so that Parse, Describe, Bind and Execute of one statement are one statement. */
static const struct router_class *bound_class(struct core_session *s, struct batch_names *names,
                                              struct proto_span name, bool binds,
                                              struct core_batch *batch)
{
    struct batch_name *own = own_name(names, name);
    if (own != NULL) {
        const bool again = binds && own->bound;
        own->bound = own->bound || binds;
        return again ? &own->class : NULL;
    }
    if (name.size > 0) {
        struct core_stmt *stmt = core_names_find(s->names, name);
        if (stmt != NULL)
            return kept_class(s, &stmt->known, core_stmt_text(stmt), batch);
    } else {
        batch->uses_unnamed = true;
        struct core_unnamed *u = s->unnamed_id != 0 ? (void *)s->unnamed->data : NULL;
        if (u != NULL)
            return kept_class(s, &u->known, core_unnamed_text(s), batch);
    }
    /* made by PREPARE, perhaps: nobody remembers what it is */
    return (s->pins & ROUTER_PIN_PREPARE) != 0 ? &unknown_prepared : &unknown_statement;
}

enum core_message core_message_check(uint8_t type, struct proto_span body)
{
    struct proto_parse parse;
    struct proto_bind bind;
    struct proto_target target;
    size_t longest = 0;
    bool good = true;
    switch (type) {
    case 'P':
        good = proto_parse_read(body, &parse) == PROTO_OK;
        longest = good ? parse.name.size : 0;
        break;
    case 'B':
        good = proto_bind_peek(body, &bind) == PROTO_OK;
        if (good)
            longest =
                bind.portal.size > bind.statement.size ? bind.portal.size : bind.statement.size;
        break;
    case 'D':
    case 'C':
        good = proto_target_read(body, &target) == PROTO_OK;
        longest = good ? target.name.size : 0;
        break;
    case 'H':
        good = body.size == 0;
        break;
    default:
        break;
    }
    return !good                          ? CORE_MESSAGE_MALFORMED
           : longest > CORE_NAME_SIZE_MAX ? CORE_MESSAGE_LONG_NAME
                                          : CORE_MESSAGE_GOOD;
}

/* A further statement of an extended batch. `half`: the one before it is not executed yet. */
static void note_end(struct core_batch *batch, const struct router_class *c, bool half)
{
    if (batch->end == CORE_END_SEEN)
        batch->end = CORE_END_OTHER;
    else if (c->ends || c->rolls_back)
        batch->end =
            !half && batch->class.verdict == ROUTER_VERDICT_READ ? CORE_END_SEEN : CORE_END_OTHER;
}

/* Nobody says that it writes, and nobody that it does not. */
static bool is_doubtful(const struct router_class *c)
{
    return !c->proven && !c->writes && c->verdict != ROUTER_VERDICT_LOCAL;
}

static void merge_next(struct core_batch *batch, const struct router_class *c, bool *first,
                       bool half)
{
    if (!*first)
        note_end(batch, c, half);
    merge(batch, c, *first);
    batch->doubtful = batch->doubtful || is_doubtful(c);
    batch->all_local = (*first || batch->all_local) && c->verdict == ROUTER_VERDICT_LOCAL;
    *first = false;
}

/* What a Parse brings along. */
static void parsed_class(struct core_session *s, struct batch_names *names,
                         const struct proto_parse *parse, struct core_batch *batch,
                         struct router_class *ret)
{
    struct core_known known;
    core_classify_parse(s, parse, &known);
    settle(s, batch, &known);
    *ret = known.class;
    if (batch->messages == 0 && parse->name.size == 0) {
        s->parse_known = known;
        batch->parse_known_valid = true;
    }
    if (names->count < BATCH_NAMES_MAX)
        names->items[names->count++] = (struct batch_name){.name = parse->name, .class = *ret};
    else
        beyond(ret);
}

/* Who asks the unnamed portal for one row wants that row; who asks for more goes on, perhaps behind
 * another statement. A limit below zero is none. */
static bool is_read_in_pieces(struct proto_span execute)
{
    const uint32_t rows = proto_load_u32(execute.base + execute.size - 4);
    return rows > 1 && rows <= INT32_MAX;
}

/* One message of an extended batch. False: the server, or we, will find an error in it. */
/* The answer to each SET makes the session's settings anew, those that the batch has made, too. */
static bool may_set_more(struct core_session *s, struct batch_names *names, uint32_t size)
{
    names->set_size += size;
    s->worker->work += (s->settings->texts_size + names->set_size) * CORE_WORK_HASHED_BYTE;
    return s->worker->work <= names->work_max;
}

static bool scan_message(struct core_session *s, struct proto_header h, struct proto_span body,
                         struct batch_names *names, struct core_batch *batch, bool *first)
{
    struct router_class parsed;
    const struct router_class *class = &parsed;
    struct proto_parse parse;
    struct proto_bind bind;
    struct proto_target target;
    bool half = false;
    switch (h.type) {
    case 'P':
        if (proto_parse_read(body, &parse) != PROTO_OK || parse.name.size > CORE_NAME_SIZE_MAX)
            return false;
        batch->names = batch->names || parse.name.size > 0;
        batch->drops_unnamed = batch->drops_unnamed || parse.name.size == 0;
        half = batch->bound;
        if (s->worker->work > names->work_max)
            return false;
        parsed_class(s, names, &parse, batch, &parsed);
        batch->needs_server = true;
        break;
    case 'B':
        if (proto_bind_peek(body, &bind) != PROTO_OK || bind.statement.size > CORE_NAME_SIZE_MAX ||
            bind.portal.size > CORE_NAME_SIZE_MAX)
            return false;
        batch->names = batch->names || bind.statement.size > 0;
        half = batch->bound;
        batch->needs_server = batch->binds = batch->bound = true;
        batch->opens = batch->opens || bind.portal.size > 0;
        class = bound_class(s, names, bind.statement, true, batch);
        break;
    case 'E':
        batch->needs_server = batch->executes = true;
        if (batch->end == CORE_END_SEEN && batch->runs < 2)
            batch->runs++;
        batch->opens =
            batch->opens || body.size != 5 || body.base[0] != '\0' || is_read_in_pieces(body);
        batch->continues = batch->continues || !batch->bound;
        batch->bound = false;
        batch->executes_unbound = batch->executes_unbound || !batch->binds;
        return true;
    case 'D':
    case 'C':
        if (proto_target_read(body, &target) != PROTO_OK || target.name.size > CORE_NAME_SIZE_MAX)
            return false;
        batch->names = batch->names || (target.what == 'S' && target.name.size > 0);
        if (h.type == 'C' && target.what == 'S' && target.name.size > 0)
            return true;
        batch->needs_server = true;
        if (target.what != 'S' || h.type == 'C') {
            batch->asks_portal = batch->asks_portal || !batch->binds;
            return true;
        }
        class = bound_class(s, names, target.name, false, batch);
        break;
    case 'H':
        return h.body_size == 0;
    case 'S':
        batch->needs_server = batch->needs_server || h.body_size > 0; /* an error, and no Sync */
        return true;
    default:
        return true;
    }
    if (class == NULL)
        return true;
    if (class->changes && !may_set_more(s, names, h.body_size))
        return false;
    merge_next(batch, class, first, half);
    return true;
}

static enum core_batch_status scan_simple(struct core_session *s, struct proto_header h,
                                          struct proto_span body, struct core_batch *ret)
{
    ret->size = PROTO_HEADER_SIZE + h.body_size;
    ret->messages = 1;
    ret->simple = ret->executes = ret->needs_server = true;
    ret->drops_unnamed = h.type == 'Q';
    if (h.type == 'F') {
        ret->class = (struct router_class){.verdict = ROUTER_VERDICT_WRITE,
                                           .reason = ROUTER_REASON_FUNCTION_CALL,
                                           .alone = true,
                                           .home = true,
                                           .writes = true,
                                           .taints = true};
        return CORE_BATCH_WHOLE;
    }
    struct proto_span text;
    if (proto_query_read(body, &text) != PROTO_OK) {
        ret->class = unknown_statement; /* the primary will say what is wrong with it */
        return CORE_BATCH_WHOLE;
    }
    ret->detail.deallocate[0] = '\0';
    ret->text = text;
    ret->one = true;
    struct core_known known;
    core_classify(s, text, &known, &ret->detail);
    settle(s, ret, &known);
    ret->class = known.class;
    ret->all_local = ret->class.verdict == ROUTER_VERDICT_LOCAL;
    ret->doubtful = is_doubtful(&ret->class);
    return CORE_BATCH_WHOLE;
}

static bool stands_alone(uint8_t type)
{
    switch (type) {
    case 'Q':
    case 'F':
    case 'X':
    case 'd':
    case 'c':
    case 'f':
        return true;
    default:
        return false;
    }
}

/* It has its connection until Sync, and is on it in the middle of a batch: nothing is won by
 * waiting for the end of that. */
static bool goes_on(const struct core_session *s)
{
    return s->unsynced && s->executed && s->backend != NULL && !s->movable;
}

/* So much of a batch without an end begins if it is one that writes: a client that sends many rows
 * goes on making them while the server inserts. What only reads waits for its end: it may all go
 * to a replica. */
static uint32_t early_size(const struct core_session *s)
{
    return s->worker->limits.statement_max / EARLY_PARTS;
}

/* It was looked at before, and is not twice as long since: so that looking costs no more than
 * taking. */
static bool may_be_early(const struct core_session *s, size_t size)
{
    return size >= early_size(s) && size / 2 >= s->judged;
}

/* The end will not change where it goes. */
static bool is_early(const struct core_batch *batch)
{
    return batch->control || (batch->executes && batch->class.verdict == ROUTER_VERDICT_WRITE);
}

/* Frames before anything is classified: most calls that find half a batch end here, and the next
 * one begins where they ended. */
static enum core_batch_status find_end(struct core_session *s, struct proto_span in,
                                       struct core_batch *ret)
{
    struct proto_header h = {0};
    size_t pos = s->framed;
    assert(pos <= in.size);
    for (;;) {
        const struct proto_span rest = core_span_skip(in, pos);
        if (rest.size < PROTO_HEADER_SIZE)
            break;
        const uint32_t max = proto_client_body_size_max(rest.base[0]);
        const bool good = max != UINT32_MAX && proto_header_peek(rest, max, &h) == PROTO_OK;
        if (!good && pos == 0)
            return max == UINT32_MAX ? CORE_BATCH_EUNKNOWN : CORE_BATCH_EBADLEN;
        const bool alone = !good || stands_alone(h.type);
        if (alone && pos > 0) { /* ends a batch that has no Sync yet, and is not part of it */
            ret->flushes = true;
            ret->size = (uint32_t)pos;
            return CORE_BATCH_WHOLE;
        }
        if (PROTO_HEADER_SIZE + (size_t)h.body_size > rest.size)
            break;
        pos += PROTO_HEADER_SIZE + h.body_size;
        if (alone || h.type == 'S' || h.type == 'H') {
            ret->flushes = h.type == 'H';
            ret->size = (uint32_t)pos;
            return pos <= s->worker->limits.statement_max ? CORE_BATCH_WHOLE : CORE_BATCH_TOO_LONG;
        }
    }
    /* What is here is all that can be known when the rest is too large to wait for. */
    const uint32_t max = s->worker->limits.statement_max;
    const bool too_long = in.size > max || (h.body_size > max && in.size >= max / 2);
    ret->size = s->framed = (uint32_t)pos;
    if (too_long)
        return CORE_BATCH_TOO_LONG;
    ret->early = !s->hurried && !goes_on(s);
    if (pos == 0 || (ret->early && !may_be_early(s, pos)))
        return CORE_BATCH_MORE;
    ret->flushes = ret->cut = true;
    return CORE_BATCH_WHOLE;
}

/* Its first message is about a statement such as BEGIN. True: the batch ends behind that one. */
static bool scan_transaction(const struct core_session *s, struct proto_span in,
                             struct core_batch *ret)
{
    const uint32_t size = core_begin_scan(s, in, ret->size, &ret->text);
    ret->one = size > 0 && size == ret->size && !ret->flushes && in.base[size - 5] == 'S';
    if (size == 0 || !core_begin_answers(s, &ret->class))
        return false;
    ret->control = ret->binds = ret->executes = ret->needs_server = true;
    ret->flushes = false;
    ret->size = size;
    return true;
}

/* Behind DEALLOCATE ALL no name is what it was: what comes then is read when that has run. */
static bool more_behind(struct proto_span in, size_t pos, uint32_t size)
{
    return pos < size && in.base[pos] != 'S' && in.base[pos] != 'H';
}

enum core_batch_status core_batch_scan(struct core_session *s, struct proto_span in,
                                       struct core_batch *ret)
{
    memset(ret, 0, offsetof(struct core_batch, hashes));
    const enum core_batch_status status = find_end(s, in, ret);
    if (status != CORE_BATCH_WHOLE)
        return status;
    struct proto_header h = {0};
    (void)proto_header_peek(in, UINT32_MAX - 4, &h);
    if (h.type == 'Q' || h.type == 'F')
        return scan_simple(s, h,
                           core_span_skip(in, PROTO_HEADER_SIZE).size >= h.body_size
                               ? (struct proto_span){in.base + PROTO_HEADER_SIZE, h.body_size}
                               : (struct proto_span){0},
                           ret);

    struct batch_names names;
    names.count = names.set_size = 0; /* the rest is large, and of no batch but one with a Parse */
    names.work_max = s->worker->work + CORE_WORK_BATCH_MAX;
    bool first = true;
    for (size_t pos = 0; pos < ret->size;) {
        (void)proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &h);
        const struct proto_span body = {.base = in.base + pos + PROTO_HEADER_SIZE,
                                        .size = h.body_size};
        if (!scan_message(s, h, body, &names, ret, &first)) {
            if (s->worker->work > names.work_max)
                return CORE_BATCH_TOO_LONG;
            ret->odd = ret->needs_server = true;
            merge(ret, &unknown_statement, first);
            first = ret->all_local = false;
        }
        if (pos == 0 && ret->class.verdict == ROUTER_VERDICT_TRANSACTION &&
            scan_transaction(s, in, ret))
            break;
        pos += PROTO_HEADER_SIZE + h.body_size;
        ret->messages++;
        if (h.type == 'E' && ret->class.forgets_statements && more_behind(in, pos, ret->size)) {
            ret->size = (uint32_t)pos;
            ret->flushes = true;
            break;
        }
    }
    if (ret->messages > CORE_WORK_MESSAGES_MAX)
        return CORE_BATCH_TOO_LONG;
    ret->opens = ret->opens || ret->bound;
    if (first) /* no statement in it: at most a portal's; where there is none, any node says so */
        ret->class = (struct router_class){.verdict = ret->needs_server ? ROUTER_VERDICT_READ
                                                                        : ROUTER_VERDICT_LOCAL,
                                           .reason = ROUTER_REASON_EMPTY};
    else if (!ret->executes)
        ret->class.writes = ret->doubtful = false; /* preparing is not doing */
    /* nothing can follow the reads of a block that ends with them */
    ret->closes = ret->end == CORE_END_SEEN && ret->runs == 1 && !ret->odd && !ret->flushes &&
                  !ret->opens && (s->block == CORE_DEFERRED || s->movable);
    if (ret->closes) {
        ret->class.verdict = ROUTER_VERDICT_READ;
        ret->class.reason = ROUTER_REASON_SELECT;
    }
    if (ret->executes_unbound)
        ret->class.writes = true; /* a portal that was bound before: nobody remembers what it is */
    if (!ret->early || is_early(ret))
        return CORE_BATCH_WHOLE;
    s->judged = ret->size;
    return CORE_BATCH_MORE;
}

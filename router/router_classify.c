/* SPDX-License-Identifier: PostgreSQL
 *
 * router_classify: the cold path. Hints and limits by our lexer, then libpg_query's tree, then each
 * statement by its node type, then all of them together.
 */
#include "router_classify.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "router_body.h"
#include "router_lexer.h"
#include "router_parse.h"
#include "router_signal.h"
#include "router_statement.h"

/* A write without a look inside: nothing that may be in it may be forgotten. */
static struct router_class blind_write(enum router_reason reason)
{
    return (struct router_class){
        .verdict = ROUTER_VERDICT_WRITE,
        .reason = (uint8_t)reason,
        .writes = true,
        .taints = true,
        .outside = true,
        .home = true,
        .by_node_type = true,
        .unread = true,
    };
}

static const struct {
    uint16_t pin;
    uint8_t reason;
} pin_reasons[] = {
    {ROUTER_PIN_LISTEN, ROUTER_REASON_LISTEN},
    {ROUTER_PIN_ADVISORY, ROUTER_REASON_ADVISORY_LOCK},
    {ROUTER_PIN_TEMP, ROUTER_REASON_TEMP_TABLE},
    {ROUTER_PIN_PREPARE, ROUTER_REASON_SQL_PREPARE},
    {ROUTER_PIN_CURSOR, ROUTER_REASON_HOLD_CURSOR},
    {ROUTER_PIN_SEED, ROUTER_REASON_SETSEED},
    {ROUTER_PIN_LOAD, ROUTER_REASON_LOAD},
    {ROUTER_PIN_BACKUP, ROUTER_REASON_BACKUP},
    {ROUTER_PIN_SNAPSHOT, ROUTER_REASON_SNAPSHOT},
    {ROUTER_PIN_SET, ROUTER_REASON_SET},
    {ROUTER_PIN_SET_CONFIG, ROUTER_REASON_SET_CONFIG},
    {ROUTER_PIN_LONG, ROUTER_REASON_TOO_LONG},
    {ROUTER_PIN_OPAQUE, ROUTER_REASON_OPAQUE_FUNCTION},
    {ROUTER_PIN_SEQUENCE, ROUTER_REASON_SEQUENCE},
    {ROUTER_PIN_POOL, ROUTER_REASON_PINNED},
};

uint16_t router_pin_of(enum router_reason reason)
{
    for (size_t i = 0; i < sizeof(pin_reasons) / sizeof(pin_reasons[0]); i++)
        if (pin_reasons[i].reason == reason)
            return pin_reasons[i].pin;
    return ROUTER_PIN_OTHER;
}

enum router_reason router_pin_reason(uint16_t pins)
{
    if (pins == 0)
        return ROUTER_REASON_NONE;
    for (size_t i = 0; i < sizeof(pin_reasons) / sizeof(pin_reasons[0]); i++)
        if ((pins & pin_reasons[i].pin) != 0)
            return (enum router_reason)pin_reasons[i].reason;
    return ROUTER_REASON_PINNED;
}

static void merge_statement(struct router_class *ret, const struct router_statement *s)
{
    struct router_finding all = {.verdict = ret->verdict, .reason = ret->reason};
    router_finding_add(&all, s->finding.verdict, s->finding.reason);
    ret->pins |= s->finding.pins;
    ret->asks |= s->finding.asks;
    ret->names_prepared = ret->names_prepared || s->finding.names_prepared;
    ret->changes = ret->changes || s->finding.changes;
    ret->resets = ret->resets || s->resets;
    ret->moves_database = ret->moves_database || s->finding.moves_database;
    ret->verdict = all.verdict;
    ret->reason = all.reason;
    ret->cacheable = ret->cacheable && s->finding.cacheable;
    ret->writes = ret->writes || s->finding.writes;
    ret->taints = ret->taints || s->finding.taints;
    ret->changes_seed = ret->changes_seed || s->finding.changes_seed;
    ret->uses_random = ret->uses_random || s->finding.uses_random;
    ret->asks_sequence = ret->asks_sequence || (s->finding.asks_sequence &&
                                                !s->finding.moves_sequence && !ret->moves_sequence);
    ret->moves_sequence = ret->moves_sequence || s->finding.moves_sequence || s->finding.taints ||
                          (s->finding.verdict == ROUTER_VERDICT_WRITE && s->finding.by_node_type);
    ret->proven = ret->proven && !s->finding.touches && !s->finding.writes;
    ret->home = ret->home || s->finding.home;
    ret->acts = ret->acts || s->finding.acts;
    ret->opaque = ret->opaque || s->finding.opaque;
    ret->outside = ret->outside || s->finding.outside;
    ret->keeps = ret->keeps || s->finding.keeps;
    ret->changes_catalog = ret->changes_catalog || s->finding.changes_catalog;
    ret->makes_names = ret->makes_names || s->finding.makes_names;
    ret->by_node_type = ret->by_node_type || s->finding.by_node_type;
    ret->forgets_statements = ret->forgets_statements || s->forgets_statements;
    ret->releases = (uint16_t)((ret->releases & ~s->finding.pins) | s->releases);
    ret->begins = ret->begins || s->begin != ROUTER_BEGIN_NONE;
    ret->has_transaction = ret->has_transaction || s->is_transaction;
}

/* Several statements decide together; what only a single one can be is given up. */
static void settle_many(struct router_class *ret, struct router_detail *detail)
{
    if (ret->verdict == ROUTER_VERDICT_LOCAL || ret->reason == ROUTER_REASON_SWITCHGEAR) {
        ret->verdict = ROUTER_VERDICT_SESSION; /* ours, but not alone: the server shall say no */
        ret->by_node_type = true;
        ret->pins |= ROUTER_PIN_SET;
    }
    if (ret->verdict == ROUTER_VERDICT_TRANSACTION)
        ret->reason = ROUTER_REASON_MULTI_STATEMENT;
    ret->changes = ret->changes || ret->has_transaction;
    ret->releases = ret->has_transaction ? 0 : ret->releases;
    *detail = (struct router_detail){0};
}

static void settle_one(struct router_class *ret, const struct router_statement *s)
{
    ret->alone = true;
    if (ret->reason == ROUTER_REASON_DEALLOCATE) /* alone it needs no more than its name */
        ret->names_prepared = ret->changes = false;
    ret->begin = s->begin;
    ret->local = s->local;
    ret->ends = s->ends;
    ret->rolls_back = s->rolls_back;
    ret->unpins = s->unpins;
    ret->snapshot = s->snapshot;
    ret->declares = s->declares;
    ret->sets_local = s->sets_local;
    ret->set_read_only = s->set_read_only;
    ret->has_transaction = false;
}

static struct router_class classify_tree(const struct router_tree *tree,
                                         const struct router_context *names,
                                         struct router_detail *detail)
{
    struct router_class ret = {.verdict = ROUTER_VERDICT_LOCAL, .cacheable = true, .proven = true};
    const uint32_t statements = router_tree_field(tree, 0, "stmts");
    if (statements == ROUTER_TREE_NONE)
        return blind_write(ROUTER_REASON_UNKNOWN_NODE);
    const uint32_t count = router_tree_size(tree, statements);
    if (count == 0) {
        ret.proven = false;
        ret.reason = ROUTER_REASON_EMPTY;
        ret.local = ROUTER_LOCAL_EMPTY;
        return ret;
    }
    struct router_statement s = {0};
    bool own = false; /* a setting of the proxy's among others */
    for (uint32_t i = statements + 1; i < tree->nodes[statements].end; i = tree->nodes[i].end) {
        const uint32_t stmt = router_tree_field(tree, i, "stmt");
        if (stmt == ROUTER_TREE_NONE || !router_tree_is_node(tree, stmt + 1))
            return blind_write(ROUTER_REASON_UNKNOWN_NODE);
        router_statement_classify(tree, stmt + 1, names, &s, detail);
        own = own || s.local != ROUTER_LOCAL_NONE;
        merge_statement(&ret, &s);
    }
    if (count == 1)
        settle_one(&ret, &s);
    else
        settle_many(&ret, detail);
    if (own && count > 1 && ret.verdict == ROUTER_VERDICT_READ) {
        ret.verdict = ROUTER_VERDICT_SESSION;
        ret.reason = ROUTER_REASON_MULTI_STATEMENT;
        ret.pins |= ROUTER_PIN_SET;
    }
    return ret;
}

static struct router_class parse(const char *text, size_t size, const struct router_survey *survey,
                                 const struct router_context *names, struct router_detail *detail)
{
    struct router_parse parsed;
    if (!router_parse_open(&parsed, text, size, survey))
        return blind_write(ROUTER_REASON_PARSE_ERROR);
    const struct router_class ret = classify_tree(&parsed.tree, names, detail);
    router_parse_close(&parsed);
    return ret;
}

/* Too much for the parser as it is: with its lists of literals cut, perhaps not. */
static struct router_class parse_cut(const char *text, size_t size,
                                     const struct router_context *names,
                                     struct router_detail *detail)
{
    struct router_class ret = blind_write(ROUTER_REASON_TOO_LONG);
    struct router_survey survey;
    char *cut = malloc(size);
    const size_t cut_size = cut != NULL ? router_lexer_cut_lists(text, size, cut) : 0;
    if (cut_size > 0) {
        router_survey(cut, cut_size, &survey);
        if (!survey.broken && !router_survey_too_long(&survey))
            ret = parse(cut, cut_size, &survey, names, detail);
    }
    free(cut);
    return ret;
}

/* A hint may send anything to the primary, and to a replica only what is in doubt. */
static void apply_hint(struct router_class *ret, const struct router_hint *hint,
                       const struct router_context *names)
{
    const bool names_known = names->facts != NULL || names->strict;
    ret->cacheable = false;
    if (hint->route == ROUTER_ROUTE_PRIMARY && ret->verdict == ROUTER_VERDICT_READ) {
        ret->verdict = ROUTER_VERDICT_WRITE; /* by content still a read */
        ret->writes = names_known && !ret->proven;
        ret->by_node_type = true;
    } else if (hint->route == ROUTER_ROUTE_REPLICA && ret->verdict == ROUTER_VERDICT_WRITE &&
               !ret->by_node_type && !ret->acts) {
        ret->verdict = ROUTER_VERDICT_READ; /* and where the primary runs it, it may write */
    } else {
        return;
    }
    ret->reason = ROUTER_REASON_HINT;
    ret->hinted = true;
}

/* What nobody has parsed may call anything whose name is in it. */
static void scan_words(const char *text, size_t size, const struct router_context *names,
                       struct router_class *ret)
{
    struct router_finding found = {.verdict = ROUTER_VERDICT_LOCAL};
    if (names->facts == NULL)
        return;
    router_body_scan(text, size, names, &found);
    ret->opaque = found.opaque;
    ret->keeps = found.keeps;
}

/* Somebody's sessions begin with pg_temp in their search_path: what is made may be temporary. */
static bool begins_temporary(const struct router_context *names)
{
    return names->facts != NULL && router_facts_of_default(names->facts, ROUTER_DEFAULT_PATH) != 0;
}

void router_classify(const char *text, size_t size, const struct router_context *context,
                     struct router_class *ret, struct router_detail *ret_detail)
{
    assert(text != NULL || size == 0);
    assert(ret != NULL);
    static const struct router_context text_only = {.facts = NULL};
    const struct router_context *names = context != NULL ? context : &text_only;
    struct router_detail unwanted;
    struct router_detail *detail = ret_detail != NULL ? ret_detail : &unwanted;
    *detail = (struct router_detail){0};
    if (size > ROUTER_TEXT_SIZE_MAX) {
        *ret = blind_write(ROUTER_REASON_TOO_LONG);
        return;
    }
    struct router_survey survey;
    router_survey(text, size, &survey);
    if (names->no_hints) {
        survey.hinted = false;
        survey.hint = (struct router_hint){0};
    }
    if (survey.broken || (size > 0 && memchr(text, '\0', size) != NULL)) {
        *ret = blind_write(ROUTER_REASON_PARSE_ERROR);
    } else if (survey.body_offset > 0) {
        *ret = (struct router_class){.verdict = ROUTER_VERDICT_LOCAL,
                                     .reason = ROUTER_REASON_SWITCHGEAR,
                                     .local = ROUTER_LOCAL_EXPLAIN_ROUTE,
                                     .alone = true};
    } else if (survey.work > ROUTER_WORK_MAX) {
        *ret = parse_cut(text, size, names, detail);
    } else if (survey.depth > ROUTER_DEPTH_MAX) {
        *ret = blind_write(ROUTER_REASON_TOO_LONG);
    } else {
        *ret = parse(text, size, &survey, names, detail);
    }
    if (ret->unread)
        scan_words(text, size, names, ret);
    if (ret->verdict == ROUTER_VERDICT_WRITE && begins_temporary(names))
        ret->taints = true;
    if (ret->alone && ret->acts)
        ret->signals = (uint8_t)router_signal_named(text, size);
    ret->cacheable = ret->cacheable && !survey.uescape;
    detail->hint = survey.hint;
    detail->body_offset = survey.body_offset;
    detail->work = survey.work;
    if (survey.hinted)
        apply_hint(ret, &survey.hint, names);
}

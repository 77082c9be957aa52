/* SPDX-License-Identifier: PostgreSQL
 *
 * router_walk_call: what calling a function of PostgreSQL's means for a statement, by its name.
 */
#include "router_setting.h"
#include "router_walk_internal.h"

/* The text of a string literal as the nth argument; base NULL: it is not one. */
static struct router_name string_argument(const struct router_tree *tree, uint32_t args,
                                          uint32_t nth)
{
    const struct router_name none = {.base = NULL, .size = 0};
    if (args == ROUTER_TREE_NONE)
        return none;
    const uint32_t arg = router_tree_element(tree, args, nth);
    if (arg == ROUTER_TREE_NONE)
        return none;
    const uint32_t constant = router_tree_field(tree, arg, "A_Const");
    if (constant == ROUTER_TREE_NONE)
        return none;
    const uint32_t sval = router_tree_field(tree, constant, "sval");
    return sval != ROUTER_TREE_NONE ? router_tree_text(tree, sval, "sval") : none;
}

/* set_config(name, value, true), written out like this, lasts for the transaction only. */
static bool set_config_is_local(const struct router_tree *tree, uint32_t args)
{
    if (args == ROUTER_TREE_NONE || router_tree_size(tree, args) != 3)
        return false;
    for (uint32_t i = 0; i < 3; i++) {
        if (router_tree_field(tree, router_tree_element(tree, args, i), "NamedArgExpr") !=
            ROUTER_TREE_NONE)
            return false;
    }
    const uint32_t arg = router_tree_element(tree, args, 2);
    const uint32_t constant = router_tree_field(tree, arg, "A_Const");
    if (constant == ROUTER_TREE_NONE)
        return false;
    const uint32_t boolval = router_tree_field(tree, constant, "boolval");
    return boolval != ROUTER_TREE_NONE &&
           router_name_is(router_tree_text(tree, boolval, "boolval"), "true");
}

/* A search_path with pg_temp in it makes tables temporary that do not look like it. Where no
 * literal tells the value, it may have. */
static void visit_search_path(struct walk *w, struct router_name name, struct router_name value)
{
    if (name.base != NULL && !router_setting_is_search_path(name))
        return;
    if (value.base == NULL || name.base == NULL)
        w->finding->taints = true;
    else if (router_setting_says_temporary(value))
        router_walk_pin_temporary(w->finding);
}

static void visit_set_config(struct walk *w, uint32_t args)
{
    const struct router_name none = {.base = "", .size = 0};
    w->finding->cacheable = false;
    w->finding->by_node_type = true;
    const bool local = set_config_is_local(w->tree, args);
    router_finding_add(w->finding, local ? ROUTER_VERDICT_WRITE : ROUTER_VERDICT_SESSION,
                       ROUTER_REASON_SET_CONFIG);
    const struct router_name name = string_argument(w->tree, args, 0);
    visit_search_path(w, name, string_argument(w->tree, args, 1));
    const bool seeds =
        name.base != NULL && (router_setting_flags(name, none) & ROUTER_SETTING_SEED) != 0;
    w->finding->taints = w->finding->taints || seeds || name.base == NULL;
    if (seeds) { /* local or not: no end of a transaction takes it back */
        w->finding->changes_seed = true;
        pin(w, ROUTER_REASON_SETSEED);
        return;
    }
    if (!local) { /* until somebody finds that it can be followed */
        w->finding->pins |= ROUTER_PIN_SET_CONFIG;
        if (name.base == NULL ||
            (!w->names->strict && (router_setting_flags(name, none) & ROUTER_SETTING_ROLE) != 0))
            w->finding->pins |= ROUTER_PIN_OTHER;
        return;
    }
    if (name.base == NULL || (router_setting_flags(name, none) & ROUTER_SETTING_PARSES) != 0)
        w->finding->changes = true;
}

static void visit_current_setting(struct walk *w, uint32_t args)
{
    w->finding->cacheable = false;
    const struct router_name setting = string_argument(w->tree, args, 0);
    if (setting.base == NULL || router_name_setting_of_node(setting))
        keep_home(w, ROUTER_REASON_NODE_SPECIFIC);
}

/* Done by a standby too, and then where nobody looks for it: locks that keep nobody out, signals to
 * another server's processes, files and slots of another server. */
static bool acts_on_its_node(struct router_name name)
{
    static const char *const names[] = {"lo_export", "pg_cancel_backend", "pg_terminate_backend",
                                        "pg_promote", "pg_reload_conf"};
    static const char *const starts[] = {"dblink",
                                         "pg_advisory_xact_lock",
                                         "pg_copy_",
                                         "pg_create_",
                                         "pg_drop_replication_",
                                         "pg_log_backend_memory_",
                                         "pg_logical_slot_get_",
                                         "pg_replication_",
                                         "pg_rotate_logfile",
                                         "pg_stat_reset",
                                         "pg_try_advisory_xact_lock",
                                         "pg_wal_replay_"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (router_name_is(name, names[i]))
            return true;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (router_name_starts(name, starts[i]))
            return true;
    return false;
}

/* A READ ONLY transaction may call it, but on a standby it fails, or means something else. */
static bool belongs_home(struct router_name name, enum router_function function)
{
    return function == ROUTER_FUNCTION_VOLATILE || function == ROUTER_FUNCTION_EFFECT ||
           function == ROUTER_FUNCTION_OUTSIDE || router_name_is(name, "txid_current") ||
           router_name_is(name, "pg_current_xact_id");
}

static void visit_advisory(struct walk *w, struct router_name name)
{
    struct router_finding *f = w->finding;
    if (router_name_starts(name, "pg_advisory_unlock")) { /* leaves nothing behind */
        f->by_node_type = true;
        f->asks |= ROUTER_PIN_ADVISORY;
        router_finding_add(f, ROUTER_VERDICT_SESSION, ROUTER_REASON_ADVISORY_LOCK);
        return;
    }
    if (router_name_starts(name, "pg_try_"))
        f->asks |= ROUTER_PIN_ADVISORY; /* it may not have got it */
    pin(w, ROUTER_REASON_ADVISORY_LOCK);
}

void router_walk_built_in(struct walk *w, struct router_name name, bool may_be, uint32_t args)
{
    struct router_finding *f = w->finding;
    const enum router_function function =
        may_be ? router_name_function(name) : ROUTER_FUNCTION_UNKNOWN;
    const bool acts = (may_be || router_name_runs_text(name)) && acts_on_its_node(name);
    f->acts = f->acts || acts;
    f->home = f->home || acts || belongs_home(name, function);
    if (router_name_runs_text(name)) {
        f->taints = f->touches = true;
        f->outside = f->outside || router_name_starts(name, "dblink");
        router_finding_deny(f, ROUTER_REASON_SQL_AS_TEXT);
        if (router_name_starts(name, "dblink_connect"))
            pin(w, ROUTER_REASON_LOAD); /* in the process: not even DISCARD ALL ends it */
        return;
    }
    switch (function) {
    case ROUTER_FUNCTION_READ:
        return;
    case ROUTER_FUNCTION_RANDOM:
        f->uses_random = true;
        return;
    case ROUTER_FUNCTION_UNKNOWN: /* a user's: router_walk_names.c */
        return;
    case ROUTER_FUNCTION_VOLATILE:
        f->taints = true;
        doubt(w, ROUTER_REASON_VOLATILE_FUNCTION);
        return;
    case ROUTER_FUNCTION_EFFECT:
        f->asks_sequence =
            f->asks_sequence || router_name_is(name, "currval") || router_name_is(name, "lastval");
        f->moves_sequence =
            f->moves_sequence || router_name_is(name, "nextval") || router_name_is(name, "setval");
        doubt(w, ROUTER_REASON_VOLATILE_FUNCTION);
        return;
    case ROUTER_FUNCTION_OUTSIDE:
        f->outside = true;
        router_finding_deny(f, ROUTER_REASON_VOLATILE_FUNCTION);
        return;
    case ROUTER_FUNCTION_NODE:
        keep_home(w, ROUTER_REASON_NODE_SPECIFIC);
        return;
    case ROUTER_FUNCTION_SQL_TEXT:
        f->taints = f->opaque = true;
        router_finding_deny(f, ROUTER_REASON_SQL_AS_TEXT);
        return;
    case ROUTER_FUNCTION_SET_CONFIG:
        visit_set_config(w, args);
        return;
    case ROUTER_FUNCTION_CURRENT_SETTING:
        visit_current_setting(w, args);
        return;
    case ROUTER_FUNCTION_SETSEED:
        f->changes_seed = true;
        pin(w, ROUTER_REASON_SETSEED);
        return;
    case ROUTER_FUNCTION_ADVISORY:
        visit_advisory(w, name);
        return;
    case ROUTER_FUNCTION_BACKUP:
        pin(w, ROUTER_REASON_BACKUP);
        return;
    case ROUTER_FUNCTION_SNAPSHOT:
        pin(w, ROUTER_REASON_SNAPSHOT);
        return;
    }
}

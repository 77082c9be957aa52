/* SPDX-License-Identifier: PostgreSQL
 *
 * router_statement_set: SHOW, SET and RESET, of PostgreSQL's settings and of the proxy's own, and
 * what a block declares of itself.
 */
#include <string.h>
#include <strings.h>

#include "router_change.h"
#include "router_setting.h"
#include "router_statement_internal.h"

static bool says_true(struct router_name value)
{
    static const char *const words[] = {"1", "true", "on", "yes"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (value.size == strlen(words[i]) && strncasecmp(value.base, words[i], value.size) == 0)
            return true;
    }
    return false;
}

/* The name behind "switchgear.", lower case; false: the setting is not ours, or too long. */
static bool take_own_name(struct context *c, struct router_name name)
{
    static const char prefix[] = "switchgear.";
    const size_t skip = sizeof(prefix) - 1;
    if (name.size <= skip || strncasecmp(name.base, prefix, skip) != 0)
        return false;
    const size_t size = name.size - skip;
    if (size >= sizeof(c->detail->name))
        return false;
    for (size_t i = 0; i < size; i++) {
        const char ch = name.base[skip + i];
        c->detail->name[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch + ('a' - 'A') : ch);
    }
    c->detail->name[size] = '\0';
    return true;
}

void router_statement_show(struct context *c)
{
    const struct router_name name = text_of(c, "name");
    c->s->finding.cacheable = false;
    if (take_own_name(c, name)) {
        c->s->local = ROUTER_LOCAL_SHOW;
        decide(c, ROUTER_VERDICT_LOCAL, ROUTER_REASON_SWITCHGEAR);
        return;
    }
    if (router_name_setting_of_node(name)) {
        decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_NODE_SPECIFIC);
        c->s->finding.writes = false; /* it only belongs to one node */
        return;
    }
    decide(c, ROUTER_VERDICT_READ, ROUTER_REASON_SHOW);
}

/* Appends a value of the tree to detail->value; false: it does not fit. */
static bool append_value(struct router_detail *detail, struct router_name value)
{
    const size_t used = strlen(detail->value);
    return router_tree_unescape(value, detail->value + used, sizeof(detail->value) - used);
}

static bool take_own_value(struct context *c)
{
    const struct router_tree *tree = c->tree;
    const uint32_t args = router_tree_field(tree, c->node, "args");
    c->detail->value[0] = '\0';
    if (args == ROUTER_TREE_NONE)
        return true;
    for (uint32_t i = args + 1; i < tree->nodes[args].end; i = tree->nodes[i].end) {
        if (i != args + 1 && !append_value(c->detail, (struct router_name){.base = ",", .size = 1}))
            return false;
        if (!append_value(c->detail, router_tree_constant(tree, i)))
            return false;
    }
    return true;
}

/* SET, SET LOCAL and RESET of a setting of the proxy's own. */
static bool on_own_setting(struct context *c, struct router_name kind)
{
    if (!take_own_name(c, text_of(c, "name")) || router_name_is(kind, "VAR_SET_CURRENT") ||
        !take_own_value(c))
        return false;
    if (router_name_is(kind, "VAR_RESET"))
        c->s->local = ROUTER_LOCAL_RESET;
    else
        c->s->local = is_true(c, "is_local") ? ROUTER_LOCAL_SET_LOCAL : ROUTER_LOCAL_SET;
    decide(c, ROUTER_VERDICT_LOCAL, ROUTER_REASON_SWITCHGEAR);
    return true;
}

enum router_begin router_statement_modes(const struct router_tree *tree, uint32_t list)
{
    enum router_begin begin = ROUTER_BEGIN_PLAIN;
    if (list == ROUTER_TREE_NONE)
        return begin;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const uint32_t option = router_tree_field(tree, i, "DefElem");
        if (option == ROUTER_TREE_NONE)
            return ROUTER_BEGIN_WRITE;
        const struct router_name name = router_tree_text(tree, option, "defname");
        const uint32_t arg = router_tree_field(tree, option, "arg");
        const struct router_name value = arg != ROUTER_TREE_NONE ? router_tree_constant(tree, arg)
                                                                 : (struct router_name){.base = ""};
        if (router_name_is(name, "transaction_isolation")) {
            if (router_name_is(value, "serializable"))
                return ROUTER_BEGIN_WRITE;
        } else if (router_name_is(name, "transaction_read_only")) {
            if (!says_true(value))
                return ROUTER_BEGIN_WRITE;
            begin = ROUTER_BEGIN_READ_ONLY;
        }
    }
    return begin;
}

bool router_statement_declares_snapshot(const struct router_tree *tree, uint32_t list)
{
    if (list == ROUTER_TREE_NONE)
        return false;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const uint32_t option = router_tree_field(tree, i, "DefElem");
        const uint32_t arg =
            option != ROUTER_TREE_NONE ? router_tree_field(tree, option, "arg") : ROUTER_TREE_NONE;
        if (arg == ROUTER_TREE_NONE)
            return true;
        if (router_name_is(router_tree_text(tree, option, "defname"), "transaction_isolation") &&
            !router_name_starts(router_tree_constant(tree, arg), "read "))
            return true;
    }
    return false;
}

static bool name_is_any_case(struct router_name name, const char *text)
{
    return name.size == strlen(text) && strncasecmp(name.base, text, name.size) == 0;
}

/* With pg_temp in its search_path a session makes temporary tables that do not look like it. */
static void look_for_temporary(struct context *c)
{
    const uint32_t args = router_tree_field(c->tree, c->node, "args");
    if (!router_setting_is_search_path(text_of(c, "name")))
        return;
    c->s->finding.asks |= ROUTER_PIN_TEMP;
    if (args == ROUTER_TREE_NONE)
        return;
    for (uint32_t i = args + 1; i < c->tree->nodes[args].end; i = c->tree->nodes[i].end) {
        const struct router_name value = router_tree_constant(c->tree, i);
        if (value.base != NULL && router_setting_says_temporary(value)) {
            router_walk_pin_temporary(&c->s->finding);
            c->s->finding.asks &= (uint16_t)~ROUTER_PIN_TEMP;
        }
    }
}

/* What can be followed is, the rest pins. */
static void follow_set(struct context *c)
{
    const struct router_name kind = text_of(c, "kind");
    struct router_finding *f = &c->s->finding;
    look_for_temporary(c);
    c->s->resets = !router_name_is(kind, "VAR_SET_VALUE") && !router_name_is(kind, "VAR_SET_MULTI");
    if (router_name_is(kind, "VAR_RESET_ALL"))
        c->s->releases = ROUTER_PIN_SET | ROUTER_PIN_SET_CONFIG;
    if (router_change_set_known(c->tree, c->node)) {
        f->changes = true;
        return;
    }
    const struct router_name name = text_of(c, "name");
    const struct router_name none = {.base = "", .size = 0};
    f->pins |= name_is_any_case(name, "seed") ? ROUTER_PIN_SEED : ROUTER_PIN_SET;
    if (name.size == 0 || (router_setting_flags(name, none) & ROUTER_SETTING_ROLE) != 0)
        f->pins |= ROUTER_PIN_OTHER;
}

void router_statement_set(struct context *c)
{
    const struct router_name kind = text_of(c, "kind");
    const struct router_name name = text_of(c, "name");
    struct router_finding *f = &c->s->finding;
    f->cacheable = false;
    if (router_name_is(kind, "VAR_SET_MULTI")) {
        if (router_name_is(name, "TRANSACTION SNAPSHOT")) {
            decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_SNAPSHOT);
            return;
        }
        if (!router_name_is(name, "TRANSACTION")) { /* SESSION CHARACTERISTICS */
            follow_set(c);
            decide(c, ROUTER_VERDICT_SESSION, ROUTER_REASON_SET);
            return;
        }
        const uint32_t args = router_tree_field(c->tree, c->node, "args");
        c->s->set_read_only = router_statement_modes(c->tree, args) == ROUTER_BEGIN_READ_ONLY;
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_SET);
        return;
    }
    if (on_own_setting(c, kind))
        return;
    if (name_is_any_case(name, "transaction_read_only") ||
        name_is_any_case(name, "transaction_isolation") ||
        name_is_any_case(name, "transaction_deferrable")) {
        const uint32_t args = router_tree_field(c->tree, c->node, "args");
        c->s->set_read_only = name_is_any_case(name, "transaction_read_only") &&
                              router_name_is(kind, "VAR_SET_VALUE") && args != ROUTER_TREE_NONE &&
                              says_true(router_tree_constant(c->tree, args + 1));
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_SET);
        return;
    }
    follow_set(c);
    f->changes_seed = f->changes_seed || name_is_any_case(name, "seed");
    c->s->sets_local = is_true(c, "is_local");
    decide(c, c->s->sets_local ? ROUTER_VERDICT_TRANSACTION : ROUTER_VERDICT_SESSION,
           ROUTER_REASON_SET);
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_show_config: SHOW CONFIG, from the option table. Options of [switchgear] by their
 * names, others as --set takes them: probe.interval, node.pg1.weight. Secrets are not shown.
 */
#include <stdio.h>

#include "proxy_admin_internal.h"

static bool is_secret(const struct config_option *o, const char *value)
{
    /* libpq keywords of a node may carry one among others. */
    return strcmp(o->name, "password") == 0 ||
           (strcmp(o->name, "options") == 0 && strstr(value, "password") != NULL);
}

static void show_option(const struct config_option *o, const char *key, const void *section,
                        struct table *t)
{
    char buf[64];
    const char *value = config_value_text(o, section, buf, sizeof buf);
    table_string(t, key);
    table_string(t, *value != 0 && is_secret(o, value) ? "********" : value);
    table_string(t, o->default_text);
    table_string(t, o->reloadable ? "yes" : "no");
    table_row_end(t);
}

static void show_section(enum config_section which, const char *prefix, const void *section,
                         struct table *t)
{
    for (size_t i = 0; i < config_options_count; i++) {
        char key[160];
        if (config_options[i].section != which)
            continue;
        snprintf(key, sizeof key, "%s%s", prefix, config_options[i].name);
        show_option(&config_options[i], key, section, t);
    }
}

void admin_show_config(const struct admin_show_context *x, struct table *t)
{
    const struct config *c = x->config;
    char prefix[96];
    show_section(CONFIG_SECTION_SWITCHGEAR, "", &c->switchgear, t);
    show_section(CONFIG_SECTION_PROBE, "probe.", &c->probe, t);
    show_section(CONFIG_SECTION_BREAKER, "breaker.", &c->breaker, t);
    for (uint32_t i = 0; i < c->nodes_count; i++) {
        snprintf(prefix, sizeof prefix, "node.%s.", c->nodes[i].name);
        show_section(CONFIG_SECTION_NODE, prefix, &c->nodes[i], t);
    }
    for (uint32_t i = 0; i < c->databases_count; i++) {
        snprintf(prefix, sizeof prefix, "database.%s.", c->databases[i].name);
        show_section(CONFIG_SECTION_DATABASE, prefix, &c->databases[i], t);
    }
}

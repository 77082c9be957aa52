/* SPDX-License-Identifier: PostgreSQL
 *
 * router_names: binary searches in sorted tables.
 */
#include "router_names.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct entry {
    const char *name;
    enum router_function function;
};

static const struct entry functions[] = {
#include "router_functions.inc"
};

static const char *const operators[] = {
#include "router_operators.inc"
};

static const char *const types[] = {
#include "router_types.inc"
};

static const char *const catalogs[] = {
#include "router_catalogs.inc"
};

/* SHOW of these says something about the node that answers, not about the session. */
static const char *const node_settings[] = {
    "all",
    "archive_mode",
    "cluster_name",
    "config_file",
    "data_directory",
    "default_transaction_read_only",
    "external_pid_file",
    "hba_file",
    "hot_standby",
    "ident_file",
    "in_hot_standby",
    "listen_addresses",
    "log_directory",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "restore_command",
    "synchronous_standby_names",
    "transaction_read_only",
    "unix_socket_directories",
};

/* As strcmp(), for a name that does not end with NUL. */
static int name_compare(struct router_name name, const char *text)
{
    const size_t size = strlen(text);
    const int r = memcmp(name.base, text, name.size < size ? name.size : size);
    if (r != 0)
        return r;
    return (name.size > size) - (name.size < size);
}

static int entry_compare(const void *key, const void *element)
{
    const struct entry *entry = element;
    return name_compare(*(const struct router_name *)key, entry->name);
}

static int text_compare(const void *key, const void *element)
{
    return name_compare(*(const struct router_name *)key, *(const char *const *)element);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum router_function router_name_function(struct router_name name)
{
    const struct entry *entry =
        bsearch(&name, functions, COUNT(functions), sizeof(functions[0]), entry_compare);
    return entry != NULL ? entry->function : ROUTER_FUNCTION_UNKNOWN;
}

bool router_name_runs_text(struct router_name name)
{
    return router_name_starts(name, "dblink") || router_name_starts(name, "crosstab") ||
           router_name_is(name, "connectby");
}

bool router_name_operator_known(struct router_name name)
{
    return bsearch(&name, operators, COUNT(operators), sizeof(operators[0]), text_compare) != NULL;
}

bool router_name_type_known(struct router_name name)
{
    return bsearch(&name, types, COUNT(types), sizeof(types[0]), text_compare) != NULL;
}

bool router_name_type_reg(struct router_name name)
{
    return router_name_starts(name, "reg") || router_name_starts(name, "_reg");
}

bool router_name_catalog_known(struct router_name name)
{
    return bsearch(&name, catalogs, COUNT(catalogs), sizeof(catalogs[0]), text_compare) != NULL;
}

bool router_name_setting_of_node(struct router_name name)
{
    for (size_t i = 0; i < COUNT(node_settings); i++) {
        if (strlen(node_settings[i]) == name.size &&
            strncasecmp(node_settings[i], name.base, name.size) == 0)
            return true;
    }
    return false;
}

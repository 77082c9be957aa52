/* SPDX-License-Identifier: PostgreSQL
 *
 * router_setting: what a setting of a session means for where its statements may go. Pure; any
 * thread.
 */
#ifndef ROUTER_SETTING_H
#define ROUTER_SETTING_H

#include "router_tree.h"

/* What a setting means for the proxy. */
enum router_setting_flag {
    ROUTER_SETTING_READ_ONLY = 1 << 0, /* default_transaction_read_only = on */
    ROUTER_SETTING_PRIMARY = 1 << 1,   /* with this value nothing may go to a replica */
    ROUTER_SETTING_LEXER = 1 << 2,     /* with this value our lexer cannot follow the texts */
    ROUTER_SETTING_PARSES = 1 << 3,    /* what a text means depends on it: search_path, TimeZone */
    ROUTER_SETTING_ENCODING = 1 << 4,  /* client_encoding: the others' texts depend on it */
    ROUTER_SETTING_WIDE = 1 << 5,      /* its own text is not ASCII */
    ROUTER_SETTING_ROLE = 1 << 6,      /* RESET ALL leaves it: role, session_authorization */
    ROUTER_SETTING_SEED = 1 << 7,      /* RESET ALL leaves what it has done: seed */
};
/* Names are compared in any case. WIDE is not told from here. */
uint8_t router_setting_flags(struct router_name name, struct router_name value);
bool router_setting_is_search_path(struct router_name name);
/* Is pg_temp in the value, or something that looks like it? */
bool router_setting_says_temporary(struct router_name value);

#endif

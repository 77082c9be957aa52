/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog_watch: see the header.
 */
#include "proxy_catalog_watch.h"

#include <stdio.h>
#include <string.h>

enum { VERSION_MIN = 150000 }; /* older ones keep their statistics in files */
static const uint64_t pause_ns = UINT64_C(1000000000);
static const char question[] =
    "SELECT sum(pg_stat_get_tuples_inserted(c)+pg_stat_get_tuples_updated(c)"
    "+pg_stat_get_tuples_deleted(c)) FROM "
    "unnest('{pg_proc,pg_class,pg_trigger,pg_rewrite,pg_policy,"
    "pg_attrdef,pg_constraint,pg_type,pg_operator,pg_cast,pg_index,pg_inherits,pg_aggregate,"
    "pg_db_role_setting}'::regclass[])c";

bool catalog_watch_is_due(const struct catalog_watch *w, int server_version, uint64_t now_ns)
{
    return w->watches && server_version >= VERSION_MIN && now_ns - w->watched_ns >= pause_ns;
}

const char *catalog_watch_ask(struct catalog_watch *w, uint64_t now_ns)
{
    w->asked = true;
    w->watched_ns = now_ns;
    return question;
}

bool catalog_watch_sees(struct catalog_watch *w, const PGresult *result)
{
    const char *sum = PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "";
    const bool other = sum[0] != '\0' && strcmp(sum, w->sum) != 0;
    w->asked = false;
    (void)snprintf(w->sum, sizeof(w->sum), "%s", sum);
    return other;
}

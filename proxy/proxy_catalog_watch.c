/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog_watch: see the header.
 */
#include "proxy_catalog_watch.h"

#include <stdio.h>
#include <string.h>

enum { VERSION_MIN = 150000 }; /* older ones keep their statistics in files */
static const uint64_t pause_ns = UINT64_C(1000000000);
/* What ALTER ROLE and ALTER DATABASE ... SET have made of the defaults here: a digest for each
 * role.
 */
#define DEFAULTS                                                                  \
    " UNION ALL SELECT coalesce(rolname,''), sum(hashtext(setdatabase::text||"    \
    "setconfig::text)::int8)::text FROM pg_db_role_setting LEFT JOIN pg_roles r " \
    "ON r.oid=setrole WHERE setdatabase IN "                                      \
    "(0,(SELECT oid FROM pg_database WHERE datname=current_database())) GROUP BY 1"
/* Of what brings code, which temporary tables do not touch, and of the rest. */
static const char question[] =
    "SELECT NULL, concat(sum(n)FILTER(WHERE o<=10),' ',sum(n)FILTER(WHERE o>10))FROM("
    "SELECT pg_stat_get_tuples_inserted(c)+pg_stat_get_tuples_updated(c)"
    "+pg_stat_get_tuples_deleted(c)AS n,o FROM "
    "unnest('{pg_proc,pg_trigger,pg_rewrite,pg_policy,pg_operator,pg_cast,pg_opclass,pg_amop,"
    "pg_amproc,pg_aggregate,pg_class,pg_attrdef,pg_constraint,pg_type,pg_index,pg_inherits,"
    "pg_db_role_setting}'::regclass[])WITH ORDINALITY u(c,o))s" DEFAULTS;
static const char question_old[] = "SELECT NULL, ''" DEFAULTS;

bool catalog_watch_is_due(const struct catalog_watch *w, uint64_t others_ns, uint64_t wanted_ns,
                          uint64_t now_ns)
{
    if (w->watches && wanted_ns > w->watched_ns)
        return true;
    return (w->watches || now_ns - others_ns > 3 * pause_ns) && now_ns - w->watched_ns >= pause_ns;
}

const char *catalog_watch_ask(struct catalog_watch *w, uint64_t server_version, uint64_t now_ns)
{
    w->asked = true;
    w->watched_ns = now_ns;
    return server_version < VERSION_MIN ? question_old : question;
}

/* The first of two sums. */
static bool has_other_code(const char *was, const char *is)
{
    const size_t size = strcspn(is, " ");
    return was[0] != '\0' && (strcspn(was, " ") != size || memcmp(was, is, size) != 0);
}

enum catalog_watch_finding catalog_watch_sees(struct catalog_watch *w, const PGresult *result)
{
    const char *sum = "";
    w->asked = false;
    if (w->watched_ns - w->summed_ns < pause_ns)
        return CATALOG_WATCH_NOTHING;
    w->summed_ns = w->watched_ns;
    for (int i = 0; i < PQntuples(result); i++)
        if (PQgetisnull(result, i, 0))
            sum = PQgetvalue(result, i, 1);
    const bool other = sum[0] != '\0' && strcmp(sum, w->sum) != 0;
    const bool code = other && has_other_code(w->sum, sum);
    (void)snprintf(w->sum, sizeof(w->sum), "%s", sum);
    return code ? CATALOG_WATCH_CODE : other ? CATALOG_WATCH_SOMETHING : CATALOG_WATCH_NOTHING;
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * core_reset: what takes back all that another session may have left on a connection, whatever it
 * was that did it. For the session core alone.
 */
#ifndef CORE_RESET_H
#define CORE_RESET_H

#include "core_state.h"

#define CORE_RESET_DISCARD "DISCARD ALL"

/* DISCARD ALL leaves the seed. One that nobody can guess is as good as none: gen_random_uuid() is
 * made of strong random bytes. */
#define CORE_RESET_SEED                                                     \
    "SELECT pg_catalog.setseed(pg_catalog.concat('.',pg_catalog.translate(" \
    "pg_catalog.gen_random_uuid()::pg_catalog.text,'abcdef-','012345'))::pg_catalog.float8)"

/* It leaves what extensions keep in the process, too: connections of dblink and postgres_fdw to
 * other servers, isn's weak mode. By an error dblink says that it has no unnamed connection.
 * Everything is qualified, as in each question of ours. */
#define CORE_RESET_EXTENSIONS                                                                   \
    "DO 'DECLARE s pg_catalog.text;e pg_catalog.text;BEGIN "                                    \
    "FOR s,e IN SELECT x.extnamespace::pg_catalog.regnamespace,x.extname "                      \
    "FROM pg_catalog.pg_extension AS x WHERE x.extname OPERATOR(pg_catalog.=)"                  \
    "ANY(''{dblink,isn,postgres_fdw}''::pg_catalog.name[])LOOP BEGIN "                          \
    "IF e OPERATOR(pg_catalog.=)''isn'' THEN "                                                  \
    "EXECUTE pg_catalog.format(''SELECT %s.isn_weak(false)'',s);"                               \
    "ELSIF e OPERATOR(pg_catalog.=)''postgres_fdw'' THEN "                                      \
    "EXECUTE pg_catalog.format(''SELECT %s.postgres_fdw_disconnect_all()'',s);"                 \
    "ELSE EXECUTE pg_catalog.format(''SELECT %1$s.dblink_disconnect(c)"                         \
    "FROM pg_catalog.unnest(%1$s.dblink_get_connections())AS c'',s);"                           \
    "EXECUTE pg_catalog.format(''SELECT %s.dblink_disconnect()'',s);END IF;"                    \
    "EXCEPTION WHEN connection_does_not_exist OR insufficient_privilege OR undefined_function " \
    "THEN NULL;END;END LOOP;END'"

enum { CORE_RESETS_MAX = 3 };

/* The statements, in their order; none of them has rows for anybody. `facts`: the names of the
 * database; NULL: nobody knows which extensions it has. Returns how many. */
uint32_t core_reset_texts(const struct router_facts *facts,
                          struct proto_span ret_texts[CORE_RESETS_MAX]);

#endif

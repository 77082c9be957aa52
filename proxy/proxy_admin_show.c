/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_show: what there is to show, and with which columns. PgBouncer's tables have
 * PgBouncer's columns first, in its order; ours follow.
 */
#include <stdio.h>
#include <strings.h>

#include "proxy_admin_internal.h"

#define SOCKET_COLUMNS                                                                         \
    "type user database state addr port local_addr local_port connect_time request_time wait " \
    "wait_us close_needed ptr link remote_pid tls application_name"

static void show_version(const struct admin_show_context *x, struct table *t)
{
    (void)x;
    table_string(t, "Switchgear " SWITCHGEAR_VERSION);
    table_row_end(t);
}

static void put(struct table *t, const char *key, const char *value)
{
    table_string(t, key);
    table_string(t, value);
    table_row_end(t);
}

static void show_state(const struct admin_show_context *x, struct table *t)
{
    uint32_t paused = 0;
    for (uint32_t i = 0; i < x->config->databases_count; i++)
        paused += shared_load(&x->proxy->paused[i]) != 0;
    const bool all = paused > 0 && paused == x->config->databases_count;
    put(t, "active", all ? "no" : "yes");
    put(t, "paused", all ? "yes" : "no");
    put(t, "suspended", "no");
    put(t, "stopping", x->s->stopping ? "yes" : "no");
}

static void show_nothing(const struct admin_show_context *x, struct table *t)
{
    (void)x;
    (void)t;
}

static void show_help(const struct admin_show_context *x, struct table *t);

/* clang-format off */
static const struct admin_show shows[] = {
    {"NODES", "nodes: role, breaker, lag, connections",
     "shard node host port role breaker breaker_reason generation lag_ms fresh_ms_ago replay_lsn "
     "timeline in_flight connections latency_us weight admin_state",
     admin_show_nodes, false, false},
    {"ROUTES", "where statements went, and why",
     "database shard target verdict reason count", admin_show_routes, false, false},
    {"BREAKERS", "state of every breaker and lag gate",
     "shard node state reason override gate since_ms generation calls failures failures_in_row "
     "next_trial_ms transitions opens_level flapping probes probes_failed last_error",
     admin_show_breakers, false, false},
    {"PINS", "sessions bound to one server connection, by reason",
     "reason count total", admin_show_pins, false, false},
    {"CONSISTENCY", "reads by level, and why replicas were refused",
     "database level max_lag_ms reads_on_replicas reads_on_primary recent_write back_in_time "
     "lagging no_evidence no_replica breaker_open level_primary",
     admin_show_consistency, false, false},
    {"POOLS", "server connections by database, user and node",
     "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active "
     "sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us "
     "pool_mode node shard connections pool_size",
     admin_show_pools, false, false},
    {"CLIENTS", "client connections",
     SOCKET_COLUMNS " node pin statements prepared last_write_ms_ago",
     admin_show_clients, true, false},
    {"SERVERS", "server connections", SOCKET_COLUMNS " node role prepared",
     admin_show_servers, false, true},
    {"SOCKETS", "client and server connections",
     SOCKET_COLUMNS " recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail",
     admin_show_sockets, true, true},
    {"ACTIVE_SOCKETS", "those that are not idle",
     SOCKET_COLUMNS " recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail",
     admin_show_active_sockets, true, true},
    {"DATABASES", "configured databases",
     "name host port database force_user pool_size min_pool_size reserve_pool pool_mode "
     "max_connections current_connections paused disabled shards consistency max_lag_ms reads "
     "read_fallback",
     admin_show_databases, false, false},
    {"CATALOG", "what the names of databases at the servers stand for",
     "database shard state objects age_ms questions failures avg_us changes suspects last_error",
     admin_show_catalog, false, false},
    {"CATALOG_OBJECTS", "each of those names; of one database: SHOW CATALOG <database>",
     "database kind name flags", admin_show_catalog_objects, false, false},
    {"STATS", "totals and averages a database",
     "database total_xact_count total_query_count total_received total_sent total_xact_time "
     "total_query_time total_wait_time avg_xact_count avg_query_count avg_recv avg_sent "
     "avg_xact_time avg_query_time avg_wait_time total_login_failures",
     admin_show_stats, false, false},
    {"STATS_TOTALS", "totals a database",
     "database xact_count query_count bytes_received bytes_sent xact_time query_time wait_time "
     "login_failures",
     admin_show_stats_totals, false, false},
    {"STATS_AVERAGES", "averages a database",
     "database xact_count query_count bytes_received bytes_sent xact_time query_time wait_time",
     admin_show_stats_averages, false, false},
    {"TOTALS", "totals and averages of all databases", "name value",
     admin_show_totals, false, false},
    {"LISTS", "how many of each there are", "list items", admin_show_lists, false, false},
    {"USERS", "users of auth_file", "name pool_mode", admin_show_users, false, false},
    {"CONFIG", "options in force", "key value default changeable",
     admin_show_config, false, false},
    {"MEM", "memory", "name size used free memtotal", admin_show_mem, false, false},
    {"WORKERS", "threads that serve clients, and how long their loops were busy at a time",
     "worker clients servers waiting turns turn_max_us turn_recent_us", admin_show_workers, false,
     false},
    {"STATE", "paused or not", "key value", show_state, false, false},
    {"FDS", "always empty: the process is not taken over by another",
     "fd task user database addr port cancel link client_encoding std_strings datestyle timezone "
     "password scram_client_key scram_server_key",
     show_nothing, false, false},
    {"DNS_HOSTS", "always empty: names are not kept", "hostname ttl addrs",
     show_nothing, false, false},
    {"DNS_ZONES", "always empty: names are not kept", "zonename serial count",
     show_nothing, false, false},
    {"VERSION", "version of the proxy", "version", show_version, false, false},
    {"HELP", "this list", "command help", show_help, false, false},
};

static const struct {
    const char *command;
    const char *help;
} commands[] = {
    {"BREAKER <node> OPEN | CLOSE | AUTO", "forces a breaker, or hands it back"},
    {"DRAIN <node>", "no new statement to it; running ones finish"},
    {"UNDRAIN <node>", "statements again"},
    {"FORGET CLUSTER <shard>", "believe whoever is its primary now"},
    {"READS <database> TO PRIMARY | REPLICAS | AUTO", "where its reads go"},
    {"EXPLAIN ROUTE <database> <statement>", "where a statement would go, without running it"},
    {"PAUSE [<database>]", "statements wait; answered when all server connections are closed"},
    {"RESUME [<database>]", "statements go on"},
    {"DISABLE <database>", "nobody new logs in"},
    {"ENABLE <database>", "clients may log in again"},
    {"RECONNECT [<database>]", "server connections are replaced as they are released"},
    {"WAIT_CLOSE [<database>]", "answered when all from before RECONNECT are closed"},
    {"KILL [<database>]", "drops clients and server connections; statements wait until RESUME"},
    {"KILL_CLIENT <ptr>", "drops one client"},
    {"SET <key> = <value>", "changes an option until the next RELOAD"},
    {"RELOAD", "reads the configuration again"},
    {"SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]",
     "stops at once, when all transactions have ended, or when all clients have left"},
};
/* clang-format on */

static void show_help(const struct admin_show_context *x, struct table *t)
{
    (void)x;
    for (size_t i = 0; i < sizeof shows / sizeof shows[0]; i++) {
        table_format(t, "SHOW %s", shows[i].name);
        table_string(t, shows[i].help);
        table_row_end(t);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        put(t, commands[i].command, commands[i].help);
}

const struct admin_show *admin_show_find(const char *name)
{
    for (size_t i = 0; i < sizeof shows / sizeof shows[0]; i++) {
        if (strcmp(shows[i].name, name) == 0)
            return &shows[i];
    }
    return NULL;
}

void admin_show_names(struct text *ret)
{
    for (size_t i = 0; i < sizeof shows / sizeof shows[0]; i++)
        text_format(ret, "%s%s", i > 0 ? " " : "", shows[i].name);
}

const char *admin_setting(const char *name)
{
    static const struct {
        const char *name;
        const char *value;
    } settings[] = {
        {"SERVER_VERSION", "15.0 (Switchgear " SWITCHGEAR_VERSION ")"},
        {"SERVER_VERSION_NUM", "150000"},
        {"SERVER_ENCODING", "UTF8"},
        {"CLIENT_ENCODING", "UTF8"},
        {"DATESTYLE", "ISO, MDY"},
        {"INTERVALSTYLE", "postgres"},
        {"TIMEZONE", "UTC"},
        {"INTEGER_DATETIMES", "on"},
        {"STANDARD_CONFORMING_STRINGS", "on"},
        {"TRANSACTION_ISOLATION", "read committed"},
        {"TRANSACTION_READ_ONLY", "off"},
        {"DEFAULT_TRANSACTION_ISOLATION", "read committed"},
        {"DEFAULT_TRANSACTION_READ_ONLY", "off"},
        {"MAX_IDENTIFIER_LENGTH", "63"},
        {"SEARCH_PATH", "public"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        if (strcmp(settings[i].name, name) == 0)
            return settings[i].value;
    }
    return NULL;
}

const char *admin_pool_mode_text(int pool_mode)
{
    return pool_mode == CONFIG_POOL_SESSION     ? "session"
           : pool_mode == CONFIG_POOL_STATEMENT ? "statement"
                                                : "transaction";
}

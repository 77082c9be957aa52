/* SPDX-License-Identifier: PostgreSQL
 *
 * router_reason: the words of every routing decision. One enum, one text each, one counter each.
 *
 * Pure; any thread. The texts are a contract (SHOW ROUTES, metrics): add, never rename.
 */
#ifndef ROUTER_REASON_H
#define ROUTER_REASON_H

/* What a statement is. */
#define ROUTER_VERDICT_MAP(X)                                                                \
    X(READ, "read")               /* any fit replica; the primary is always acceptable */    \
    X(WRITE, "write")             /* primary only */                                         \
    X(TRANSACTION, "transaction") /* BEGIN, COMMIT, ROLLBACK, SAVEPOINT ... */               \
    X(SESSION, "session")         /* session state that could be replayed: SET, RESET ... */ \
    X(PIN, "pin")                 /* binds the session to one backend */                     \
    X(LOCAL, "local")             /* no effect on a server, or answered by the proxy */

enum router_verdict {
#define X(name, text) ROUTER_VERDICT_##name,
    ROUTER_VERDICT_MAP(X)
#undef X
        ROUTER_VERDICT_COUNT
};

/* Where a statement went. */
#define ROUTER_TARGET_MAP(X) \
    X(PRIMARY, "primary")    \
    X(REPLICA, "replica")    \
    X(PROXY, "proxy")

enum router_target {
#define X(name, text) ROUTER_TARGET_##name,
    ROUTER_TARGET_MAP(X)
#undef X
        ROUTER_TARGET_COUNT
};

/* Why: first the reasons that the text itself gives, then those of the moment. */
#define ROUTER_REASON_MAP(X)                                                                       \
    X(NONE, "none")                                                                                \
    X(SELECT, "select")                                                                            \
    X(SHOW, "show")                                                                                \
    X(EXPLAIN, "explain")                                                                          \
    X(COPY_OUT, "copy_out")                                                                        \
    X(CURSOR, "cursor")                                                                            \
    X(DML, "dml")                                                                                  \
    X(DDL, "ddl")                                                                                  \
    X(UTILITY, "utility")                                                                          \
    X(CALL, "call")                                                                                \
    X(LOCKING_CLAUSE, "locking_clause")                                                            \
    X(CTE_DML, "cte_dml")                                                                          \
    X(SELECT_INTO, "select_into")                                                                  \
    X(VOLATILE_FUNCTION, "volatile_function")                                                      \
    X(UNKNOWN_FUNCTION, "unknown_function")                                                        \
    X(UNKNOWN_OPERATOR, "unknown_operator")                                                        \
    X(NODE_SPECIFIC, "node_specific") /* a function or setting that differs from node to node */   \
    X(SQL_AS_TEXT, "sql_as_text")     /* a function that runs SQL passed as text */                \
    X(CATALOG, "catalog")                                                                          \
    X(TEMP_TABLE, "temp_table")                                                                    \
    X(UNLOGGED, "unlogged")                                                                        \
    X(SEQUENCE, "sequence")                                                                        \
    X(FOREIGN_TABLE, "foreign_table")                                                              \
    X(CATALOG_RELATION, "catalog_relation") /* the catalog says that a replica may not serve it */ \
    X(UNKNOWN_RELATION, "unknown_relation") /* the catalog is not known, or does not have it */    \
    X(PARSE_ERROR, "parse_error")                                                                  \
    X(TOO_LONG, "too_long")                                                                        \
    X(MULTI_STATEMENT, "multi_statement")                                                          \
    X(UNKNOWN_NODE, "unknown_node")                                                                \
    X(UNKNOWN_STATEMENT, "unknown_statement") /* Bind of a name that was never parsed */           \
    X(BEGIN, "begin")                                                                              \
    X(COMMIT, "commit")                                                                            \
    X(ROLLBACK, "rollback")                                                                        \
    X(SAVEPOINT, "savepoint")                                                                      \
    X(SET, "set")                                                                                  \
    X(SET_CONFIG, "set_config")                                                                    \
    X(DISCARD, "discard")                                                                          \
    X(DEALLOCATE, "deallocate")                                                                    \
    X(LISTEN, "listen")                                                                            \
    X(ADVISORY_LOCK, "advisory_lock")                                                              \
    X(SETSEED, "setseed")                                                                          \
    X(SQL_PREPARE, "sql_prepare")                                                                  \
    X(HOLD_CURSOR, "hold_cursor")                                                                  \
    X(LOAD, "load")                                                                                \
    X(BACKUP, "backup")                                                                            \
    X(OPAQUE_FUNCTION, "opaque_function") /* what it leaves cannot be asked for */                 \
    X(SNAPSHOT, "snapshot")                                                                        \
    X(EMPTY, "empty")                                                                              \
    X(SWITCHGEAR, "switchgear") /* a statement that the proxy answers itself */                    \
    X(FUNCTION_CALL, "function_call")                                                              \
    X(REPLICATION, "replication")                                                                  \
    X(IN_TRANSACTION, "in_transaction")                                                            \
    X(IN_WRITE_TRANSACTION, "in_write_transaction")                                                \
    X(READ_ONLY_TRANSACTION, "read_only_transaction")                                              \
    X(PINNED, "pinned")                                                                            \
    X(PIPELINED, "pipelined") /* replies are outstanding there: order must be kept */              \
    X(RECENT_WRITE, "recent_write")                                                                \
    X(BACK_IN_TIME, "back_in_time")                                                                \
    X(LAGGING, "lagging")                                                                          \
    X(NO_EVIDENCE, "no_evidence") /* no probe has answered yet */                                  \
    X(NO_REPLICA, "no_replica")                                                                    \
    X(NO_PRIMARY, "no_primary")                                                                    \
    X(BREAKER_OPEN, "breaker_open")                                                                \
    X(DRAINED, "drained")                                                                          \
    X(POOL_FULL, "pool_full")                                                                      \
    X(CONSISTENCY, "consistency") /* level `primary` */                                            \
    X(FORCED, "forced")           /* READS ... TO, SET switchgear.route */                         \
    X(HINT, "hint")                                                                                \
    X(ROLLOUT, "rollout")                                                                          \
    X(LEARNED, "learned")                                                                          \
    X(RETRY, "retry") /* the first node failed before it answered */

enum router_reason {
#define X(name, text) ROUTER_REASON_##name,
    ROUTER_REASON_MAP(X)
#undef X
        ROUTER_REASON_COUNT
};

const char *router_verdict_text(enum router_verdict verdict);
const char *router_target_text(enum router_target target);
const char *router_reason_text(enum router_reason reason);

#endif

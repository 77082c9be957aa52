/* SPDX-License-Identifier: PostgreSQL
 *
 * config: text -> struct config. INI by inih, environment, --set, validation.
 *
 * Pure: files are read by the shell, their text comes in. Allocation in an arena that belongs to
 * the struct config; config_destroy() frees everything at once. A struct config is immutable after
 * config_finish() and may then be read by any thread.
 * Source of names and defaults: docs/reference/configuration.md, generated from config_options.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_NODES_MAX = 16,
    CONFIG_DATABASES_MAX = 64,
    CONFIG_SHARDS_MAX = 16,
    CONFIG_LISTEN_MAX = 8,
    CONFIG_USERS_MAX = 4096,
    CONFIG_INSTANCE_MAX = 255, /* the highest instance_id: cancel keys have 8 bits for it */
    CONFIG_ERRORS_MAX = 256,
    CONFIG_LINE_MAX = 4096,     /* bytes of one line of the file, without its comment */
    CONFIG_NAME_MAX = 63,       /* bytes of a node's, database's or shard's name */
    CONFIG_MEMORY_MAX = 1 << 24 /* bytes of all strings of one config */
};

/* ---- the option table ---- */

enum config_type {
    CONFIG_BOOL,
    CONFIG_INTEGER,  /* uint64_t; `auto` is allowed where it is the default (stored as 0, then
                        worked out by config_finish() for what a database inherits) */
    CONFIG_DURATION, /* uint64_t nanoseconds; a plain number is in the option's unit */
    CONFIG_SIZE,     /* uint64_t bytes; kB MB GB */
    CONFIG_SHARE,    /* uint32_t per mille: "50%" -> 500 */
    CONFIG_STRING,   /* const char *, never NULL; one of `choices` where there are any */
    CONFIG_ENUM,     /* int, index into the option's `choices` */
    CONFIG_LIST,     /* const char *: comma separated, checked by validation */
};

enum config_section {
    CONFIG_SECTION_SWITCHGEAR,
    CONFIG_SECTION_NODE,
    CONFIG_SECTION_DATABASE,
    CONFIG_SECTION_PROBE,
    CONFIG_SECTION_BREAKER,
};

struct config_option {
    enum config_section section;
    const char *name;
    enum config_type type;
    const char *unit;         /* "ms", "s", "" ... of a plain number */
    const char *default_text; /* as written in a file */
    const char *min_text;     /* bounds, or NULL */
    const char *max_text;
    const char *const *choices; /* CONFIG_ENUM: NULL-terminated */
    bool reloadable;
    bool in_effect;   /* false: accepted, but has no effect yet; the reference says so */
    const char *help; /* one sentence */
    size_t offset;    /* of the field in its section's struct */
};
extern const struct config_option config_options[];
extern const size_t config_options_count;

/* ---- the result ---- */

enum config_auth {
    CONFIG_AUTH_TRUST,
    CONFIG_AUTH_SCRAM,
    CONFIG_AUTH_MD5,
    CONFIG_AUTH_CERT,
    CONFIG_AUTH_HBA
};
enum config_sslmode { /* PgBouncer's and libpq's; from REQUIRE on TLS is a must */
                      CONFIG_SSL_DISABLE,
                      CONFIG_SSL_ALLOW,
                      CONFIG_SSL_PREFER,
                      CONFIG_SSL_REQUIRE,
                      CONFIG_SSL_VERIFY_CA,
                      CONFIG_SSL_VERIFY_FULL
};
enum config_role { CONFIG_ROLE_AUTO, CONFIG_ROLE_PRIMARY, CONFIG_ROLE_REPLICA };
enum config_pool_mode { CONFIG_POOL_SESSION, CONFIG_POOL_TRANSACTION, CONFIG_POOL_STATEMENT };
enum config_consistency { /* the order of enum router_level */
                          CONFIG_EVENTUAL,
                          CONFIG_BOUNDED,
                          CONFIG_SESSION,
                          CONFIG_GLOBAL,
                          CONFIG_PRIMARY
};
enum config_transaction_reads {
    CONFIG_TRANSACTION_READS_PRIMARY,
    CONFIG_TRANSACTION_READS_UNTIL_WRITE
};
enum config_currval { CONFIG_CURRVAL_TRANSACTION, CONFIG_CURRVAL_SESSION };
enum config_isolation { CONFIG_ISOLATION_PROVEN, CONFIG_ISOLATION_TEXT };
enum config_hints { CONFIG_HINTS_ON, CONFIG_HINTS_OFF };
enum config_fallback { CONFIG_FALLBACK_PRIMARY, CONFIG_FALLBACK_FAIL };
enum config_primary_gone { CONFIG_PRIMARY_GONE_SERVE, CONFIG_PRIMARY_GONE_REFUSE };
enum config_proxy_protocol { CONFIG_PROXY_OFF, CONFIG_PROXY_V2 };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARNING, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };

struct config_switchgear {
    const char *listen;
    const char *admin_socket;
    const char *state_file;
    uint64_t role_wait_ns;
    uint64_t client_spool;
    uint64_t client_write_timeout_ns;
    const char *http_listen, *http_hosts;
    uint64_t workers; /* 0: auto */
    int auth_type;
    const char *auth_file;
    const char *auth_hba_file, *auth_ident_file;
    const char *auth_query, *auth_user, *auth_dbname;
    bool server_scram_keys, server_passwordless, secrets_readable;
    bool core_dumps;
    const char *run_as;
    const char *admin_users, *stats_users;
    int log_format;
    int log_level;
    int primary_gone_reads;
    bool trust_anywhere; /* --set switchgear.trust_anywhere=yes: trust on addresses that are not
                            loopback */
    uint64_t instance_id;
    const char *peers; /* "1=host:port, 2=host:port": config_peer_find() */
    uint64_t cancel_wait_timeout_ns;
    int proxy_protocol;              /* enum config_proxy_protocol */
    const char *proxy_protocol_from; /* config_network_has() */
    const char *unix_socket_mode;    /* config_mode_parse() */
    const char *unix_socket_group;
    /* PgBouncer's names */
    uint64_t max_client_conn;
    uint64_t max_db_client_connections, max_user_client_connections;
    uint64_t default_pool_size;
    uint64_t min_pool_size;
    uint64_t reserve_pool_size;
    uint64_t reserve_pool_timeout_ns;
    uint64_t query_wait_timeout_ns; /* 0: off, here and below */
    uint64_t server_idle_timeout_ns;
    uint64_t server_lifetime_ns;
    uint64_t server_connect_timeout_ns;
    uint64_t server_login_retry_ns;
    uint64_t catalog_interval_ns;
    uint64_t client_login_timeout_ns;
    uint64_t client_idle_timeout_ns;
    uint64_t idle_transaction_timeout_ns;
    uint64_t query_timeout_ns;
    uint64_t transaction_timeout_ns;
    uint64_t shutdown_timeout_ns;
    uint64_t max_db_connections, max_db_connections_per_node;
    uint64_t max_user_connections;
    uint64_t max_prepared_statements; /* a backend's LRU */
    uint64_t client_prepared_memory;  /* bytes of one client's names and their texts */
    uint64_t retry_keep;              /* bytes of a batch kept for a replay */
    uint64_t statement_max; /* bytes of a batch that is planned whole; larger: a write, streamed */
    uint64_t verdict_cache_entries;
    uint64_t connect_parallel; /* connections being opened at once, a worker and pool */
    int client_tls_sslmode, server_tls_sslmode; /* enum config_sslmode */
    /* files: beside the configuration file unless they are absolute; config_finish() sees to it */
    const char *client_tls_cert_file, *client_tls_key_file, *client_tls_ca_file;
    const char *client_tls_crl_file;
    const char *client_tls_protocols, *client_tls_ciphers, *client_tls13_ciphers,
        *client_tls_ecdhcurve, *client_tls_dheparams;
    const char *server_tls_cert_file, *server_tls_key_file, *server_tls_ca_file;
    const char *server_tls_protocols, *server_tls_ciphers;
};

struct config_node {
    const char *name;
    const char *shard;
    const char *host;
    uint64_t port;
    int role;
    uint64_t weight;
    bool weight_given;
    uint64_t max_connections; /* 0: no limit */
    const char *zone;
    const char *options;  /* further libpq keywords */
    uint32_t shard_index; /* into config.shards */
};

struct config_database {
    const char *name; /* "*": any other */
    const char *shards;
    const char *dbname;                               /* "": the name the client used */
    const char *user, *password;                      /* "": the client's own */
    const char *auth_query, *auth_user, *auth_dbname; /* "": those of [switchgear] */
    int pool_mode;
    uint64_t pool_size;
    uint32_t pin_limit_permille;
    int transaction_reads; /* enum config_transaction_reads */
    int currval;           /* enum config_currval */
    int isolation;         /* enum config_isolation */
    int hints;             /* enum config_hints */
    uint64_t min_pool_size;
    uint64_t reserve_pool_size;
    uint64_t max_db_connections, max_db_connections_per_node;
    int consistency;
    uint64_t max_lag_ns;
    int read_fallback;
    uint32_t fallback_limit_permille;
    uint64_t write_wait_ns;
    uint32_t shard_first; /* index into config.shards of the first shard named */
};

struct config_probe {
    uint64_t interval_ns;
    uint64_t freshness_interval_ns; /* effective: at most a quarter of the smallest max_lag */
    uint64_t timeout_ns;
    uint64_t late_timeout_ns;             /* 0: off */
    const char *user, *password, *dbname; /* user: resolved by config_finish(), never "" */
};

/* The struct breaker_config's values, in plain numbers; the proxy copies them over. */
struct config_breaker {
    uint64_t failures, min_calls, trial_probes, trial_permits, trial_calls, trial_failures,
        open_factor, flap_limit;
    uint64_t window_ns, open_for_ns, open_max_ns, open_decay_ns, trial_lease_ns, trial_max_ns,
        min_dwell_ns, slow_start_ns, lag_hard_ns;
    uint32_t failure_rate_permille, retry_budget_permille;
};

/* A line of auth_file, or the one user of DATABASE_URL. */
struct config_user {
    const char *name;
    const char *secret; /* clear text, "md5..." or "SCRAM-SHA-256$..." */
    const char *scram;  /* of a clear-text one: its form for SCRAM, made by the shell; or NULL */
    uint32_t line;      /* of the file; 0: none */
};

struct config {
    struct config_switchgear switchgear;
    struct config_probe probe;
    struct config_breaker breaker;
    struct config_node nodes[CONFIG_NODES_MAX];
    uint32_t nodes_count;
    struct config_database databases[CONFIG_DATABASES_MAX];
    uint32_t databases_count;
    const char *shards[CONFIG_SHARDS_MAX];
    uint32_t shards_count;
    struct config_user *users; /* sorted by name */
    uint32_t users_count;
    struct config_hba *hba; /* config_hba.h */
    uint32_t hba_count;
    const char *hba_file; /* that was read; NULL: none */
    struct config_ident *idents;
    uint32_t idents_count;
    struct config_interface *interfaces; /* of this machine */
    uint32_t interfaces_count;
    struct config_arena *arena;
};

/* ---- making one ---- */

/* Errors and warnings, all of them, in the order of the file. */
struct config_problem {
    const char *file; /* "environment", "--set" or a path */
    uint32_t line;    /* 0: none */
    bool warning;
    const char *message;
};
struct config_problems {
    struct config_problem items[CONFIG_ERRORS_MAX];
    uint32_t count;
    uint32_t errors; /* those that are no warnings; may exceed the array */
    struct config_arena *arena;
};
void config_problems_init(struct config_problems *p);
void config_problems_deinit(struct config_problems *p);
/* For what the shell finds, such as a file that cannot be read. line 0: none. */
void config_problem_add(struct config_problems *p, const char *file, uint32_t line,
                        const char *message);

/* The same for a setting of [switchgear]: the problem stands at its line. */
void config_setting_problem(const struct config *c, const char *key, bool warning,
                            const char *message, struct config_problems *p);
/* An error of a node's setting. */
void config_node_problem(const struct config *c, uint32_t node, const char *key,
                         const char *message, struct config_problems *p);

/* Empty, with every default. NULL: no memory. Memory that runs out later is an error that
 * config_finish() reports. */
struct config *config_create(void);
void config_destroy(struct config *c);

/* Each of these adds what it finds to the config and what is wrong to the problems. */
void config_parse_ini(struct config *c, const char *file, const char *text, size_t size,
                      struct config_problems *p);
/* `get` looks up an environment variable, NULL when unset. */
void config_parse_environment(struct config *c, const char *(*get)(void *arg, const char *name),
                              void *arg, struct config_problems *p);
/* "section.key=value", for example "switchgear.workers=2", "node.pg1.port=5433". It wins over the
 * file and the environment, whichever comes first; of two for one key the later one wins. A node or
 * database that no section names can be made this way only where no section names any. */
void config_set(struct config *c, const char *assignment, struct config_problems *p);
/* PgBouncer's auth_file format. */
void config_parse_users(struct config *c, const char *file, const char *text, size_t size,
                        struct config_problems *p);
/* Contradictions, references, derived values. After it the config is immutable. */
void config_finish(struct config *c, struct config_problems *p);

/* A copy that lives as long as the config; NULL: no memory. For the one who made it, before others
 * see it. */
const char *config_keep(struct config *c, const char *text);

/* ---- reading one ---- */

/* The section that serves clients that name this database, or NULL. */
const struct config_database *config_database_find(const struct config *c, const char *name);
const struct config_user *config_user_find(const struct config *c, const char *name);
/* Is it a password, with which one can log in to a server? A hash is not, nor is nothing. */
bool config_secret_is_clear(const char *secret);
/* What auth_file has of this user, where that is a password; else "". */
const char *config_user_password(const struct config *c, const char *name);
bool config_list_has(const char *list, const char *item); /* comma separated, blanks trimmed */
/* May this user use the admin console, all of it or to look? */
bool config_user_has_console(const struct config *c, const char *name);

/* TLS versions out of a list such as "secure" or "tlsv1.2,tlsv1.3"; PgBouncer's words. False: not
 * understood, or older than 1.2. */
struct config_tls_versions {
    bool v12, v13;
};
bool config_tls_versions_parse(const char *text, struct config_tls_versions *ret);

/* What a reload would change that needs a restart: adds an error a field, so that a reload whose
 * problems have errors can be refused as a whole. Both configs are finished ones. */
void config_diff(const struct config *from, const struct config *to, struct config_problems *p);

/* A value as text, for SHOW CONFIG; buf is used where the value is no string (32 bytes are enough).
 * Passwords are not hidden. */
const char *config_value_text(const struct config_option *o, const void *section_struct, char *buf,
                              size_t buf_size);

/* The sample file and the reference page, both made from the option table. Returns the size needed
 * (as snprintf). */
size_t config_write_sample(char *buf, size_t buf_size);
size_t config_write_reference(char *buf, size_t buf_size); /* docs/reference/configuration.md */
size_t config_write_options(char *buf, size_t buf_size); /* `show CONFIG-options`: TSV with head */

/* Splits one listen item: "127.0.0.1:6432", "[::1]:6432", "unix:/run/x", "*:6432". */
struct config_address {
    bool is_unix;
    bool is_loopback; /* also of a Unix socket: nobody comes from another machine */
    char host[108];   /* or the directory; "" for all addresses */
    uint16_t port;
};
bool config_address_parse(const char *text, struct config_address *ret);

/* Is this address (IPv6, or v4-mapped) in one of these networks ("10.0.0.0/8, ::1, unix")? A Unix
 * socket has none: NULL. */
bool config_network_has(const char *networks, const uint8_t address[16]);
/* "0770" -> its bits. */
bool config_mode_parse(const char *text, uint32_t *ret);

/* One item of `peers`: "1=10.0.0.2:6432". */
bool config_peer_parse(const char *text, uint32_t *ret_instance, struct config_address *ret);
/* The address of this instance among `peers`. False: it is not there. */
bool config_peer_find(const char *peers, uint32_t instance, struct config_address *ret);

#endif

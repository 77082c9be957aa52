/* SPDX-License-Identifier: PostgreSQL
 *
 * config_url: one libpq URL, as in chapter "libpq", "Connection URIs" of the PostgreSQL manual.
 * Pure. A URL holds a password: no message quotes a part of it but the names of parameters.
 */
#include "config_internal.h"

#include <string.h>
#include <strings.h>

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'a' && ch <= 'f')
        return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'F')
        return ch - 'A' + 10;
    return -1;
}

/* NULL: *ret is the decoded text. */
static const char *decode(struct config_arena *a, const char *text, size_t size, const char **ret)
{
    char *decoded = config_arena_alloc(a, size + 1);
    size_t used = 0;
    if (decoded == NULL)
        return "no memory";
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '%') {
            decoded[used++] = text[i];
            continue;
        }
        const int high = size - i > 2 ? hex_digit(text[i + 1]) : -1;
        const int low = size - i > 2 ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0)
            return "a % is not followed by two hexadecimal digits: write a plain % as %25";
        if (high == 0 && low == 0)
            return "%00 is not allowed";
        decoded[used++] = (char)(high * 16 + low);
        i += 2;
    }
    decoded[used] = '\0';
    *ret = decoded;
    return NULL;
}

static const char *host_read(struct config_arena *a, const char *text, const char *end,
                             struct config_url *u)
{
    const char *host_end = NULL;
    const char *wrong = NULL;
    if (memchr(text, '@', (size_t)(end - text)) != NULL)
        return "there is a second @: write an @ in a user or password as %40";
    if (memchr(text, ',', (size_t)(end - text)) != NULL)
        return "several hosts: a node is one server, so write one URL for each";
    if (text < end && *text == '[') {
        text++;
        host_end = memchr(text, ']', (size_t)(end - text));
        if (host_end == NULL)
            return "an IPv6 address does not end: add ]";
        wrong = decode(a, text, (size_t)(host_end - text), &u->host);
        host_end++;
        if (host_end < end && *host_end != ':')
            return "text between ] and the port";
    } else {
        host_end = memchr(text, ':', (size_t)(end - text));
        if (host_end == NULL)
            host_end = end;
        wrong = decode(a, text, (size_t)(host_end - text), &u->host);
    }
    if (wrong == NULL && host_end < end)
        wrong = decode(a, host_end + 1, (size_t)(end - host_end - 1), &u->port);
    return wrong;
}

static const char *user_read(struct config_arena *a, const char *text, const char *end,
                             struct config_url *u)
{
    const char *colon = memchr(text, ':', (size_t)(end - text));
    const char *user_end = colon == NULL ? end : colon;
    const char *wrong = decode(a, text, (size_t)(user_end - text), &u->user);
    if (wrong == NULL && colon != NULL)
        wrong = decode(a, colon + 1, (size_t)(end - colon - 1), &u->password);
    return wrong;
}

/* What frameworks and their drivers read in a URL for themselves, and libpq does not know. Lower
 * case; in the URL case does not count. */
static const char *const framework_parameters[] = {
    /* Prisma */ "schema",
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
    "max_idle_connection_lifetime",
    "max_connection_lifetime",
    "sslaccept",
    "sslidentity",
    "sslpassword",
    "single_use_connections",
    /* JDBC, Npgsql */ "currentschema",
    "preparethreshold",
    "applicationname",
    "sockettimeout",
    "logintimeout",
    "connecttimeout",
    "tcpkeepalive",
    "rewritebatchedinserts",
    "stringtype",
    "defaultrowfetchsize",
    "targetservertype",
    "loadbalancehosts",
    "binarytransfer",
    "sslfactory",
    "autosave",
    "reauthentication",
    "preferquerymode",
    "readonly",
    "pooling",
    "minpoolsize",
    "maxpoolsize",
    /* Rails, Ecto, Django, SQLAlchemy, node */ "pool",
    "pool_size",
    "max_pool",
    "min_pool",
    "prepared_statements",
    "advisory_locks",
    "encoding",
    "reaping_frequency",
    "checkout_timeout",
    "idle_timeout",
    "variables",
    "conn_max_age",
    "conn_health_checks",
    "max_overflow",
    "pool_recycle",
    "pool_pre_ping",
    "prepared_statement_cache_size",
    "uselibpqcompat",
    "search_path",
    "statement_timeout",
    "query_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "timezone",
    "prefer_simple_protocol",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "pool_max_conns",
    "pool_min_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_idle_time",
    "pool_health_check_period",
    NULL};

/* True: it is theirs. What it wants for the application's own session is the application's to say,
 * in its URL of the proxy. */
static bool parameter_drop(struct config_arena *a, const char *key, const char *value,
                           struct config_url *u)
{
    size_t i = 0;
    while (framework_parameters[i] != NULL && strcasecmp(key, framework_parameters[i]) != 0)
        i++;
    if (framework_parameters[i] == NULL)
        return false;
    if (strcasecmp(key, "sslaccept") == 0 && strcasecmp(value, "strict") == 0)
        u->certificate_wanted = true;
    u->dropped = config_arena_print(a, "%s%s%s", u->dropped, u->dropped[0] != '\0' ? ", " : "",
                                    framework_parameters[i]);
    return true;
}

static const char *parameter_store(struct config_arena *a, const char *key, const char *value,
                                   struct config_url *u)
{
    const struct {
        const char *name;
        const char **field;
    } fields[] = {{"user", &u->user},
                  {"password", &u->password},
                  {"host", &u->host},
                  {"port", &u->port},
                  {"dbname", &u->dbname}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(key, fields[i].name) == 0) {
            *fields[i].field = value;
            return NULL;
        }
    }
    if (strcmp(key, "ssl") == 0 && strcmp(value, "true") == 0) { /* as libpq takes it, from JDBC */
        key = "sslmode";
        value = "require";
    }
    if (parameter_drop(a, key, value, u))
        return NULL;
    if (*key == '\0' || strspn(key, "abcdefghijklmnopqrstuvwxyz_0123456789") != strlen(key))
        return config_arena_print(a, "%.60s is no name of a libpq parameter", key);
    u->options = config_keyword_append(a, u->options, key, value);
    return NULL;
}

static const char *parameters_read(struct config_arena *a, const char *text, struct config_url *u)
{
    const char *key = NULL;
    const char *value = NULL;
    while (*text != '\0') {
        const char *end = strchrnul(text, '&');
        const char *equals = memchr(text, '=', (size_t)(end - text));
        if (equals == NULL)
            return "a parameter behind the ? has no value: write name=value";
        const char *wrong = decode(a, text, (size_t)(equals - text), &key);
        if (wrong == NULL)
            wrong = decode(a, equals + 1, (size_t)(end - equals - 1), &value);
        if (wrong == NULL)
            wrong = parameter_store(a, key, value, u);
        if (wrong != NULL)
            return wrong;
        text = *end == '&' ? end + 1 : end;
    }
    return NULL;
}

/* Behind postgres://, also as SQLAlchemy (postgresql+psycopg://), JDBC and GeoDjango write it. */
static const char *scheme_end(const char *text)
{
    static const char *const schemes[] = {"postgresql", "postgres", "postgis"};
    if (strncmp(text, "jdbc:", 5) == 0)
        text += 5;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        const size_t size = strlen(schemes[i]);
        if (strncmp(text, schemes[i], size) != 0)
            continue;
        const char *end = text + size;
        if (*end == '+')
            end += 1 + strspn(end + 1, "abcdefghijklmnopqrstuvwxyz0123456789_");
        return strncmp(end, "://", 3) == 0 ? end + 3 : NULL;
    }
    return NULL;
}

const char *config_url_parse(struct config_arena *a, const char *text, struct config_url *ret)
{
    struct config_url u = {"", "", "", "", "", "", "", false};
    const char *at = scheme_end(text);
    const char *wrong = NULL;
    if (at == NULL)
        return "this is no URL of a server: write postgres://user:password@host:port/database";
    const char *end = at + strcspn(at, "/?");
    const char *sign = memchr(at, '@', (size_t)(end - at));
    if (sign != NULL) {
        wrong = user_read(a, at, sign, &u);
        at = sign + 1;
    }
    if (wrong == NULL)
        wrong = host_read(a, at, end, &u);
    if (wrong == NULL && *end == '/') {
        const size_t size = strcspn(end + 1, "?");
        wrong = decode(a, end + 1, size, &u.dbname);
        end += 1 + size;
    }
    if (wrong == NULL && *end == '?')
        wrong = parameters_read(a, end + 1, &u);
    if (wrong == NULL)
        *ret = u;
    return wrong;
}

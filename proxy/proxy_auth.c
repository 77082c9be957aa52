/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth: who may log in, and how they prove who they are. See the header.
 */
#include <stdlib.h>

#include "proxy_auth_ask.h"
#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_look.h"
#include "proxy_tls.h"

bool auth_is_console(const char *name)
{
    return strcmp(name, "switchgear") == 0 || strcmp(name, "pgbouncer") == 0;
}

/* The proxy's own state forbids it, whoever it is. */
static bool closed_to_all(const struct client *c, struct auth_refusal *ret)
{
    const struct proxy *p = c->worker->proxy;
    if (ck_pr_load_64(&p->shutting_down) != 0) {
        auth_refuse(ret, "57P01", "the proxy is shutting down");
        return true;
    }
    if (!c->is_admin_socket &&
        ck_pr_load_64(&p->client_count) > c->worker->config->switchgear.max_client_conn) {
        auth_refuse(ret, "53300", "no more connections allowed (max_client_conn)");
        ret->text.hint = "Raise max_client_conn.";
        return true;
    }
    if (!c->is_admin_socket &&
        ck_pr_load_64(&p->client_count) > ck_pr_load_64(&p->descriptors_clients_max)) {
        auth_refuse(ret, "53300", "no more connections allowed (the proxy's limit of open files)");
        ret->text.hint = "Raise ulimit -n, or LimitNOFILE= of systemd.";
        return true;
    }
    return false;
}

/* ---- the start-up packet ---- */

/* Of this user's secrets, the form that the exchange wants. */
static const char *secret_for(const struct auth *a, enum core_auth way, char made[256])
{
    const struct client *c = a->client;
    const char *name = core_login_user_name(&c->core);
    if (a->secret == NULL && a->asked && c->worker->auth_seen_clear)
        auth_scram_make(c->worker->proxy, name, "nobody", made); /* the time that it would cost */
    if (a->secret == NULL || way == CORE_AUTH_MD5 || !config_secret_is_clear(a->secret))
        return a->secret;
    const struct config_user *user =
        a->fetched == NULL ? config_user_find(c->worker->config, name) : NULL;
    if (user != NULL && user->scram != NULL)
        return user->scram;
    auth_scram_make(c->worker->proxy, name, a->secret, made);
    return made;
}

void auth_answer(struct auth *a, const struct auth_refusal *refusal, uint64_t now_ns)
{
    struct client *c = a->client;
    struct core_login_answer answer = {.auth = a->way};
    uint8_t binding[PROTO_SCRAM_BINDING_SIZE_MAX];
    char made[256];
    proxy_random(answer.random, sizeof(answer.random));
    memcpy(answer.server_key, c->worker->proxy->server_key, sizeof(answer.server_key));
    answer.channel_binding = (struct proto_span){
        .base = binding, .size = tls_channel_binding(c, binding, sizeof(binding))};
    /* md5 of the hba file and of auth_type: SCRAM for whoever has its secret, as PostgreSQL does */
    if (a->way == CORE_AUTH_MD5 && a->secret == NULL)
        answer.auth = auth_way_of_strangers(a);
    else if (a->way == CORE_AUTH_MD5 && strncmp(a->secret, "SCRAM-SHA-256$", 14) == 0)
        answer.auth = CORE_AUTH_SCRAM;
    answer.secret = secret_for(a, answer.auth, made);
    if (refusal != NULL)
        answer.error = &refusal->text;
    worker_apply(c->worker, c, core_login_user(&c->core, &answer, now_ns), now_ns);
}

void auth_fetched(struct auth *a, const struct auth_refusal *refusal, uint64_t now_ns)
{
    a->secret = a->fetched;
    a->known = a->fetched != NULL;
    auth_answer(a, refusal, now_ns);
}

static void on_host_known(struct hosts_wait *wait, const char *name)
{
    struct auth *a = wait->owner;
    worker_topology_refresh(a->client->worker);
    a->host = name != NULL ? CONFIG_HBA_HOST_NAMED : CONFIG_HBA_HOST_NONE;
    a->host_name = name;
    auth_continue(a, uv_hrtime());
}

static void find_host(struct auth *a, uint64_t now_ns)
{
    struct worker *w = a->client->worker;
    struct auth_refusal refusal;
    assert(a->host == CONFIG_HBA_HOST_UNKNOWN);
    if (w->hosts == NULL)
        w->hosts = hosts_create(&w->loop);
    a->host_wait.owner = a;
    a->host_wait.on_known = on_host_known;
    if (hosts_ask(w->hosts, a->client->address.s6_addr, &a->host_wait, now_ns))
        return;
    auth_refuse(&refusal, "53300", "too many host names are being looked up");
    auth_answer(a, &refusal, now_ns);
}

/* How it is to prove who it is, and against which secret. */
void auth_continue(struct auth *a, uint64_t now_ns)
{
    const struct client *c = a->client;
    struct auth_refusal refusal;
    const enum auth_verdict verdict = auth_method(a, &refusal);
    if (verdict == AUTH_WANTS_HOST) {
        find_host(a, now_ns);
        return;
    }
    if (verdict == AUTH_WANTS_ROLES) {
        auth_roles_start(a, now_ns);
        return;
    }
    if (verdict == AUTH_REFUSED) {
        auth_answer(a, &refusal, now_ns);
        return;
    }
    if (a->line != NULL && a->line->method == CONFIG_HBA_PEER) {
        auth_peer_start(a, now_ns);
        return;
    }
    const struct config_user *user =
        config_user_find(c->worker->config, core_login_user_name(&c->core));
    a->known = user != NULL;
    a->secret = user != NULL ? user->secret : NULL;
    if (user == NULL && a->way != CORE_AUTH_TRUST && auth_query_wanted(a))
        auth_query_start(a, now_ns);
    else
        auth_answer(a, NULL, now_ns);
}

void auth_login(struct client *c, uint64_t now_ns)
{
    struct auth_refusal refusal;
    struct auth *a = calloc(1, sizeof(*a));
    if (a == NULL)
        abort();
    assert(c->auth == NULL);
    c->auth = a;
    a->client = c;
    if (closed_to_all(c, &refusal))
        auth_answer(a, &refusal, now_ns);
    else
        auth_continue(a, now_ns);
}

void auth_forget(struct client *c)
{
    struct auth *a = c->auth;
    if (a == NULL)
        return;
    c->auth = NULL;
    if (a->peer != NULL)
        auth_peer_forget(a->peer);
    if (a->host_wait.entry != NULL)
        hosts_forget(&a->host_wait);
    if (a->entry != NULL)
        auth_ask_forget(a);
    look_forget(a);
    if (a->fetched != NULL)
        explicit_bzero(a->fetched, strlen(a->fetched));
    free(a->fetched);
    free(a->roles);
    free(a);
}

/* ---- who it is, is proven: where it may go ---- */

/* Physical replication is of no database: clients name "replication" or none, and any section tells
 * whose primary it is. */
static const struct config_database *section_of(const struct client *c)
{
    const struct config *config = c->worker->config;
    const struct config_database *d = config_database_find(config, core_login_database(&c->core));
    if (d == NULL && core_login_replication(&c->core) == CORE_REPLICATION_PHYSICAL &&
        config->databases_count > 0)
        d = &config->databases[0];
    return d;
}

/* Only now, and not before the proof: strangers shall not learn which databases there are, nor
 * make a group for each name that they can think of. */
static bool may_enter(const struct client *c, struct auth_refusal *ret)
{
    const struct config *config = c->worker->config;
    const char *user = core_login_user_name(&c->core);
    const char *database = core_login_database(&c->core);
    if (auth_is_console(database)) {
        if (c->is_admin_socket || config_user_has_console(config, user))
            return true;
        auth_refuse(ret, "42501", "user \"%s\" may not use the admin console", user);
        ret->text.hint = "Name the user in admin_users or stats_users.";
        return false;
    }
    const struct config_database *d = section_of(c);
    const uint64_t *disabled = c->worker->proxy->disabled;
    if (!c->is_admin_socket && d != NULL &&
        shared_load(&disabled[d - c->worker->config->databases]) != 0) {
        auth_refuse(ret, "55000", "database \"%s\" does not allow connections", database);
        ret->text.hint = "ENABLE in the admin console lets clients in again.";
        return false;
    }
    if (!c->is_admin_socket && d != NULL)
        return true;
    auth_refuse(ret, "3D000", "database \"%s\" does not exist", database);
    if (c->is_admin_socket)
        ret->text.hint = "The admin socket serves the database switchgear only.";
    return false;
}

/* The client's own password, where it is known in clear text. */
static const char *clear_password(const struct client *c)
{
    const char *sent = core_login_password(&c->core);
    if (sent != NULL)
        return sent;
    const char *secret = c->auth->secret;
    return secret != NULL && config_secret_is_clear(secret) ? secret : NULL;
}

void auth_proven(struct client *c, uint64_t now_ns)
{
    struct worker *w = c->worker;
    const char *user = core_login_user_name(&c->core);
    const char *name = core_login_database(&c->core);
    struct auth_refusal refusal;
    if (!may_enter(c, &refusal)) {
        worker_apply(w, c, core_login_admit(&c->core, NULL, &refusal.text, now_ns), now_ns);
        return;
    }
    if (auth_is_console(name)) {
        client_hand_to_admin(c);
        return;
    }
    const struct config_database *d = section_of(c);
    const uint32_t index = (uint32_t)(d - w->config->databases);
    if (look_hold(c->auth, index, d->dbname[0] != '\0' ? d->dbname : name, now_ns))
        return;
    if (!client_limits_take(c, index, user, &refusal.text)) {
        worker_apply(w, c, core_login_admit(&c->core, NULL, &refusal.text, now_ns), now_ns);
        return;
    }
    struct group *g = worker_group(w, index, name, user);
    g->users++;
    auth_group_learn(g, c, clear_password(c));
    if (strcmp(g->user, user) != 0) { /* the section names one user for all its clients */
        c->user = strdup(user);
        if (c->user == NULL)
            abort();
    }
    worker_apply(w, c, core_login_admit(&c->core, &g->core, NULL, now_ns), now_ns);
}

/* ---- failures ---- */

static enum login_failure failure_of(const char *sqlstate)
{
    static const struct {
        const char *start;
        enum login_failure failure;
    } classes[] = {{"28P01", LOGIN_FAILED_PASSWORD}, {"28", LOGIN_FAILED_REJECTED},
                   {"42501", LOGIN_FAILED_REJECTED}, {"3D", LOGIN_FAILED_DATABASE},
                   {"53", LOGIN_FAILED_LIMIT},       {"08", LOGIN_FAILED_PROTOCOL},
                   {"57014", LOGIN_FAILED_TIMEOUT}};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strncmp(sqlstate, classes[i].start, strlen(classes[i].start)) == 0)
            return classes[i].failure;
    return LOGIN_FAILED_OTHER;
}

void auth_failed(struct client *c, const char *sqlstate)
{
    struct worker *w = c->worker;
    const bool named = c->core.login != NULL;
    const char *user = named ? core_login_user_name(&c->core) : "";
    const char *name = named ? core_login_database(&c->core) : "";
    char address[64];
    shared_add(&w->stats.logins_failed[failure_of(sqlstate)], 1);
    const struct config_database *d = config_database_find(w->config, name);
    if (d != NULL && name[0] != '\0')
        shared_add(&w->database_stats[d - w->config->databases].login_failures, 1);
    client_address_text(c, address, sizeof(address));
    const bool wrong = strcmp(sqlstate, "28P01") == 0 && c->auth != NULL &&
                       c->core.group == NULL; /* else a server said so */
    const char *detail = named ? core_login_refusal(&c->core) : "";
    if (wrong)
        detail = c->auth->known ? "wrong password" : "unknown user"; /* the client cannot tell */
    else if (c->auth != NULL && c->auth->host == CONFIG_HBA_HOST_NONE)
        detail = "no name of the address leads back to it";
    if (wrong && c->auth->asked)
        auth_query_distrust(c->auth);
    log_info("login_failed",
             "client=%llu address=%s user=\"%s\" database=\"%s\" sqlstate=%s "
             "detail=\"%s\"",
             (unsigned long long)c->core.id, address, user, name, sqlstate, detail);
}

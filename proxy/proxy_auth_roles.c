/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_roles: of which roles of PostgreSQL a user is a member, for lines of the hba file with
 * +role or samerole. The probes' user asks: whoever may log in may read this.
 *
 * Happy path: auth_roles_start -> auth_ask_start -> told -> auth_continue.
 * Failure modes: as proxy_auth_query.c; a user who is not there is a member of nothing.
 */
#include <stdlib.h>

#include "proxy_auth_ask.h"

enum { ROLES_SIZE_MAX = 65536 };

/* PostgreSQL's own rule for these lines: directly or through others, and itself; that a superuser
 * may do everything makes it no member. */
static const char roles_query[] =
    "WITH RECURSIVE m(id) AS ("
    "SELECT oid FROM pg_catalog.pg_roles WHERE rolname::text = $1::text"
    " UNION SELECT a.roleid FROM pg_catalog.pg_auth_members a JOIN m ON a.member = m.id)"
    " SELECT r.rolname FROM pg_catalog.pg_roles r JOIN m ON r.oid = m.id";

static bool take(struct worker *w, const char *user, const PGresult *result, struct auth_words *ret,
                 const char **ret_wrong)
{
    (void)w;
    (void)user;
    size_t size = 1;
    const int count = PQntuples(result);
    for (int i = 0; i < count; i++)
        size += (size_t)PQgetlength(result, i, 0) + 1;
    if (count == 0)
        return true;
    if (size > ROLES_SIZE_MAX) {
        *ret_wrong = "the user is a member of too many roles";
        return false;
    }
    ret->text = calloc(1, size); /* ends with an empty name */
    if (ret->text == NULL)
        abort();
    ret->size = size;
    char *at = ret->text;
    for (int i = 0; i < count; i++) {
        const size_t length = (size_t)PQgetlength(result, i, 0);
        memcpy(at, PQgetvalue(result, i, 0), length);
        at += length + 1;
    }
    return true;
}

static void told(struct auth *a, const struct auth_words *said, const struct auth_refusal *refusal,
                 bool from_cache, uint64_t now_ns)
{
    (void)from_cache;
    if (refusal != NULL) {
        auth_answer(a, refusal, now_ns);
        return;
    }
    const size_t size = said->text != NULL ? said->size : 1;
    a->roles = calloc(1, size);
    if (a->roles == NULL)
        abort();
    if (said->text != NULL)
        memcpy(a->roles, said->text, size);
    auth_continue(a, now_ns);
}

static const struct auth_kind roles = {
    .event = "auth_roles_failed",
    .hint = "The log of the proxy says why its roles could not be looked up.",
    .take = take,
    .told = told};

void auth_roles_start(struct auth *a, uint64_t now_ns)
{
    const struct config *config = a->client->worker->config;
    const struct config_database *d =
        config_database_find(config, core_login_database(&a->client->core));
    struct auth_question question = {
        .kind = &roles,
        .query = roles_query,
        .to = {.config = config,
               .user = config->probe.user,
               .password = config->probe.password[0] != '\0' ? config->probe.password : NULL}};
    assert(a->roles == NULL);
    if (d == NULL && config->databases_count > 0) /* the console, or one that is not there */
        d = &config->databases[0];
    question.shard = d != NULL ? (uint8_t)d->shard_first : 0;
    (void)snprintf(question.to.dbname, sizeof(question.to.dbname), "%s", config->probe.dbname);
    auth_ask_start(a, &question, now_ns);
}

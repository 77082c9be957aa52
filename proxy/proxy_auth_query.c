/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_query: secrets of users who are not in auth_file, fetched by auth_query.
 *
 * Happy path: auth_query_start -> auth_ask_start -> told -> auth_fetched.
 * Failure modes: a node that cannot be asked: the next one of its shard; none left, or an error of
 * the query: those who wait get 57P03 and the log says why. A database that is not there looks like
 * a user who is not. A log-in that waits too long ends by client_login_timeout.
 */
#include <stdlib.h>

#include "proxy_auth_ask.h"

enum { SECRET_SIZE_MAX = 2047 };

/* False: the answer is not one. */
static bool take(struct worker *w, const char *user, const PGresult *result, struct auth_words *ret,
                 const char **ret_wrong)
{
    if (PQnfields(result) < 2 || PQntuples(result) > 1) {
        *ret_wrong = "not one row of two columns, name and secret";
        return false;
    }
    if (PQntuples(result) == 0 || PQgetisnull(result, 0, 0) || PQgetisnull(result, 0, 1))
        return true;
    const char *secret = PQgetvalue(result, 0, 1);
    if (strcmp(PQgetvalue(result, 0, 0), user) != 0 || strlen(secret) > SECRET_SIZE_MAX) {
        *ret_wrong = "the row is of another user, or its secret is too long";
        return true;
    }
    if (secret[0] == '\0')
        return true;
    ret->text = strdup(secret);
    if (ret->text == NULL)
        abort();
    ret->size = strlen(secret) + 1;
    w->auth_seen_md5 = strncmp(secret, "SCRAM-SHA-256$", 14) != 0;
    w->auth_seen_clear = config_secret_is_clear(secret);
    return true;
}

static void told(struct auth *a, const struct auth_words *said, const struct auth_refusal *refusal,
                 bool from_cache, uint64_t now_ns)
{
    a->from_cache = from_cache;
    if (refusal == NULL && said->text != NULL) {
        a->fetched = strdup(said->text);
        if (a->fetched == NULL)
            abort();
    }
    auth_fetched(a, refusal, now_ns);
}

static const struct auth_kind secrets = {.event = "auth_query_failed",
                                         .hint = "The log of the proxy says why auth_query failed.",
                                         .no_database_is_no_user = true,
                                         .take = take,
                                         .told = told};

/* What is asked for a client of this log-in's database. False: there is no auth_query for it. */
static bool question_of(const struct auth *a, struct auth_question *ret)
{
    const struct config *config = a->client->worker->config;
    const char *name = core_login_database(&a->client->core);
    const struct config_database *d = config_database_find(config, name);
    const struct config_switchgear *own = &config->switchgear;
    const char *user = d != NULL ? d->auth_user : own->auth_user;
    const char *dbname = d != NULL ? d->auth_dbname : own->auth_dbname;
    *ret = (struct auth_question){.kind = &secrets,
                                  .query = d != NULL ? d->auth_query : own->auth_query};
    if (dbname[0] != '\0') {
        name = dbname;
        d = config_database_find(config, dbname);
    } else if (d == NULL && !auth_is_console(name) && config->databases_count > 0) {
        /* One that is not there: only whoever has proven who he is shall learn that, in time too.
         * Or none, as physical replication names. */
        d = &config->databases[0];
        name = d->name;
    }
    if (user[0] == '\0' || d == NULL)
        return false;
    const struct config_user *known = config_user_find(config, user);
    const bool clear = known != NULL && config_secret_is_clear(known->secret);
    ret->shard = (uint8_t)d->shard_first;
    ret->database = (uint32_t)(d - config->databases);
    ret->to = (struct ask_target){
        .config = config, .user = user, .password = clear ? known->secret : NULL};
    (void)snprintf(ret->to.dbname, sizeof(ret->to.dbname), "%s",
                   d->dbname[0] != '\0' ? d->dbname : name);
    return ret->query[0] != '\0';
}

bool auth_query_wanted(const struct auth *a)
{
    struct auth_question question;
    return question_of(a, &question);
}

void auth_query_start(struct auth *a, uint64_t now_ns)
{
    struct auth_question question;
    const bool wanted = question_of(a, &question);
    assert(wanted);
    a->asked = true;
    if (shared_load(&a->client->worker->proxy->disabled[question.database]) != 0) {
        struct auth_refusal refusal;
        auth_refuse(&refusal, "57P03", "the user could not be looked up");
        refusal.text.hint = "The database of auth_query is disabled: ENABLE it on the console.";
        auth_answer(a, &refusal, now_ns);
        return;
    }
    auth_ask_start(a, &question, now_ns);
}

void auth_query_distrust(struct auth *a)
{
    struct auth_question question;
    if (question_of(a, &question))
        auth_ask_distrust(a, &question, a->from_cache);
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_control: PAUSE, RESUME, DISABLE, ENABLE, RECONNECT, WAIT_CLOSE, KILL, KILL_CLIENT.
 *
 * A command that waits suspends its client: it is run again at each tick of the client's timer, and
 * when the workers have answered, until it is done. Who leaves meanwhile changes nothing.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy_admin_internal.h"
#include "proxy_log.h"
#include "proxy_worker.h"

enum { LOOK_MS = 10, ASK_MS = 50, ANSWER_MS = 2000 };

/* ---- waiting ---- */

static void on_wait_timer(uv_timer_t *timer)
{
    struct admin_client *c = timer->data;
    c->suspended = false;
    admin_go_on(c);
}

static enum admin_result wait_for(struct admin_client *c, uint64_t in_ms)
{
    c->suspended = true;
    uv_timer_start(&c->timer, on_wait_timer, in_ms, 0);
    return ADMIN_SUSPENDED;
}

/* Asks all workers, or one. */
static enum admin_result order(struct admin_client *c, enum order what, uint32_t database,
                               uint64_t client)
{
    struct proxy *p = c->admin->supervisor->proxy;
    c->wait = (struct admin_wait){.began = true, .request_id = ++c->admin->next_request_id};
    for (uint32_t i = 0; i < p->workers_count; i++) {
        struct mail_order *mail = calloc(1, sizeof *mail);
        if (mail == NULL)
            continue;
        *mail = (struct mail_order){.mail = {MAIL_ORDER},
                                    .what = (uint8_t)what,
                                    .database = database,
                                    .client = client,
                                    .request_id = c->wait.request_id};
        if (worker_post(p, i, &mail->mail))
            c->wait.asked++;
        else
            free(mail);
    }
    return wait_for(c, ANSWER_MS);
}

void admin_take_order(struct supervisor *s, struct mail_order *mail)
{
    struct admin_client *c = NULL;
    if (s->admin != NULL) {
        LIST_FOREACH(c, &s->admin->clients, link)
        {
            if (!c->closing && c->wait.request_id == mail->request_id && c->wait.asked > 0)
                break;
        }
    }
    if (c != NULL) {
        c->wait.count += mail->count;
        c->wait.asked--;
    }
    free(mail);
    if (c == NULL || c->wait.asked > 0)
        return;
    uv_timer_stop(&c->timer);
    c->suspended = false;
    admin_go_on(c);
}

static enum admin_result done(struct admin_client *c, bool ok, const char *tag, const char *object,
                              const char *error)
{
    c->wait = (struct admin_wait){.began = false};
    return admin_changed(c, ok, tag, object, error);
}

/* ---- databases ---- */

/* Index of the section, UINT32_MAX for all of them. False: there is none of this name. */
static bool section_of(const struct proxy *p, const char *name, uint32_t *ret)
{
    *ret = UINT32_MAX;
    if (*name == 0)
        return true;
    for (uint32_t i = 0; i < p->config->databases_count; i++)
        if (strcmp(p->config->databases[i].name, name) == 0)
            *ret = i;
    return *ret != UINT32_MAX;
}

static void set_all(const struct proxy *p, uint64_t *words, uint32_t section, uint64_t value)
{
    for (uint32_t i = 0; i < p->config->databases_count; i++)
        if (section == UINT32_MAX || section == i)
            shared_set(&words[i], value);
}

static bool has_connections(const struct proxy *p, uint32_t section)
{
    struct sum_pool sum;
    sum_pools(p, UINT32_MAX, section, uv_hrtime(), &sum);
    return sum.connections > 0;
}

static bool is_paused(const struct proxy *p, uint32_t section)
{
    for (uint32_t i = 0; i < p->config->databases_count; i++)
        if ((section == UINT32_MAX || section == i) && shared_load(&p->paused[i]) == 0)
            return false;
    return true;
}

/* Returns when every server connection is closed, which happens as each is released. */
static enum admin_result run_pause(struct admin_client *c, const char *name, uint32_t section)
{
    struct proxy *p = c->admin->supervisor->proxy;
    if (!c->wait.began) {
        c->wait.began = true;
        set_all(p, p->paused, section, 1);
        workers_wake(p);
    } else if (!is_paused(p, section)) {
        return done(c, false, "PAUSE", name, "RESUME came before all connections were closed");
    }
    if (has_connections(p, section))
        return wait_for(c, LOOK_MS);
    return done(c, true, "PAUSE", name, NULL);
}

static enum admin_result run_wait_close(struct admin_client *c, const char *name, uint32_t section)
{
    if (c->wait.request_id != 0) {
        const bool all_closed = c->wait.asked == 0 && c->wait.count == 0;
        if (all_closed)
            return done(c, true, "WAIT_CLOSE", name, NULL);
        c->wait = (struct admin_wait){.began = true};
        return wait_for(c, ASK_MS);
    }
    return order(c, ORDER_COUNT_STALE, section, 0);
}

/* As PgBouncer: what is there is dropped, and nobody gets a connection before RESUME. */
static enum admin_result run_kill(struct admin_client *c, const char *name, uint32_t section)
{
    struct proxy *p = c->admin->supervisor->proxy;
    if (c->wait.request_id != 0)
        return done(c, c->wait.asked == 0, "KILL", name, "a worker did not answer in time");
    set_all(p, p->paused, section, 1);
    return order(c, ORDER_KILL, section, 0);
}

static enum admin_result run_kill_client(struct admin_client *c, const char *id)
{
    char *end;
    const uint64_t client = strtoull(id, &end, 0); /* the ptr of SHOW CLIENTS is hexadecimal */
    if (c->wait.request_id != 0)
        return done(c, c->wait.count > 0, "KILL_CLIENT", id, "there is no such client");
    if (!isdigit((unsigned char)*id) || *end != 0)
        return done(c, false, "KILL_CLIENT", id, "use a number of the column ptr of SHOW CLIENTS");
    return order(c, ORDER_KILL_CLIENT, UINT32_MAX, client);
}

static enum admin_result run_resume(struct admin_client *c, const char *name, uint32_t section)
{
    struct proxy *p = c->admin->supervisor->proxy;
    if (ck_pr_load_64(&p->shutting_down) != 0) /* what waits for the end must reach it */
        return done(c, false, "RESUME", name, "the proxy is shutting down");
    set_all(p, p->paused, section, 0);
    workers_wake(p);
    return done(c, true, "RESUME", name, NULL);
}

static enum admin_result run_disable(struct admin_client *c, const char *name, uint32_t section)
{
    struct proxy *p = c->admin->supervisor->proxy;
    set_all(p, p->disabled, section, 1);
    return done(c, true, "DISABLE", name, NULL);
}

static enum admin_result run_enable(struct admin_client *c, const char *name, uint32_t section)
{
    struct proxy *p = c->admin->supervisor->proxy;
    set_all(p, p->disabled, section, 0);
    return done(c, true, "ENABLE", name, NULL);
}

static enum admin_result run_reconnect(struct admin_client *c, const char *name, uint32_t section)
{
    struct proxy *p = c->admin->supervisor->proxy;
    set_all(p, p->reconnect_ns, section, uv_hrtime());
    workers_wake(p);
    return done(c, true, "RECONNECT", name, NULL);
}

enum admin_result admin_control(struct admin_client *c, const struct admin_command *command)
{
    static const struct {
        enum admin_verb verb;
        enum admin_result (*run)(struct admin_client *c, const char *name, uint32_t section);
    } verbs[] = {{ADMIN_PAUSE, run_pause},
                 {ADMIN_RESUME, run_resume},
                 {ADMIN_DISABLE, run_disable},
                 {ADMIN_ENABLE, run_enable},
                 {ADMIN_RECONNECT, run_reconnect},
                 {ADMIN_WAIT_CLOSE, run_wait_close},
                 {ADMIN_KILL, run_kill}};
    uint32_t section;
    if (command->verb == ADMIN_KILL_CLIENT)
        return run_kill_client(c, command->name);
    if (!section_of(c->admin->supervisor->proxy, command->name, &section))
        return done(c, false, command->tag, command->name, "there is no such database");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (verbs[i].verb == command->verb)
            return verbs[i].run(c, command->name, section);
    assert(!"a command of this file");
    return ADMIN_FAILED;
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_supervisor: start and stop of the whole, signals, outcomes of the workers, and what the
 * admin console says of nodes and reads. Its RELOAD and SET: proxy_reload.c.
 */
#include "proxy_supervisor.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy_auth.h"
#include "proxy_descriptors.h"
#include "proxy_listen.h"
#include "proxy_log.h"
#include "proxy_retired.h"
#include "proxy_rights.h"
#include "proxy_run.h"
#include "proxy_state.h"
#include "proxy_supervisor_internal.h"
#include "proxy_worker.h"

/* ---- outcomes ---- */

static void take_outcomes(struct supervisor *s)
{
    struct proxy *p = s->proxy;
    for (uint32_t i = 0; i < p->workers_count; i++) {
        struct outcome_record record;
        while (outcomes_take(&p->workers[i].outcomes, &record))
            probes_outcome(s, &record);
    }
}

static void on_wake(void *owner)
{
    struct supervisor *s = owner;
    take_outcomes(s);
    if (ck_pr_load_64(&s->proxy->probe_wanted) != 0)
        probes_wanted(s, ROUTER_NODE_NONE);
}

/* ---- signals ---- */

static const int signal_numbers[] = {SIGHUP, SIGTERM, SIGINT, SIGQUIT};

enum { SIGNALS_COUNT = sizeof(signal_numbers) / sizeof(signal_numbers[0]) };

/* In the calling thread, and in the threads that it starts from now on. */
static void signals_mask(int how)
{
    sigset_t set;
    (void)sigemptyset(&set);
    for (int i = 0; i < SIGNALS_COUNT; i++)
        (void)sigaddset(&set, signal_numbers[i]);
    (void)pthread_sigmask(how, &set, NULL);
}

/* Without its handle a signal would end the process as it does any other; a service manager that
 * repeats its SIGTERM while we free the last things must still read our own exit code. */
static void signals_close(struct run *run)
{
    signals_mask(SIG_BLOCK);
    for (int i = 0; i < SIGNALS_COUNT; i++) {
        uv_close((uv_handle_t *)&run->signals[i], NULL);
        (void)signal(signal_numbers[i], SIG_IGN); /* for threads that libraries started */
    }
}

/* ---- stopping ---- */

static void close_all(struct run *run)
{
    struct supervisor *s = &run->supervisor;
    http_stop(s);
    admin_stop(s);
    probes_stop(s);
    signals_close(run);
    uv_close((uv_handle_t *)&run->check, NULL);
    uv_close((uv_handle_t *)&run->deadline, NULL);
    mailbox_close(&s->mail);
}

static void on_mail(void *owner, struct mail *mail)
{
    struct supervisor *s = owner;
    struct run *run = run_of(s);
    switch ((enum mail_kind)mail->kind) {
    case MAIL_ADMIN_CLIENT:
        admin_take_client(s, (struct mail_admin_client *)(void *)mail);
        break;
    case MAIL_SNAPSHOT_DONE:
        admin_take_snapshot(s, (struct mail_snapshot *)(void *)mail);
        break;
    case MAIL_ORDER_DONE:
        admin_take_order(s, (struct mail_order *)(void *)mail);
        break;
    case MAIL_WORKER_STOPPED:
        free(mail);
        if (--run->workers_left == 0)
            close_all(run);
        break;
    case MAIL_CLIENT:
    case MAIL_BACKEND:
    case MAIL_STEAL:
    case MAIL_EVICT:
    case MAIL_ORDER:
    case MAIL_CANCEL:
    case MAIL_CANCEL_DONE:
    case MAIL_SIGNAL:
    case MAIL_SIGNAL_DONE:
    case MAIL_SNAPSHOT:
    case MAIL_STOP:
        free(mail);
        break;
    }
}

static void on_deadline(uv_timer_t *timer)
{
    struct run *run = timer->data;
    log_warning("shutdown_timeout", "reason=\"transactions are open for longer\"");
    supervisor_shutdown(&run->supervisor, 1);
}

void supervisor_shutdown(struct supervisor *s, int how)
{
    struct proxy *p = s->proxy;
    static const char *const texts[] = {"when transactions have ended", "now",
                                        "when clients have left"};
    const uint64_t limit_ms = p->config->switchgear.shutdown_timeout_ns / 1000000;
    struct run *run = run_of(s);
    log_info("shutdown", "how=\"%s\"", texts[how]);
    run->patient = how == 2;
    if (how == 0 && limit_ms > 0)
        (void)uv_timer_start(&run->deadline, on_deadline, limit_ms, 0);
    ck_pr_store_64(&p->shutting_down, 1);
    s->stopping = true;
    listen_stop(s);
    for (uint32_t i = 0; i < p->workers_count; i++) {
        struct mail_stop *mail = calloc(1, sizeof(*mail));
        if (mail == NULL)
            abort();
        mail->mail.kind = MAIL_STOP;
        mail->how = (uint8_t)how;
        while (!worker_post(p, i, &mail->mail))
            (void)uv_sleep(1);
    }
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct run *run = signal->data;
    struct supervisor *s = &run->supervisor;
    char error[512];
    if (number == SIGHUP) {
        (void)supervisor_reload(s, error, sizeof(error)); /* says itself what went wrong */
        return;
    }
    const bool now = number == SIGQUIT || (number == SIGINT && run->interrupted);
    run->interrupted = run->interrupted || number == SIGINT;
    if (!s->stopping || now || run->patient)
        supervisor_shutdown(s, now ? 1 : 0);
}

/* ---- commands ---- */

static struct node_state *node_find(struct supervisor *s, const char *name, char *error)
{
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (strcasecmp(s->proxy->node_names[i], name) == 0)
            return &s->nodes[i];
    (void)snprintf(error, 256, "there is no node \"%.100s\": see SHOW NODES", name);
    return NULL;
}

bool supervisor_breaker(struct supervisor *s, const char *node, enum breaker_override override,
                        char *error)
{
    struct node_state *n = node_find(s, node, error);
    if (n == NULL)
        return false;
    (void)breaker_force(&n->breaker, override, uv_hrtime());
    log_info("breaker_forced", "node=%s state=%s", node,
             breaker_state_text(breaker_effective(&n->breaker)));
    probes_publish(s, true);
    state_save(s);
    return true;
}

bool supervisor_drain(struct supervisor *s, const char *node, bool drained, char *error)
{
    struct node_state *n = node_find(s, node, error);
    if (n == NULL)
        return false;
    n->drained = drained;
    log_info(drained ? "drained" : "undrained", "node=%s", node);
    probes_publish(s, true);
    state_save(s);
    return true;
}

bool supervisor_reads(struct supervisor *s, const char *database, enum router_reads reads,
                      char *error)
{
    static const char *const texts[] = {"auto", "primary", "replicas"};
    const struct config *config = s->proxy->config;
    for (uint32_t i = 0; i < config->databases_count; i++)
        if (strcmp(config->databases[i].name, database) == 0) {
            __atomic_store_n(&s->proxy->reads[i], (uint8_t)reads, __ATOMIC_RELAXED);
            log_info("reads_flipped", "database=\"%s\" to=%s", database, texts[reads]);
            probes_publish(s, true);
            state_save(s);
            return true;
        }
    (void)snprintf(error, 256, "there is no database \"%.100s\": see SHOW DATABASES", database);
    return false;
}

/* ---- starting ---- */

static void on_check(uv_check_t *check)
{
    struct supervisor *s = check->data;
    take_outcomes(s);
    retired_tick(s->proxy);
}

static uint32_t workers_wanted(const struct config *config)
{
    uint64_t count = config->switchgear.workers;
    if (count == 0) {
        const long cores = sysconf(_SC_NPROCESSORS_ONLN);
        count = cores > 0 ? (uint64_t)cores : 1;
    }
    return count > PROXY_WORKERS_MAX ? PROXY_WORKERS_MAX : (uint32_t)count;
}

static void proxy_init(struct run *run, struct config *config, SSL_CTX *tls)
{
    struct proxy *p = &run->proxy;
    struct supervisor *s = &run->supervisor;
    p->config = config;
    p->tls = tls;
    p->supervisor = s;
    p->supervisor_mail = &s->mail;
    p->started_ns = uv_hrtime();
    p->descriptors = p->descriptors_clients_max = UINT64_MAX; /* until ready() */
    for (uint32_t i = 0; i < config->nodes_count; i++)
        p->node_names[i] = config->nodes[i].name;
    proxy_random(p->cache_key, sizeof(p->cache_key));
    proxy_random(p->server_key, sizeof(p->server_key));
    auth_prepare(p, config, NULL);
    topology_box_init(&p->box);
    s->proxy = p;
    s->loop = &run->loop;
    s->nodes_count = config->nodes_count;
    s->config_path = run->input.path;
}

static bool signals_start(struct run *run)
{
    (void)signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SIGNALS_COUNT; i++) {
        run->signals[i].data = run;
        if (uv_signal_init(&run->loop, &run->signals[i]) != 0 ||
            uv_signal_start(&run->signals[i], on_signal, signal_numbers[i]) != 0)
            return false;
    }
    return true;
}

static int workers_start(struct run *run)
{
    struct proxy *p = &run->proxy;
    const uint32_t count = workers_wanted(p->config);
    p->workers = aligned_alloc(64, (count * sizeof(struct worker) + 63) / 64 * 64);
    if (p->workers == NULL)
        return UV_ENOMEM;
    int r = 0;
    signals_mask(SIG_BLOCK); /* signals are the supervisor's */
    for (uint32_t i = 0; i < count && r == 0; i++) {
        r = worker_start(&p->workers[i], p, i);
        if (r == 0)
            p->workers_count = i + 1;
    }
    signals_mask(SIG_UNBLOCK);
    run->workers_left = count;
    return r;
}

static void ready(struct run *run)
{
    struct proxy *p = &run->proxy;
    descriptors_plan(p, p->config);
    log_info("ready",
             "version=%s listen=\"%s\" admin_socket=\"%s\" http=\"%s\" workers=%u nodes=%u",
             SWITCHGEAR_VERSION, p->config->switchgear.listen, run->supervisor.admin_socket,
             p->config->switchgear.http_listen, p->workers_count, p->config->nodes_count);
}

static void drop_mail(struct mail *mail)
{
    free(mail);
}

static void finish(struct run *run)
{
    struct proxy *p = &run->proxy;
    for (uint32_t i = 0; i < p->workers_count; i++)
        worker_join(&p->workers[i]);
    (void)uv_run(&run->loop, UV_RUN_DEFAULT);
    mailbox_deinit(&run->supervisor.mail, drop_mail);
    state_destroy(&run->supervisor);
    const int r = uv_loop_close(&run->loop);
    assert(r == 0); /* a handle leaked */
    topology_box_deinit(&p->box);
    while (p->pools != NULL) {
        struct shared_pool *pool = p->pools;
        p->pools = pool->next;
        free(pool);
    }
    while (p->users != NULL) {
        struct shared_user *user = p->users;
        p->users = user->next;
        free(user);
    }
    shared_catalogs_free(p);
    retired_free(p);
    uv_mutex_destroy(&p->pools_lock);
    uv_mutex_destroy(&p->retired_lock);
    free(p->workers);
    SSL_CTX_free(p->tls);
    config_destroy(p->config);
    reload_forget(run);
}

/* Everything is up but the listeners and HTTP; those may find their port taken. */
static int start_parts(struct run *run)
{
    struct supervisor *s = &run->supervisor;
    int r = uv_loop_init(&run->loop);
    if (r == 0)
        r = uv_mutex_init(&run->proxy.pools_lock);
    if (r == 0)
        r = uv_mutex_init(&run->proxy.retired_lock);
    if (r == 0)
        r = mailbox_init(&s->mail, &run->loop, 4096, s, on_mail, on_wake);
    if (r == 0)
        r = uv_check_init(&run->loop, &run->check);
    if (r == 0)
        r = signals_start(run) ? 0 : UV_EIO;
    if (r != 0)
        return r;
    run->check.data = s;
    (void)uv_timer_init(&run->loop, &run->deadline);
    run->deadline.data = run;
    (void)uv_check_start(&run->check, on_check);
    r = probes_start(s); /* publishes the first topology: workers need one */
    if (r == 0)
        state_restore(s);
    if (r == 0)
        r = workers_start(run);
    if (r == 0)
        r = admin_start(s);
    return r;
}

int run_serve(const struct config_input *input, struct config *config, SSL_CTX *tls)
{
    struct run *run = aligned_alloc(64, (sizeof(*run) + 63) / 64 * 64);
    char error[512] = "";
    if (run == NULL)
        return 3;
    memset(run, 0, sizeof(*run));
    run->input = *input;
    log_configure((enum config_log_level)config->switchgear.log_level,
                  (enum config_log_format)config->switchgear.log_format);
    descriptors_raise();
    proxy_init(run, config, tls);
    const int r = start_parts(run);
    if (r != 0) {
        log_error("start_failed", "error=\"%s\"", uv_strerror(r));
        _exit(3); /* threads may be half-way up: nothing to be saved */
    }
    int exit_code = 0;
    if (listen_start(&run->supervisor, error, sizeof(error)) != 0) {
        log_error("start_failed", "error=\"%s\"", error);
        exit_code = 3;
    } else if (http_start(&run->supervisor) != 0) {
        log_error("start_failed", "error=\"cannot listen on http_listen %s\"",
                  config->switchgear.http_listen);
        exit_code = 3;
    }
    const char *wrong = NULL;
    if (exit_code == 0 && !rights_drop(config, &wrong)) {
        log_error("start_failed", "error=\"%s\"", wrong);
        exit_code = 3;
    }
    if (exit_code != 0)
        supervisor_shutdown(&run->supervisor, 1);
    else
        ready(run);
    (void)uv_run(&run->loop, UV_RUN_DEFAULT);
    finish(run);
    log_info("stopped", "code=%d", exit_code);
    free(run);
    return exit_code;
}

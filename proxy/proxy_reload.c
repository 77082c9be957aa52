/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_reload: the configuration is read again: RELOAD and SIGHUP, and SET, which is --set from
 * now until the next of those. A reload with errors changes nothing. The supervisor's thread.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy_auth.h"
#include "proxy_descriptors.h"
#include "proxy_log.h"
#include "proxy_supervisor_internal.h"

/* Workers know databases by their index: a reload may change what they say, not which there are. */
static void check_databases(const struct config *from, const struct config *to,
                            struct config_problems *problems, const char *file)
{
    bool same = from->databases_count == to->databases_count;
    for (uint32_t i = 0; same && i < from->databases_count; i++)
        same = strcmp(from->databases[i].name, to->databases[i].name) == 0;
    if (!same)
        config_problem_add(problems, file, 0,
                           "adding, removing or reordering [database] sections needs a restart");
}

/* The file or the environment, --set, and SET. */
static struct config *load(const struct run *run, struct config_problems *problems,
                           SSL_CTX **ret_tls)
{
    struct config_input input = run->input;
    const size_t count = input.assignments_count + run->sets_count;
    const char **all = calloc(count + 1, sizeof(*all));
    if (all == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        all[i] = i < input.assignments_count ? input.assignments[i]
                                             : run->sets[i - input.assignments_count];
    input.assignments = all;
    input.assignments_count = count;
    struct config *c = config_load(&input, problems, ret_tls);
    free(all);
    return c;
}

static void log_warnings(const struct config_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++)
        if (problems->items[i].warning)
            log_warning("reload_warning", "file=\"%s\" line=%u warning=\"%s\"",
                        problems->items[i].file, problems->items[i].line,
                        problems->items[i].message);
}

static bool reload(struct supervisor *s, char *error, size_t error_size)
{
    struct run *run = run_of(s);
    struct proxy *p = s->proxy;
    struct config_problems problems;
    config_problems_init(&problems);
    SSL_CTX *tls = NULL;
    struct config *next = load(run, &problems, &tls);
    if (next != NULL) {
        config_diff(p->config, next, &problems);
        check_databases(p->config, next, &problems,
                        run->input.path != NULL ? run->input.path : "environment");
    }
    bool good = next != NULL && problems.errors == 0 && run->retired_count < RUN_RETIRED_MAX;
    if (!good) {
        const struct config_problem *first = NULL;
        for (uint32_t i = 0; i < problems.count; i++) {
            const struct config_problem *problem = &problems.items[i];
            if (first == NULL && !problem->warning)
                first = problem;
            log_error("reload_refused", "file=\"%s\" line=%u error=\"%s\"", problem->file,
                      problem->line, problem->message);
        }
        (void)snprintf(error, error_size, "nothing was changed: %s:%u: %s",
                       first != NULL ? first->file : "", first != NULL ? first->line : 0,
                       first != NULL ? first->message : "too many reloads: restart");
        config_destroy(next);
        SSL_CTX_free(tls);
        s->reloads_failed++;
    } else {
        log_warnings(&problems);
        auth_prepare(p, next, p->config);
        run->retired[run->retired_count++] = p->config;
        p->config = next;
        SSL_CTX *former = p->tls;
        p->tls = tls;
        log_configure((enum config_log_level)next->switchgear.log_level,
                      (enum config_log_format)next->switchgear.log_format);
        descriptors_plan(p, next);
        probes_config_changed(s);
        probes_publish(s, true);
        if (topology_peek(&p->box)->tls == tls) /* it was published: nobody finds the former one */
            SSL_CTX_free(former);
        s->reloads++;
        log_info("reloaded", "file=\"%s\"", run->input.path != NULL ? run->input.path : "");
    }
    config_problems_deinit(&problems);
    return good;
}

static void sets_drop(struct run *run, uint32_t from)
{
    while (run->sets_count > from)
        free(run->sets[--run->sets_count]);
}

bool supervisor_reload(struct supervisor *s, char *error, size_t error_size)
{
    sets_drop(run_of(s), 0);
    return reload(s, error, error_size);
}

bool supervisor_set(struct supervisor *s, const char *key, const char *value, char *error,
                    size_t error_size)
{
    struct run *run = run_of(s);
    const uint32_t before = run->sets_count;
    const char *section = strchr(key, '.') == NULL ? "switchgear." : "";
    const size_t size = strlen(section) + strlen(key) + strlen(value) + 2;
    char *text = before < RUN_SETS_MAX ? malloc(size) : NULL;
    if (text == NULL) {
        (void)snprintf(error, error_size, "too many settings: write them into the file and RELOAD");
        return false;
    }
    (void)snprintf(text, size, "%s%s=%s", section, key, value);
    run->sets[run->sets_count++] = text;
    const bool done = reload(s, error, error_size);
    if (!done)
        sets_drop(run, before);
    return done;
}

void reload_forget(struct run *run)
{
    sets_drop(run, 0);
    for (uint32_t i = 0; i < run->retired_count; i++)
        config_destroy(run->retired[i]);
}

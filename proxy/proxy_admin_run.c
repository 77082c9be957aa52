/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_run: what the console's commands do.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy_admin_internal.h"
#include "proxy_log.h"
#include "proxy_worker.h"

static const char explain_columns[] = "node role verdict reason lag_ms passed_over";

static void complete(struct admin_client *c, const char *tag)
{
    struct proto_writer w = text_writer(&c->out, strlen(tag) + 8);
    proto_write_command_complete(&w, tag);
    text_commit(&c->out, &w);
}

static void describe_if(struct admin_client *c, bool describe, const char *columns)
{
    if (describe)
        table_description(&c->out, columns);
}

/* One row with one column, as drivers expect of SELECT 1 and SHOW <setting>. */
static enum admin_result run_single(struct admin_client *c, const char *column, const char *value,
                                    const char *tag, bool describe)
{
    struct table t;
    describe_if(c, describe, column);
    table_init(&t, &c->out, column);
    table_string(&t, value);
    table_row_end(&t);
    table_deinit(&t);
    complete(c, tag);
    return ADMIN_DONE;
}

/* ---- SHOW ---- */

static void lower_case(const char *text, char *buf, size_t buf_size)
{
    snprintf(buf, buf_size, "%s", text);
    for (char *p = buf; *p != 0; p++)
        *p = (char)tolower((unsigned char)*p);
}

static enum admin_result unknown_show(struct admin_client *c, const char *name)
{
    char message[128];
    struct text hint = {0};
    if (strcmp(name, "STATEMENTS") == 0 || strcmp(name, "ROLLOUTS") == 0) {
        snprintf(message, sizeof message, "SHOW %s is not implemented yet", name);
        admin_error(c, "ERROR", "0A000", message, NULL);
        return ADMIN_FAILED;
    }
    snprintf(message, sizeof message, "cannot show \"%s\"", name);
    text_string(&hint, "SHOW takes one of: ");
    admin_show_names(&hint);
    text_add(&hint, "", 1);
    admin_error(c, "ERROR", "42601", message, hint.failed ? NULL : hint.base);
    text_deinit(&hint);
    return ADMIN_FAILED;
}

static void snapshot_notice(struct admin_client *c)
{
    const struct admin_snapshot *snapshot = &c->snapshot;
    const uint32_t workers = c->admin->supervisor->proxy->workers_count;
    char message[96];
    if (snapshot->answered == workers)
        return;
    snprintf(message, sizeof message, "%u of %u workers did not answer in time",
             workers - snapshot->answered, workers);
    admin_error(c, "NOTICE", "01000", message, NULL);
}

static enum admin_result run_show(struct admin_client *c, const struct admin_command *command,
                                  bool describe)
{
    const struct admin_show *show = admin_show_find(command->name);
    if (show == NULL) {
        const char *setting = admin_setting(command->name);
        char column[ADMIN_NAME_SIZE];
        lower_case(command->name, column, sizeof column);
        return setting != NULL ? run_single(c, column, setting, "SHOW", describe)
                               : unknown_show(c, command->name);
    }
    const bool wants_snapshot = show->wants_clients || show->wants_servers;
    if (wants_snapshot && !c->snapshot.ready) {
        admin_snapshot_request(c, show->wants_clients, show->wants_servers);
        return ADMIN_SUSPENDED;
    }
    const struct admin *admin = c->admin;
    const struct admin_show_context x = {.admin = admin,
                                         .s = admin->supervisor,
                                         .proxy = admin->supervisor->proxy,
                                         .config = admin->supervisor->proxy->config,
                                         .rows = c->snapshot.rows,
                                         .rows_count = c->snapshot.rows_count,
                                         .now_ns = uv_hrtime(),
                                         .argument = command->value};
    struct table t;
    if (wants_snapshot)
        snapshot_notice(c);
    describe_if(c, describe, show->columns);
    table_init(&t, &c->out, show->columns);
    show->fill(&x, &t);
    table_deinit(&t);
    if (wants_snapshot)
        admin_snapshot_forget(c);
    complete(c, "SHOW");
    return ADMIN_DONE;
}

/* ---- EXPLAIN ROUTE ---- */

static void passed_over(const struct proxy *p, const struct router_topology *route,
                        const struct router_request *request, uint8_t chosen, struct text *ret)
{
    const uint64_t now_ns = uv_hrtime();
    for (uint8_t i = 0; i < route->nodes_count; i++) {
        if (i == chosen || route->nodes[i].shard != request->shard)
            continue;
        const enum router_reason why = router_refusal(route, request, i, now_ns);
        const char *text = why != ROUTER_REASON_NONE                     ? router_reason_text(why)
                           : route->nodes[i].role == ROUTER_ROLE_PRIMARY ? "the replica will do"
                                                                         : "as good, not chosen";
        text_format(ret, "%s%s: %s", ret->size > 0 ? ", " : "", p->node_names[i], text);
    }
    text_add(ret, "", 1);
}

static void explain_row(const struct proxy *p, const struct router_topology *route,
                        const struct router_request *request, struct table *t)
{
    const uint64_t now_ns = uv_hrtime();
    /* No worker's load is known here: among replicas that are equally right, any may be named. */
    const struct router_load loads[ROUTER_NODES_MAX] = {{0}};
    struct router_choice choice;
    struct text over = {0};
    router_decide(route, loads, request, 0, now_ns * UINT64_C(0x9e3779b97f4a7c15), now_ns, &choice);
    const bool known = choice.node != ROUTER_NODE_NONE;
    const uint64_t fresh_ns = known ? route->nodes[choice.node].fresh_as_of_ns : 0;
    table_string(t, known ? p->node_names[choice.node] : NULL);
    table_string(t, router_target_text((enum router_target)choice.target));
    table_string(t, router_verdict_text((enum router_verdict)request->class.verdict));
    table_string(t, router_reason_text((enum router_reason)choice.reason));
    if (known && choice.target == ROUTER_TARGET_PRIMARY)
        table_number(t, 0);
    else if (fresh_ns != 0 && now_ns > fresh_ns)
        table_number(t, (now_ns - fresh_ns) / 1000000);
    else
        table_string(t, NULL);
    passed_over(p, route, request, choice.node, &over);
    table_string(t, over.failed ? NULL : over.base);
    table_row_end(t);
    text_deinit(&over);
}

static enum admin_result run_explain(struct admin_client *c, const struct admin_command *command,
                                     bool describe)
{
    const struct proxy *p = c->admin->supervisor->proxy;
    const struct config_database *d = config_database_find(p->config, command->name);
    const struct topology *topology = topology_peek(&p->box);
    if (d == NULL || topology == NULL) {
        admin_error(c, "ERROR", "3D000", "there is no such database", NULL);
        return ADMIN_FAILED;
    }
    const uint32_t index = (uint32_t)(d - p->config->databases);
    struct router_request request = {.shard = (uint8_t)d->shard_first,
                                     .level = (uint8_t)d->consistency,
                                     .route = ROUTER_ROUTE_AUTO,
                                     .reads = p->reads[index],
                                     .fallback_allowed =
                                         d->read_fallback == CONFIG_FALLBACK_PRIMARY,
                                     .floor_node = ROUTER_NODE_NONE,
                                     .avoid_node = ROUTER_NODE_NONE,
                                     .global_write_ns = shared_load(&p->global_write_ns[index]),
                                     .max_lag_ns = d->max_lag_ns};
    router_classify((const char *)command->statement.base, command->statement.size, NULL,
                    &request.class, NULL);
    struct table t;
    describe_if(c, describe, explain_columns);
    table_init(&t, &c->out, explain_columns);
    explain_row(p, &topology->route, &request, &t);
    table_deinit(&t);
    complete(c, "EXPLAIN");
    return ADMIN_DONE;
}

/* ---- commands that change something ---- */

enum admin_result admin_changed(struct admin_client *c, bool ok, const char *tag,
                                const char *detail, const char *error)
{
    if (ok) {
        log_info("admin_command", "user=\"%s\" address=%s command=\"%s\" object=\"%s\"", c->user,
                 c->address, tag, detail);
        complete(c, tag);
        return ADMIN_DONE;
    }
    log_warning("admin_command_failed", "user=\"%s\" command=\"%s\" object=\"%s\" error=\"%s\"",
                c->user, tag, detail, error);
    admin_error(c, "ERROR", "22023", error, NULL);
    return ADMIN_FAILED;
}

static enum admin_result run_change(struct admin_client *c, const struct admin_command *command)
{
    struct supervisor *s = c->admin->supervisor;
    const char *name = command->name;
    static const char *const shutdowns[] = {"when transactions end", "now", "when clients leave"};
    char error[4096] = "";
    bool ok;
    switch (command->verb) {
    case ADMIN_BREAKER:
        ok = supervisor_breaker(s, name, command->override, error);
        return admin_changed(c, ok, "BREAKER", name, error);
    case ADMIN_DRAIN:
        ok = supervisor_drain(s, name, true, error);
        return admin_changed(c, ok, "DRAIN", name, error);
    case ADMIN_UNDRAIN:
        ok = supervisor_drain(s, name, false, error);
        return admin_changed(c, ok, "UNDRAIN", name, error);
    case ADMIN_FORGET:
        ok = probes_forget(s, name, error);
        return admin_changed(c, ok, "FORGET", name, error);
    case ADMIN_READS:
        ok = supervisor_reads(s, name, command->reads, error);
        return admin_changed(c, ok, "READS", name, error);
    case ADMIN_RELOAD:
        ok = supervisor_reload(s, error, sizeof error);
        return admin_changed(c, ok, "RELOAD", "", error);
    case ADMIN_SET:
        ok = supervisor_set(s, name, command->value, error, sizeof error);
        return admin_changed(c, ok, "SET", name, error);
    case ADMIN_SHUTDOWN:
        c->shutdown_wanted = true; /* once the answer is out */
        c->shutdown = command->shutdown;
        return admin_changed(c, true, "SHUTDOWN", shutdowns[command->shutdown], "");
    case ADMIN_SHOW:
    case ADMIN_EXPLAIN_ROUTE:
    case ADMIN_SELECT:
    case ADMIN_NOTHING:
    case ADMIN_BEGIN:
    case ADMIN_END:
    case ADMIN_PAUSE:
    case ADMIN_RESUME:
    case ADMIN_RECONNECT:
    case ADMIN_KILL:
    case ADMIN_WAIT_CLOSE:
    case ADMIN_DISABLE:
    case ADMIN_ENABLE:
    case ADMIN_KILL_CLIENT:
    case ADMIN_LATER:
    case ADMIN_BAD:
        break;
    }
    assert(!"a command that changes something");
    return ADMIN_FAILED;
}

static enum admin_result refuse(struct admin_client *c, const char *sqlstate, const char *name,
                                const char *what, const char *hint)
{
    char message[160];
    snprintf(message, sizeof message, "%s%s%s", name, *name != 0 ? " " : "", what);
    admin_error(c, "ERROR", sqlstate, message, hint);
    return ADMIN_FAILED;
}

const char *admin_columns(const struct admin_command *command)
{
    if (command->verb == ADMIN_EXPLAIN_ROUTE)
        return explain_columns;
    if (command->verb == ADMIN_SELECT)
        return "?column?";
    if (command->verb != ADMIN_SHOW)
        return NULL;
    const struct admin_show *show = admin_show_find(command->name);
    if (show != NULL)
        return show->columns;
    return admin_setting(command->name) != NULL ? "setting" : NULL;
}

enum admin_result admin_run(struct admin_client *c, const struct admin_command *command,
                            bool describe)
{
    if (admin_command_is_privileged(command->verb) && !c->may_change)
        return refuse(c, "42501", "", "permission denied: stats_users may only use SHOW", NULL);
    switch (command->verb) {
    case ADMIN_SHOW:
        return run_show(c, command, describe);
    case ADMIN_EXPLAIN_ROUTE:
        return run_explain(c, command, describe);
    case ADMIN_SELECT:
        return run_single(c, "?column?", command->name, "SELECT 1", describe);
    case ADMIN_BEGIN:
    case ADMIN_END:
        c->in_block = command->verb == ADMIN_BEGIN;
        complete(c, command->name);
        return ADMIN_DONE;
    case ADMIN_NOTHING:
        complete(c, command->name);
        return ADMIN_DONE;
    case ADMIN_LATER:
        if (strcmp(command->name, "SUSPEND") == 0)
            return refuse(c, "0A000", command->name, "is not supported",
                          "Use PAUSE: it waits for transactions and closes server connections.");
        return refuse(c, "0A000", command->name, "is not implemented yet", NULL);
    case ADMIN_BAD:
        return refuse(c, "42601", "", command->problem, "SHOW HELP lists the commands.");
    case ADMIN_BREAKER:
    case ADMIN_DRAIN:
    case ADMIN_UNDRAIN:
    case ADMIN_FORGET:
    case ADMIN_READS:
    case ADMIN_RELOAD:
    case ADMIN_SET:
    case ADMIN_SHUTDOWN:
        return run_change(c, command);
    case ADMIN_PAUSE:
    case ADMIN_RESUME:
    case ADMIN_RECONNECT:
    case ADMIN_KILL:
    case ADMIN_WAIT_CLOSE:
    case ADMIN_DISABLE:
    case ADMIN_ENABLE:
    case ADMIN_KILL_CLIENT:
        return admin_control(c, command);
    }
    return ADMIN_FAILED;
}

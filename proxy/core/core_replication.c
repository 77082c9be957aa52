/* SPDX-License-Identifier: PostgreSQL
 *
 * core_replication: a session that asked for replication gets a backend of its own, and from then
 * on bytes go both ways as they come: nothing is framed, planned or counted, so that it does not
 * matter what walsenders say. Neither of the two is ever used for anything else.
 *
 * Happy path: admitted -> want_link -> core_linked() -> CORE_LINKED. It ends when either side does.
 */
#include <strings.h>

#include "core_internal.h"
#include "core_login.h"

bool core_replication_read(struct proto_span value, enum core_replication *ret)
{
    static const struct {
        const char *text;
        enum core_replication meaning;
    } values[] = {{"database", CORE_REPLICATION_LOGICAL},
                  {"true", CORE_REPLICATION_PHYSICAL},
                  {"on", CORE_REPLICATION_PHYSICAL},
                  {"yes", CORE_REPLICATION_PHYSICAL},
                  {"1", CORE_REPLICATION_PHYSICAL},
                  {"false", CORE_REPLICATION_NONE},
                  {"off", CORE_REPLICATION_NONE},
                  {"no", CORE_REPLICATION_NONE},
                  {"0", CORE_REPLICATION_NONE}};
    if (value.base == NULL) { /* not named at all */
        *ret = CORE_REPLICATION_NONE;
        return true;
    }
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const size_t size = strlen(values[i].text);
        if (value.size != size || strncasecmp((const char *)value.base, values[i].text, size) != 0)
            continue;
        *ret = values[i].meaning;
        return true;
    }
    return false;
}

enum core_replication core_login_replication(const struct core_session *s)
{
    return (enum core_replication)s->replication;
}

const char *core_login_options(const struct core_session *s)
{
    assert(s->replication != CORE_REPLICATION_NONE);
    return s->login->options;
}

struct core_actions *core_linked(struct core_session *s, struct core_backend *b, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    (void)now_ns;
    assert(s->phase == CORE_WELCOME && s->replication != CORE_REPLICATION_NONE);
    core_attach(s, b);
    b->linked = true;
    a->backend = b;
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_raw(&w, (struct proto_span){.base = b->params, .size = b->params_size});
    proto_write_backend_key(&w, s->cancel_pid,
                            (struct proto_span){s->cancel_key, s->cancel_key_size});
    proto_write_ready(&w, 'I');
    core_sink_commit(&a->client, &w);
    s->phase = CORE_LINKED;
    a->login_done = true;
    core_login_free(s);
    if (s->hold != NULL) { /* a client that did not wait for its welcome */
        core_sink_borrow(&a->server, core_block_span(s->hold));
        core_block_give(s->worker, &s->hold);
    }
    return a;
}

void core_link_client_data(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    a->backend = s->backend;
    core_sink_append(&a->server, in);
}

void core_link_server_data(struct core_backend *b, struct proto_span in, struct core_actions *a)
{
    if (b->session != NULL && b->session->phase == CORE_LINKED)
        core_sink_append(&a->client, in);
}

void core_link_server_lost(struct core_backend *b, struct core_actions *a)
{
    struct core_session *s = b->session;
    if (s == NULL)
        return;
    s->phase = CORE_DOOMED; /* without a word: what came last may be half a message */
    a->close_client = CORE_CLOSE_AFTER_FLUSH;
    core_detach(s);
}

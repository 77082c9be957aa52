/* SPDX-License-Identifier: PostgreSQL
 *
 * core_notification: whose a NotificationResponse is, in the client's numbers.
 *
 * Clients know their own notifications by the process id of their cancel key (PQbackendPID()), and
 * many ignore these. The key is ours, so the server's process id becomes the key's. The two change
 * places: a foreign process that happens to have the key's number is not taken for the client.
 */
#include "core_internal.h"

enum { PID_SIZE = 4 };

bool core_notification_renamed(const struct core_backend *b, struct proto_span message,
                               struct core_actions *a)
{
    const struct core_session *s = b->session;
    if (b->pid == 0 || s->cancel_pid == 0 || message.size < PROTO_HEADER_SIZE + PID_SIZE)
        return false;
    const uint32_t pid = proto_load_u32(message.base + PROTO_HEADER_SIZE);
    if (pid != b->pid && pid != s->cancel_pid)
        return false;
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_raw(&w, (struct proto_span){.base = message.base, .size = PROTO_HEADER_SIZE});
    uint8_t renamed[PID_SIZE];
    proto_store_u32(renamed, pid == b->pid ? s->cancel_pid : b->pid);
    proto_write_raw(&w, (struct proto_span){.base = renamed, .size = PID_SIZE});
    core_sink_commit(&a->client, &w);
    core_sink_append(&a->client, core_span_skip(message, PROTO_HEADER_SIZE + PID_SIZE));
    return true;
}

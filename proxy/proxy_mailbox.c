/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_mailbox: ck_ring with many producers, and a uv_async that wakes the one consumer. The only
 * file that uses the many-producer ring.
 */
#include "proxy_mailbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_tsan.h"

/* ThreadSanitizer is told to look away while the ring is touched, and what the ring orders is
 * declared on the mail itself. */

static bool ring_put(struct mailbox *m, struct mail *mail)
{
    HAPPENS_BEFORE(mail);
    LOOK_AWAY();
    const bool is_in = ck_ring_enqueue_mpsc(&m->ring, m->buffer, mail);
    LOOK_AGAIN();
    return is_in;
}

static struct mail *ring_take(struct mailbox *m)
{
    void *mail = NULL;
    LOOK_AWAY();
    const bool is_out = ck_ring_dequeue_mpsc(&m->ring, m->buffer, &mail);
    LOOK_AGAIN();
    if (!is_out)
        return NULL;
    HAPPENS_AFTER(mail);
    return mail;
}

static void on_async(uv_async_t *async)
{
    struct mailbox *m = async->data;

    /* At most a ring full a turn, so that busy senders cannot hold up the rest of the loop. */
    uint32_t left = ck_ring_capacity(&m->ring);
    struct mail *mail;
    while (left > 0 && !uv_is_closing((uv_handle_t *)async) && (mail = ring_take(m)) != NULL) {
        m->on_mail(m->owner, mail);
        left--;
    }
    if (uv_is_closing((uv_handle_t *)async))
        return;
    if (left == 0)
        uv_async_send(async);
    if (m->on_wake != NULL)
        m->on_wake(m->owner);
}

int mailbox_init(struct mailbox *m, uv_loop_t *loop, uint32_t size, void *owner,
                 void (*on_mail)(void *owner, struct mail *mail), void (*on_wake)(void *owner))
{
    assert(size >= 4 && (size & (size - 1)) == 0); /* ck_ring wants a power of two */
    assert(on_mail != NULL);

    memset(m, 0, sizeof(*m));
    m->buffer = calloc(size, sizeof(*m->buffer));
    if (m->buffer == NULL)
        return UV_ENOMEM;
    ck_ring_init(&m->ring, size);
    m->owner = owner;
    m->on_mail = on_mail;
    m->on_wake = on_wake;
    const int r = uv_async_init(loop, &m->async, on_async);
    if (r != 0) {
        free(m->buffer);
        m->buffer = NULL;
        return r;
    }
    m->async.data = m;
    return 0;
}

bool mailbox_post(struct mailbox *m, struct mail *mail)
{
    assert(mail != NULL);
    if (!ring_put(m, mail))
        return false;
    uv_async_send(&m->async); /* after the mail is in: a wake-up never comes too early */
    return true;
}

void mailbox_wake(struct mailbox *m)
{
    uv_async_send(&m->async);
}

void mailbox_close(struct mailbox *m)
{
    if (m->buffer != NULL && !uv_is_closing((uv_handle_t *)&m->async))
        uv_close((uv_handle_t *)&m->async, NULL);
}

void mailbox_deinit(struct mailbox *m, void (*drop)(struct mail *mail))
{
    if (m->buffer == NULL)
        return;
    struct mail *mail;
    while ((mail = ring_take(m)) != NULL) {
        if (drop != NULL)
            drop(mail);
    }
    free(m->buffer);
    m->buffer = NULL;
}

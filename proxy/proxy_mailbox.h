/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_mailbox: messages from any thread to the one that owns the mailbox (ck_ring, many writers,
 * one reader), with a uv_async that wakes it. The message changes hands: the reader frees it.
 */
#ifndef PROXY_MAILBOX_H
#define PROXY_MAILBOX_H

#include <ck_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Embedded at the start of every message. */
struct mail {
    uint32_t kind;
};

struct mailbox {
    struct ck_ring ring;
    struct ck_ring_buffer *buffer;
    uv_async_t async;
    void (*on_mail)(void *owner, struct mail *mail); /* on the owner's thread; takes the mail */
    void (*on_wake)(void *owner);                    /* after the mails, or NULL */
    void *owner;
};

/* `size` is a power of two. Owner's thread, or before it starts. 0 or a libuv error. */
int mailbox_init(struct mailbox *m, uv_loop_t *loop, uint32_t size, void *owner,
                 void (*on_mail)(void *owner, struct mail *mail), void (*on_wake)(void *owner));
/* Any thread. False: full; the mail still belongs to the caller. */
bool mailbox_post(struct mailbox *m, struct mail *mail);
/* Any thread: only wakes the owner (on_wake runs). */
void mailbox_wake(struct mailbox *m);
/* Owner's thread: closes the handle; deinit after the loop has run dry. */
void mailbox_close(struct mailbox *m);
void mailbox_deinit(struct mailbox *m, void (*drop)(struct mail *mail));

#endif

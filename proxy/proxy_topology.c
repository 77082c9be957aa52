/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_topology: pointer swap and epoch. ThreadSanitizer does not see libck's fences: the
 * HAPPENS_* lines tell it what they order.
 */
#include "proxy_topology.h"

#include <assert.h>
#include <stdlib.h>

#include "proxy_tsan.h"

void topology_box_init(struct topology_box *box)
{
    assert(box != NULL);
    ck_epoch_init(&box->epoch);
    ck_epoch_register(&box->epoch, &box->writer, NULL);
    box->current = NULL;
    box->generation = 0;
}

/* After the last reader has ended: workers are joined first. */
void topology_box_deinit(struct topology_box *box)
{
    free(box->current);
    box->current = NULL;
    box->generation = 0;
}

void topology_publish(struct topology_box *box, struct topology *next)
{
    struct topology *old = box->current;
    assert(next != NULL);
    assert(next->route.generation > (old != NULL ? old->route.generation : 0));

    HAPPENS_BEFORE(&box->current);
    ck_pr_fence_store(); /* the contents before the pointer */
    ck_pr_store_ptr(&box->current, next);
    ck_pr_fence_store(); /* the pointer before its generation: who sees this one finds that one */
    ck_pr_store_64(&box->generation, next->route.generation);
    if (old == NULL)
        return;
    ck_epoch_synchronize(&box->writer); /* no reader holds `old` after this line */
    HAPPENS_AFTER(&box->writer);
    free(old);
}

const struct topology *topology_peek(const struct topology_box *box)
{
    return box->current;
}

void topology_reader_init(struct topology_reader *reader, struct topology_box *box)
{
    assert(reader != NULL && box != NULL);
    reader->box = box;
    ck_epoch_register(&box->epoch, &reader->record, NULL);
}

const struct topology *topology_read_begin(struct topology_reader *reader)
{
    assert(reader->record.active == 0); /* sections do not nest */
    ck_epoch_begin(&reader->record, NULL);
    const struct topology *t = ck_pr_load_ptr(&reader->box->current);
    ck_pr_fence_load_depends();
    HAPPENS_AFTER(&reader->box->current);
    return t;
}

void topology_read_end(struct topology_reader *reader)
{
    assert(reader->record.active == 1);
    HAPPENS_BEFORE(&reader->box->writer);
    ck_epoch_end(&reader->record, NULL);
}

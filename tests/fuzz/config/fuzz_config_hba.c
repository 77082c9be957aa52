/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_config_hba: any bytes as pg_hba.conf, the half behind a zero byte as pg_ident.conf and as
 * every file that a line names; whatever was taken is matched.
 */
#include "config_hba.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct half {
    const char *text; /* NULL: there is no second half */
    size_t size;
};

static char *read_half(void *arg, const char *path, size_t *ret_size, const char **ret_wrong)
{
    const struct half *half = arg;
    char *copy = half->text != NULL && path[0] != 'x' ? malloc(half->size + 1) : NULL;
    *ret_wrong = "there is none";
    if (copy == NULL)
        return NULL;
    memcpy(copy, half->text, half->size);
    *ret_size = half->size;
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config_problems p; /* large for a stack */
    static const uint8_t mask[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 0};
    /* repetitions make the C library's compiler of expressions arbitrarily slow: not our code */
    if (size > 4096 || (size > 0 && memchr(data, '/', size) != NULL &&
                        (memchr(data, '{', size) != NULL || memchr(data, '*', size) != NULL)))
        return 0;
    struct config *c = config_create();
    if (c == NULL)
        abort();
    config_problems_init(&p);
    const uint8_t *zero = size > 0 ? memchr(data, '\0', size) : NULL;
    const size_t half = zero != NULL ? (size_t)(zero - data) : size;
    struct half second = {.text = zero != NULL ? (const char *)zero + 1 : NULL,
                          .size = zero != NULL ? size - half - 1 : 0};
    const struct config_reader files = {.read = read_half, .arg = &second};
    config_parse_hba(c, "hba", (const char *)data, half, &files, &p);
    if (zero != NULL)
        config_parse_ident(c, "ident", second.text, second.size, &p);
    config_interface_add(c, mask, mask);
    struct config_hba_request r = {.database = "app", .user = "zoe", .host_name = "db.example.com"};
    for (unsigned i = 0; i < 48; i++) {
        r.is_local = (i & 1) != 0;
        r.is_tls = (i & 2) != 0;
        r.is_replication = (i & 4) != 0;
        r.host = (enum config_hba_host)(i / 8 % 3);
        r.roles = i < 24 ? NULL : "zoe\0staff\0";
        const struct config_hba *h = NULL;
        const enum config_hba_match found = config_hba_match(c, &r, &h);
        if (found == CONFIG_HBA_WANTS_HOST && r.host != CONFIG_HBA_HOST_UNKNOWN)
            abort();
        if (found == CONFIG_HBA_WANTS_ROLES && r.roles != NULL)
            abort();
        if (found != CONFIG_HBA_MATCHED)
            continue;
        if (h < c->hba || h >= c->hba + c->hba_count || (h->address == NULL) != r.is_local)
            abort();
        (void)config_ident_allows(c, h->map, "zoe@example.com", "zoe");
    }
    (void)config_ident_allows(c, "m", "zoe@example.com", "zoe");
    config_problems_deinit(&p);
    config_destroy(c);
    return 0;
}

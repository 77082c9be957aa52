/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_config_users: any bytes as an auth_file; every user that is kept can be found.
 */
#include "config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config_problems p; /* large for a stack */
    struct config *c = config_create();
    if (c == NULL)
        abort();
    config_problems_init(&p);
    config_parse_users(c, "users.txt", (const char *)data, size, &p);
    for (uint32_t i = 0; i < c->users_count; i++) {
        if (config_user_find(c, c->users[i].name) != &c->users[i])
            abort();
    }
    config_problems_deinit(&p);
    config_destroy(c);
    return 0;
}

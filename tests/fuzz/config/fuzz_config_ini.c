/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_config_ini: any bytes as a configuration file, then finished.
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
    config_parse_ini(c, "fuzz.ini", (const char *)data, size, &p);
    config_finish(c, &p);
    if (p.count > CONFIG_ERRORS_MAX || c->nodes_count > CONFIG_NODES_MAX)
        abort();
    config_diff(c, c, &p);
    config_problems_deinit(&p);
    config_destroy(c);
    return 0;
}

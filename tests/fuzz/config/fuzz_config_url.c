/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_config_url: the environment: DATABASE_URL, a newline, DATABASE_READ_REPLICAS.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *look_up(void *arg, const char *name)
{
    const char *const *values = arg;
    if (strcmp(name, "DATABASE_URL") == 0)
        return values[0];
    return strcmp(name, "DATABASE_READ_REPLICAS") == 0 ? values[1] : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config_problems p; /* large for a stack */
    struct config *c = config_create();
    char *text = malloc(size + 1);
    if (c == NULL || text == NULL)
        abort();
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    char *newline = strchr(text, '\n');
    const char *values[2] = {text, NULL};
    if (newline != NULL) {
        *newline = '\0';
        values[1] = newline + 1;
    }
    config_problems_init(&p);
    config_parse_environment(c, look_up, values, &p);
    config_set(c, text, &p);
    config_finish(c, &p);
    config_problems_deinit(&p);
    config_destroy(c);
    free(text);
    return 0;
}

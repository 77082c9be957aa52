/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_proto_options: any bytes as the start-up parameter `options`, with the buffer that always
 * suffices, and with one that the first byte makes smaller.
 */
#include <stdlib.h>

#include "proto_startup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void emit(void *arg, const char *name, const char *value)
{
    assert(name[0] != '\0');
    assert(strchr(name, '-') == NULL);
    assert(strchr(name, '=') == NULL);
    *(size_t *)arg += strlen(name) + strlen(value) + 2;
}

static enum proto_status split(struct proto_span options, size_t buf_size, size_t *ret_used)
{
    char *buf = malloc(buf_size > 0 ? buf_size : 1);
    if (buf == NULL)
        abort();
    *ret_used = 0;
    const enum proto_status status = proto_options_split(options, buf, buf_size, emit, ret_used);
    assert(*ret_used <= buf_size);
    assert(status == PROTO_OK || *ret_used == 0);
    free(buf);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct proto_span options = {data + 1, size - 1};
    size_t used;
    size_t used_small;
    const enum proto_status status = split(options, options.size + 2, &used);
    assert(status != PROTO_ETOOBIG);
    const enum proto_status small = split(options, data[0], &used_small);
    if (small != PROTO_ETOOBIG) {
        assert(small == status);
        assert(used_small == used);
    }
    return 0;
}

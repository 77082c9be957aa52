/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_proto_proxy: any bytes as the header of a load balancer.
 */
#include "proto_proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proto_proxy h = {0};
    const enum proto_status status = proto_proxy_read((struct proto_span){data, size}, &h);
    if (status != PROTO_OK) {
        assert(h.size == 0); /* nothing is written on failure */
        if (status == PROTO_MORE)
            assert(proto_proxy_missing((struct proto_span){data, size}) > 0);
        return 0;
    }
    assert(h.size >= PROTO_PROXY_FIXED_SIZE && h.size <= PROTO_PROXY_SIZE_MAX && h.size <= size);
    assert(proto_proxy_missing((struct proto_span){data, h.size}) == 0);

    /* What stands behind a header does not matter, and one byte less is never enough; read as the
     * proxy reads it, never past its end, it comes out the same. */
    struct proto_proxy again = {0};
    assert(proto_proxy_read((struct proto_span){data, h.size}, &again) == PROTO_OK);
    assert(memcmp(&again, &h, sizeof(h)) == 0);
    for (uint32_t have = 0; have < h.size;) {
        assert(proto_proxy_read((struct proto_span){data, have}, &again) == PROTO_MORE);
        const uint32_t missing = proto_proxy_missing((struct proto_span){data, have});
        assert(missing > 0 && missing <= h.size - have);
        have += missing > 1 ? missing / 2 : 1;
    }
    return 0;
}

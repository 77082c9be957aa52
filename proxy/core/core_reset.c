/* SPDX-License-Identifier: PostgreSQL
 *
 * core_reset: see the header.
 */
#include "core_reset.h"

#include "core_internal.h"

/* Each is there where its extension is, in whatever schema. */
static bool may_have_kept(const struct router_facts *facts)
{
    static const char *const names[] = {"dblink_get_connections", "isn_weak",
                                        "postgres_fdw_disconnect_all"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct router_name name = {.base = names[i], .size = strlen(names[i])};
        if (router_facts_of(facts, ROUTER_FACT_FUNCTION, name) != 0)
            return true;
    }
    return false;
}

uint32_t core_reset_texts(const struct router_facts *facts,
                          struct proto_span ret_texts[CORE_RESETS_MAX])
{
    ret_texts[0] = core_span(CORE_RESET_DISCARD);
    ret_texts[1] = core_span(CORE_RESET_SEED);
    if (facts != NULL && !may_have_kept(facts))
        return 2;
    ret_texts[2] = core_span(CORE_RESET_EXTENSIONS);
    return 3;
}

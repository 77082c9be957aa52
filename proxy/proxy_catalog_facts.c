/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog_facts: rows of (kind, name, flags) as facts. The names are copied into one block,
 * so that the answer outlives the PGresult.
 */
#include <stdlib.h>

#include "proxy_catalog.h"

enum { COLUMNS = 3, KIND_SETTING = ROUTER_FACT_KINDS };

/* A small number, written by the server. False: it is none. */
static bool number_read(const char *text, uint32_t max, uint32_t *ret)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > max)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static bool row_read(const PGresult *result, int row, char *name, struct catalog_answer *ret)
{
    uint32_t kind;
    uint32_t flags;
    const size_t size = (size_t)PQgetlength(result, row, 1);
    if (!number_read(PQgetvalue(result, row, 0), KIND_SETTING, &kind) ||
        !number_read(PQgetvalue(result, row, 2), UINT8_MAX, &flags))
        return false;
    memcpy(name, PQgetvalue(result, row, 1), size + 1);
    if (kind == KIND_SETTING) {
        if (ret->settings_count < ROUTER_FACT_SETTINGS_MAX)
            ret->settings[ret->settings_count++] = name;
        return true;
    }
    ret->facts[ret->facts_count++] =
        (struct router_fact){.kind = (uint8_t)kind,
                             .flags = (uint8_t)(flags | ROUTER_FACT_THERE),
                             .name = {.base = name, .size = size}};
    return true;
}

bool catalog_answer_read(const PGresult *result, struct catalog_answer *ret)
{
    const int count = PQntuples(result);
    size_t size = 1;
    *ret = (struct catalog_answer){0};
    if (PQnfields(result) != COLUMNS || count > ROUTER_FACTS_MAX)
        return false;
    for (int i = 0; i < count; i++)
        size += (size_t)PQgetlength(result, i, 1) + 1;
    ret->names = malloc(size);
    ret->facts = calloc((size_t)count + 1, sizeof(*ret->facts));
    bool good = ret->names != NULL && ret->facts != NULL;
    size_t at = 0;
    for (int i = 0; good && i < count; i++) {
        good = row_read(result, i, ret->names + at, ret);
        at += (size_t)PQgetlength(result, i, 1) + 1;
    }
    if (good)
        return true;
    free(ret->names);
    free(ret->facts);
    *ret = (struct catalog_answer){0};
    return false;
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * router_parse: see the header.
 */
#include "router_parse.h"

#include <stdlib.h>
#include <string.h>

bool router_parse_open(struct router_parse *p, const char *text, size_t size,
                       const struct router_survey *survey)
{
    struct router_survey own;
    if (size > ROUTER_TEXT_SIZE_MAX)
        return false;
    if (survey == NULL) {
        router_survey(text, size, &own);
        if (own.work > ROUTER_WORK_AGAIN_MAX)
            return false;
        survey = &own;
    }
    if (survey->broken || router_survey_too_long(survey))
        return false;
    p->text = malloc(size + 1);
    if (p->text == NULL)
        return false;
    memcpy(p->text, text, size);
    p->text[size] = '\0';
    p->result = pg_query_parse(p->text);
    const char *json = p->result.error == NULL ? p->result.parse_tree : NULL;
    if (json != NULL && router_tree_init(&p->tree, json, strlen(json)))
        return true;
    p->tree = (struct router_tree){0};
    router_parse_close(p);
    return false;
}

void router_parse_close(struct router_parse *p)
{
    router_tree_deinit(&p->tree);
    pg_query_free_parse_result(p->result);
    free(p->text);
    p->text = NULL;
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * The classifier on anything, and what the cache relies on: two texts of the same hash are of the
 * same class. The second text is the first with its literals changed in place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router_classify.h"
#include "router_lexer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[ROUTER_KEY_SIZE] = {1, 2, 3};

/* Other digits and other letters; what keeps the literal's kind and its end in place. */
static void mutate_literals(char *text, size_t size)
{
    struct router_lexer lexer = router_lexer_make(text, size);
    for (struct router_token t = router_lexer_next(&lexer); t.kind != ROUTER_TOKEN_END;
         t = router_lexer_next(&lexer)) {
        char *literal = text + t.start;
        if (t.kind == ROUTER_TOKEN_NUMBER) {
            for (uint32_t i = 0; i < t.size; i++)
                literal[i] =
                    (char)(literal[i] >= '1' && literal[i] <= '8' ? literal[i] + 1 : literal[i]);
        } else if (t.kind == ROUTER_TOKEN_STRING && literal[0] == '\'') {
            for (uint32_t i = 1; i + 1 < t.size; i++) {
                if (literal[i] >= 'a' && literal[i] < 'z')
                    literal[i]++;
            }
        }
    }
}

static bool class_equals(const struct router_class *a, const struct router_class *b)
{
    return a->verdict == b->verdict && a->reason == b->reason && a->begin == b->begin &&
           a->local == b->local && a->alone == b->alone && a->ends == b->ends &&
           a->rolls_back == b->rolls_back && a->writes == b->writes && a->taints == b->taints &&
           a->unpins == b->unpins && a->set_read_only == b->set_read_only &&
           a->begins == b->begins && a->has_transaction == b->has_transaction &&
           a->changes_seed == b->changes_seed && a->uses_random == b->uses_random &&
           a->by_node_type == b->by_node_type && a->hinted == b->hinted &&
           a->forgets_statements == b->forgets_statements;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    struct router_class first;
    struct router_class second;
    struct router_detail detail;
    struct router_scan before;
    struct router_scan after;
    router_classify(text, size, NULL, &first, &detail);
    router_lexer_scan(text, size, key, &before);
    if (detail.body_offset > size || strlen(detail.value) >= sizeof(detail.value))
        abort();
    mutate_literals(text, size);
    router_classify(text, size, NULL, &second, NULL);
    router_lexer_scan(text, size, key, &after);
    const bool cached = first.cacheable && before.whole && !before.has_hint &&
                        !before.literal_matters && before.hash.low == after.hash.low &&
                        before.hash.high == after.hash.high;
    /* a text that no longer parses fails on any node, whatever the cache says of it */
    if (cached && second.reason != ROUTER_REASON_PARSE_ERROR && !class_equals(&first, &second)) {
        fprintf(stderr, "%s/%s or %s/%s: %s\n", router_verdict_text(first.verdict),
                router_reason_text(first.reason), router_verdict_text(second.verdict),
                router_reason_text(second.reason), text);
        abort();
    }
    free(text);
    return 0;
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * What the proxy answers by itself.
 */
#include "core_story.h"

static void an_empty_string_needs_no_server(void **state)
{
    struct story *st = *state;
    story_client(st, "Q() Q(-- nothing) P(|) B() D(P) E S");
    story_expect(st, "client: I Z(I) I Z(I) 1 2 n I Z(I)\n");
}

static void a_sync_alone_needs_no_server(void **state)
{
    struct story *st = *state;
    story_client(st, "S H S C(Sx) S");
    story_expect(st, "client: Z(I) Z(I) 3 Z(I)\n");
}

static void the_last_route_is_shown_in_the_simple_protocol(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(SHOW switchgear.last_route)");
    story_expect(st, "client: T D(replica,replica,read,select,0) C(SHOW) Z(I)\n");
}

static void the_last_route_is_shown_in_the_extended_protocol(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    st->log_size = 0;
    story_client(st, "P(r|SHOW switchgear.last_route) D(Sr) S");
    story_client(st, "B(r) D(P) E S");
    story_expect(st, "client: 1 t T Z(I)\n"
                     "client: 2 T D(primary,primary,write,dml,0) C(SHOW) Z(I)\n");
}

static void explain_route_runs_nothing(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(EXPLAIN (ROUTE) SELECT 1)");
    story_expect(st, "client: T D(replica,replica,read,select,0,primary: the replica will do) "
                     "C(EXPLAIN) Z(I)\n");
    st->topology.nodes[1].drained = true;
    story_client(st, "Q(EXPLAIN (ROUTE) SELECT 1)");
    story_expect(st, "client: T D(primary,primary,read,drained,0,replica: drained) "
                     "C(EXPLAIN) Z(I)\n");
}

static void a_level_is_set_shown_and_reset(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET switchgear.consistency = 'primary') Q(SELECT 1)");
    story_expect(st, "client: C(SET) Z(I)\nprimary: Q(SELECT 1)\n");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(SHOW switchgear.consistency) Q(RESET switchgear.consistency) "
                     "Q(SHOW switchgear.consistency)");
    story_expect(st, "client: T D(primary) C(SHOW) Z(I) C(RESET) Z(I) T D(session) C(SHOW) Z(I)\n");
}

static void a_local_level_ends_with_its_block(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET LOCAL switchgear.consistency = 'primary')");
    story_expect(st, "client: N(25P01) C(SET) Z(I)\n");
    story_client(st, "Q(BEGIN) Q(SET LOCAL switchgear.consistency = 'primary') "
                     "Q(SHOW switchgear.consistency) Q(COMMIT) Q(SHOW switchgear.consistency)");
    story_expect(st, "client: C(BEGIN) Z(T) C(SET) Z(T) T D(primary) C(SHOW) Z(T) C(COMMIT) Z(I) "
                     "T D(session) C(SHOW) Z(I)\n");
}

static void a_bad_setting_is_an_error(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET switchgear.consistency = 'sometimes') Q(SET switchgear.route = 'x') "
                     "Q(SET switchgear.max_lag = 'soon') Q(SET switchgear.nothing = '1') "
                     "Q(SHOW switchgear.nothing)");
    story_expect(st, "client: E(22023) Z(I) E(22023) Z(I) E(22023) Z(I) E(0A000) Z(I) "
                     "T E(42704) Z(I)\n");
}

static void an_error_of_ours_skips_to_sync(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SET switchgear.route = 'x') B() E P(|SET switchgear.route = 'auto') B() "
                     "E S S");
    story_expect(st, "client: 1 2 E(22023) Z(I) Z(I)\n");
}

static void max_lag_is_a_duration(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET switchgear.max_lag = '200ms') Q(SHOW switchgear.max_lag)");
    story_expect(st, "client: C(SET) Z(I) T D(200ms) C(SHOW) Z(I)\n");
}

static void deallocate_of_a_name_of_ours_is_ours(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) S");
    story_server(st, 1, "1 Z(I)");
    st->log_size = 0;
    story_client(st, "Q(DEALLOCATE a)");
    story_expect(st, "client: C(DEALLOCATE) Z(I)\n");
}

/* A client may ask for more answers than a step can write. */
static void too_many_answers_are_an_error(void **state)
{
    struct story *st = *state;
    static uint8_t bytes[200000];
    size_t size = story_encode(true, "P(|SHOW switchgear.last_route) B()", bytes, sizeof(bytes));
    st->worker.limits.statement_max = sizeof(bytes);
    while (size + 20 < sizeof(bytes))
        size += story_encode(true, "E", bytes + size, sizeof(bytes) - size);
    size += story_encode(true, "S", bytes + size, sizeof(bytes) - size);
    story_client_bytes(st, "", 0);
    struct core_actions *a =
        core_client_data(&st->session, (struct proto_span){bytes, size}, st->now_ns);
    assert_true(a->client.size > 100000 && a->client.size < CORE_SCRATCH_SIZE);
    assert_null(st->session.hold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(an_empty_string_needs_no_server),
        STORY(a_sync_alone_needs_no_server),
        STORY(the_last_route_is_shown_in_the_simple_protocol),
        STORY(the_last_route_is_shown_in_the_extended_protocol),
        STORY(explain_route_runs_nothing),
        STORY(a_level_is_set_shown_and_reset),
        STORY(a_local_level_ends_with_its_block),
        STORY(a_bad_setting_is_an_error),
        STORY(an_error_of_ours_skips_to_sync),
        STORY(max_lag_is_a_duration),
        STORY(deallocate_of_a_name_of_ours_is_ours),
        STORY(too_many_answers_are_an_error),
    };
    return cmocka_run_group_tests_name("core_local", tests, NULL, NULL);
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * From a client's first byte to its first ReadyForQuery.
 */
#include "core_login_story.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- trust, packets ---- */

static void trust_is_welcomed_with_the_parameters_of_a_server(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client_bytes(st, login_start, sizeof(login_start));
    story_expect(st, "client: R(0)\n");
    assert_string_equal(core_login_user_name(&st->session), "alice");
    assert_string_equal(core_login_database(&st->session), "alice");
    st->nobody_grants = false;
    story_grant(st);
    story_expect(st, "client: K Z(I)\nrelease primary\n");
}

static void a_packet_may_come_byte_by_byte(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < sizeof(login_start); i++)
        story_client_bytes(st, login_start + i, 1);
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void a_client_need_not_wait_for_its_welcome(void **state)
{
    struct story *st = *state;
    uint8_t bytes[128];
    memcpy(bytes, login_start, sizeof(login_start));
    const size_t more =
        story_encode(true, "Q(INSERT INTO t VALUES (1))", bytes + sizeof(login_start),
                     sizeof(bytes) - sizeof(login_start));
    story_client_bytes(st, bytes, sizeof(login_start) + more);
    story_expect(st, "client: R(0)\nclient: K Z(I)\nprimary: Q(INSERT INTO t VALUES (1))\n");
}

static void encryption_is_refused_once(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f"));
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x30"));
    story_expect(st, "client: no\nclient: no\n");
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f"));
    story_expect(st, "client: E(FATAL 0A000)\nclose client\n");
}

static void encryption_is_granted_where_it_is_offered(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_OFFERED;
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x30"));
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f"));
    story_expect(st, "client: no\nclient: yes\ntls\n");
    assert_int_equal(st->session.tls, CORE_TLS_ON);
    story_client_bytes(st, login_start, sizeof(login_start));
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void nothing_clear_may_lie_behind_the_request_for_tls(void **state)
{
    struct story *st = *state;
    uint8_t bytes[8 + sizeof(login_start)] = "\0\0\0\x08\x04\xd2\x16\x2f";
    memcpy(bytes + 8, login_start, sizeof(login_start));
    st->session.tls = CORE_TLS_OFFERED;
    story_client_bytes(st, bytes, sizeof(bytes));
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void there_is_no_encryption_inside_tls(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_ON; /* it began with it */
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x30"));
    story_expect(st, "client: E(FATAL 0A000)\nclose client\n");
}

static void who_has_to_use_tls_is_told_so(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_REQUIRED;
    story_client_bytes(st, login_start, sizeof(login_start));
    story_expect(st, "client: E(FATAL 28000)\nclose client\n");
}

static void a_cancel_request_needs_no_tls(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_REQUIRED;
    story_client_bytes(st, PACKET("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\7\0\0\0\x09"));
    story_expect(st, "cancel 7, key of 4\n");
}

static void nothing_may_lie_behind_an_encryption_request(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f\0\0"));
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void a_cancel_request_gets_no_answer(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\7\0\0\0\x09"));
    story_expect(st, "cancel 7, key of 4\n");
}

static void a_cancel_request_of_the_wrong_size_gets_none_either(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x0e\x04\xd2\x16\x2e\0\0\0\7\0\0"));
    story_expect(st, "close client\n");
}

static void a_cancel_key_may_have_256_bytes(void **state)
{
    struct story *st = *state;
    uint8_t packet[12 + 256] = "\0\0\1\x0c\x04\xd2\x16\x2e\0\0\0\7";
    story_client_bytes(st, packet, sizeof(packet));
    story_expect(st, "cancel 7, key of 256\n");
}

static void an_unknown_option_is_negotiated(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0_pq_.x\0y\0"), 196608);
    story_expect(st, "client: v\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
    assert_int_equal(CORE_CANCEL_KEY_SIZE, st->session.cancel_key_size);
}

static void a_newer_minor_version_is_negotiated(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0"), 196608 + 9999);
    story_expect(st, "client: v\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
    assert_int_equal(CORE_CANCEL_KEY_SIZE_MAX, st->session.cancel_key_size);
}

static void protocol_3_2_is_spoken(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0"), 196610);
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n");
    assert_int_equal(CORE_CANCEL_KEY_SIZE_MAX, st->session.cancel_key_size);
}

static void another_protocol_is_refused(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x08\0\2\0\0"));
    story_expect(st, "client: E(FATAL 0A000)\nclose client\n");
}

static void a_length_out_of_bounds_ends_it_without_a_word(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\1\0\0"));
    story_expect(st, "close client\n");
}

static void a_terminate_in_place_of_the_first_packet_is_not_answered(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("X\0\0\0\x04"));
    story_expect(st, "close client\n");
}

static void a_user_is_required(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("database\0d\0"), 196608);
    story_expect(st, "client: E(FATAL 28000)\nclose client\n");
}

/* ---- settings ---- */

static void a_level_may_come_in_options(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0options\0-c switchgear.consistency=primary\0"), 196608);
    story_client(st, "Q(SHOW switchgear.consistency)");
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n"
                     "client: T D(primary) C(SHOW) Z(I)\n");
}

static void a_level_that_is_none_is_refused(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0options\0-c switchgear.consistency=perhaps\0"), 196608);
    story_expect(st, "client: E(FATAL 22023)\nclose client\n");
}

static void settings_are_sent_before_the_welcome(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0application_name\0a'b\0"), 196608);
    story_expect(st, "client: R(0)\n"
                     "primary: Q(SELECT pg_catalog.set_config(E'application_name',E'a''b',fal)\n");
    story_server(st, 0, "C(RESET) S(application_name|a'b) T(x) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: K Z(I)\nrelease primary\n");
}

static void a_setting_that_the_server_refuses_is_fatal(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0wonk\0y\0"), 196608);
    st->log_size = 0;
    story_server(st, 0, "E(42704)");
    story_expect(st, "client: E(FATAL 42704)\nclose client\nclose primary\n");
}

static void a_server_that_dies_before_the_welcome_is_replaced(void **state)
{
    struct story *st = *state;
    login_start_up(st, PACKET("user\0u\0application_name\0a\0"), 196608);
    st->log_size = 0;
    story_server(st, 0, "X(57P01)");
    story_expect(st, "");
    story_server_dies(st, 0);
    story_expect(st, "close primary\n"
                     "primary: Q(SELECT pg_catalog.set_config(E'application_name',E'a',false))\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOGIN(trust_is_welcomed_with_the_parameters_of_a_server),
        LOGIN(a_packet_may_come_byte_by_byte),
        LOGIN(a_client_need_not_wait_for_its_welcome),
        LOGIN(encryption_is_refused_once),
        LOGIN(nothing_may_lie_behind_an_encryption_request),
        LOGIN(encryption_is_granted_where_it_is_offered),
        LOGIN(nothing_clear_may_lie_behind_the_request_for_tls),
        LOGIN(there_is_no_encryption_inside_tls),
        LOGIN(who_has_to_use_tls_is_told_so),
        LOGIN(a_cancel_request_needs_no_tls),
        LOGIN(a_cancel_request_gets_no_answer),
        LOGIN(a_cancel_request_of_the_wrong_size_gets_none_either),
        LOGIN(a_cancel_key_may_have_256_bytes),
        LOGIN(an_unknown_option_is_negotiated),
        LOGIN(a_newer_minor_version_is_negotiated),
        LOGIN(protocol_3_2_is_spoken),
        LOGIN(another_protocol_is_refused),
        LOGIN(a_length_out_of_bounds_ends_it_without_a_word),
        LOGIN(a_terminate_in_place_of_the_first_packet_is_not_answered),
        LOGIN(a_user_is_required),
        LOGIN(a_level_may_come_in_options),
        LOGIN(a_level_that_is_none_is_refused),
        LOGIN(settings_are_sent_before_the_welcome),
        LOGIN(a_setting_that_the_server_refuses_is_fatal),
        LOGIN(a_server_that_dies_before_the_welcome_is_replaced),
    };
    return cmocka_run_group_tests_name("core_login", tests, NULL, NULL);
}

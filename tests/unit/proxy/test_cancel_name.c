/* SPDX-License-Identifier: PostgreSQL
 *
 * test_cancel_name: process ids of cancel keys, and the key in libpq's trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy_cancel_name.h"
#include "proxy_trace.h"

static void a_process_id_names_instance_worker_and_slot(void **state)
{
    (void)state;
    static const uint32_t workers[] = {1, 2, 3, 5, 63, 64};
    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        const uint32_t slots[] = {1, 2, 1000, cancel_slots_max(workers[i]) - 1};
        for (size_t j = 0; j < sizeof(slots) / sizeof(slots[0]); j++) {
            const struct cancel_name name = {j % 2 == 0 ? 0 : 255, workers[i] - 1, slots[j]};
            const uint32_t pid = cancel_name_write(name, workers[i]);
            const struct cancel_name read = cancel_name_read(pid, workers[i]);
            assert_true(pid > 4194304 && pid <= INT32_MAX); /* the largest of Linux */
            assert_int_equal(read.instance, name.instance);
            assert_int_equal(read.worker, name.worker);
            assert_int_equal(read.slot, name.slot);
        }
    }
}

static void any_instance_can_tell_whose_a_process_id_is(void **state)
{
    (void)state;
    const uint32_t pid = cancel_name_write((struct cancel_name){7, 3, 99}, 4);
    assert_int_equal(cancel_name_read(pid, 1).instance, 7);
    assert_int_equal(cancel_name_read(pid, 64).instance, 7);
}

static void there_is_room_for_many_clients(void **state)
{
    (void)state;
    assert_int_equal(cancel_slots_max(1), 1 << 22);
    assert_int_equal(cancel_slots_max(64), 1 << 16);
}

#define READ(text, secret) trace_key_read(text, sizeof(text) - 1, 24384, secret)

static void the_key_is_read_from_a_trace(void **state)
{
    (void)state;
    uint32_t secret = 0;
    assert_true(READ("F\t41\tUnknown message: length is 41\n"
                     "B\t25\tParameterStatus\t \"client_encoding\" \"UTF8\"\n"
                     "B\t12\tBackendKeyData\t 24384 -1363114380\n"
                     "B\t5\tReadyForQuery\t I\n",
                     &secret));
    assert_int_equal(secret, (uint32_t)-1363114380);
    assert_true(READ("B\t12\tBackendKeyData\t 24384 911497811", &secret));
    assert_int_equal(secret, 911497811);
    assert_true(READ("B\t12\tBackendKeyData\t 24384 -2147483648\n", &secret));
    assert_int_equal(secret, 0x80000000u);
}

static void the_key_may_be_quoted_bytes(void **state)
{
    (void)state;
    uint32_t secret = 0;
    assert_true(READ("B\t12\tBackendKeyData\t 24384 'abcd'\n", &secret));
    assert_int_equal(secret, 0x61626364);
    assert_true(READ("B\t12\tBackendKeyData\t 24384 'a\\x00'\\xff'\n", &secret));
    assert_int_equal(secret, 0x610027ff);
    assert_true(READ("B\t12\tBackendKeyData\t 24384 '\\x0f'\n", &secret)); /* as it stands */
    assert_int_equal(secret, 0x5c783066);
    assert_true(READ("B\t12\tBackendKeyData\t 24384 '\\x01\\x02\\x03\\x04'\n", &secret));
    assert_int_equal(secret, 0x01020304);
}

static void what_is_no_key_is_not_taken_for_one(void **state)
{
    (void)state;
    uint32_t secret = 1;
    assert_false(READ("", &secret));
    assert_false(READ("B\t12\tBackendKeyData\t 24385 5\n", &secret)); /* of another process */
    assert_false(READ("B\t12\tBackendKeyData\t 24384", &secret));
    assert_false(READ("B\t12\tBackendKeyData\t 24384 ", &secret));
    assert_false(READ("B\t12\tBackendKeyData\t 24384 -\n", &secret));
    assert_false(READ("B\t12\tBackendKeyData\t 24384 99999999999\n", &secret));
    assert_false(READ("B\t12\tBackendKeyData\t 24384 'abc'\n", &secret));
    assert_false(READ("B\t12\tBackendKeyData\t 24384 'abcde'\n", &secret));
    assert_false(READ("B\t12\tBackendKeyData\t 24384 '\n", &secret));
    assert_false(READ("B\t40\tBackendKeyData\t 24384 'abcd'\n", &secret));
    assert_false(READ("F\t12\tBackendKeyData\t 24384 5\n", &secret));
    assert_int_equal(secret, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_id_names_instance_worker_and_slot),
        cmocka_unit_test(any_instance_can_tell_whose_a_process_id_is),
        cmocka_unit_test(there_is_room_for_many_clients),
        cmocka_unit_test(the_key_is_read_from_a_trace),
        cmocka_unit_test(the_key_may_be_quoted_bytes),
        cmocka_unit_test(what_is_no_key_is_not_taken_for_one),
    };
    return cmocka_run_group_tests_name("cancel name", tests, NULL, NULL);
}

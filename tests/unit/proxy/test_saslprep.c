/* SPDX-License-Identifier: PostgreSQL
 *
 * saslprep: what PostgreSQL's clients and servers make of a password before they hash it.
 */
#include "proxy_saslprep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static char buf[SASLPREP_BUFFER_SIZE];

static struct proto_span prepared(const char *text)
{
    return saslprep((struct proto_span){(const uint8_t *)text, strlen(text)}, buf);
}

#define CHECK_PREPARED(to, from)                    \
    do {                                            \
        const struct proto_span p = prepared(from); \
        assert_int_equal(p.size, strlen(to));       \
        assert_memory_equal(p.base, to, p.size);    \
    } while (0)

static void letters_take_the_one_form_that_they_all_have(void **state)
{
    (void)state;
    CHECK_PREPARED("n2\xce\xbc", "n\xc2\xb2\xc2\xb5"); /* a superscript and the micro sign */
    CHECK_PREPARED("fi", "\xef\xac\x81");              /* a ligature */
    CHECK_PREPARED("\xc3\xa9", "e\xcc\x81");           /* a letter and its accent */
    CHECK_PREPARED("a b", "a\xc2\xa0"
                          "b"); /* a space that does not break */
    CHECK_PREPARED("ab", "a\xc2\xad"
                         "b");                            /* a hyphen that is not seen */
    CHECK_PREPARED("p\xc3\xa4ssword", "p\xc3\xa4ssword"); /* what has that form already */
}

static void what_cannot_be_prepared_stays_as_it_is(void **state)
{
    (void)state;
    CHECK_PREPARED("plain \x07 text", "plain \x07 text"); /* ASCII, whatever it is */
    CHECK_PREPARED("\xf0\x9f\x98\x80\xc2\xb2", "\xf0\x9f\x98\x80\xc2\xb2"); /* newer than 3.2 */
    CHECK_PREPARED("\xff\xfe\xc2\xb2", "\xff\xfe\xc2\xb2");                 /* no UTF-8 */
    CHECK_PREPARED("\x07\xc2\xb2", "\x07\xc2\xb2");                         /* prohibited */
    CHECK_PREPARED("\xd7\x90"
                   "a\xc2\xb2",
                   "\xd7\x90"
                   "a\xc2\xb2");            /* two directions */
    CHECK_PREPARED("\xc2\xad", "\xc2\xad"); /* nothing would be left */
    CHECK_PREPARED("", "");
}

static void a_long_one_is_not_touched(void **state)
{
    char text[SASLPREP_SIZE_MAX + 3];
    (void)state;
    for (size_t i = 0; i < sizeof(text) - 1; i += 2)
        memcpy(text + i, "\xc2\xb2", 2);
    text[sizeof(text) - 1] = '\0';
    CHECK_PREPARED(text, text);
    text[SASLPREP_SIZE_MAX] = '\0';
    assert_int_equal(prepared(text).size, SASLPREP_SIZE_MAX / 2);
    /* the letter that becomes most: eighteen of two bytes and spaces */
    for (size_t i = 0; i + 3 <= SASLPREP_SIZE_MAX; i += 3)
        memcpy(text + i, "\xef\xb7\xba", 3);
    text[SASLPREP_SIZE_MAX / 3 * 3] = '\0';
    assert_int_equal(prepared(text).size, SASLPREP_SIZE_MAX / 3 * 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_take_the_one_form_that_they_all_have),
        cmocka_unit_test(what_cannot_be_prepared_stays_as_it_is),
        cmocka_unit_test(a_long_one_is_not_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proxy_hosts: names of addresses: what is asked, in which order, and who hears the answer.
 * The lookups and the clock of libuv are this test's own.
 */
#include "proxy_hosts.h"

#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- libuv, as far as it is used ---- */

struct asked {
    uv_getnameinfo_t *reverse;
    uv_getnameinfo_cb on_name;
    uv_getaddrinfo_t *forward;
    uv_getaddrinfo_cb on_addresses;
    char text[64]; /* an address, or a name */
    bool cancelled;
};
static struct asked asked[512];
static uint32_t asked_count, answered_count;
static uint64_t now_ns;

uint64_t uv_hrtime(void)
{
    return now_ns;
}

int uv_getnameinfo(uv_loop_t *loop, uv_getnameinfo_t *request, uv_getnameinfo_cb callback,
                   const struct sockaddr *address, int flags)
{
    struct asked *a = &asked[asked_count++];
    (void)loop;
    assert_int_equal(flags, NI_NAMEREQD);
    *a = (struct asked){.reverse = request, .on_name = callback};
    assert_int_equal(getnameinfo(address, sizeof(struct sockaddr_in6), a->text, sizeof(a->text),
                                 NULL, 0, NI_NUMERICHOST),
                     0);
    return 0;
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb callback,
                   const char *node, const char *service, const struct addrinfo *hints)
{
    struct asked *a = &asked[asked_count++];
    (void)loop;
    assert_null(service);
    *a = (struct asked){.forward = request, .on_addresses = callback};
    (void)snprintf(a->text, sizeof(a->text), "%s/%s", node,
                   hints->ai_family == AF_INET ? "4" : "6");
    return 0;
}

void uv_freeaddrinfo(struct addrinfo *found)
{
    if (found != NULL)
        freeaddrinfo(found);
}

int uv_cancel(uv_req_t *request)
{
    for (uint32_t i = 0; i < asked_count; i++)
        if ((void *)asked[i].reverse == (void *)request ||
            (void *)asked[i].forward == (void *)request)
            asked[i].cancelled = true;
    return 0;
}

/* The oldest question must be this one. `name` NULL: there is none. */
static void answer_name(const char *address, const char *name)
{
    struct asked *a = &asked[answered_count++];
    assert_true(answered_count <= asked_count);
    assert_string_equal(a->text, address);
    a->on_name(a->reverse, name == NULL ? UV_EAI_NONAME : 0, name, "0");
}

/* `address` NULL: there is none. */
static void answer_address(const char *name, const char *address)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct asked *a = &asked[answered_count++];
    struct addrinfo *found = NULL;
    assert_true(answered_count <= asked_count);
    assert_string_equal(a->text, name);
    if (address != NULL)
        assert_int_equal(getaddrinfo(address, NULL, &hints, &found), 0);
    a->on_addresses(a->forward, address == NULL ? UV_EAI_NONAME : 0, found);
}

/* ---- who waits ---- */

struct waiter {
    struct hosts_wait wait;
    bool told;
    char name[64]; /* "-": none */
};

static void on_known(struct hosts_wait *wait, const char *name)
{
    struct waiter *w = wait->owner;
    assert_false(w->told);
    w->told = true;
    (void)snprintf(w->name, sizeof(w->name), "%s", name == NULL ? "-" : name);
}

static bool ask(struct hosts *h, const char *text, struct waiter *w)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_V4MAPPED,
                                   .ai_family = AF_INET6,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    assert_int_equal(getaddrinfo(text, NULL, &hints, &found), 0);
    *w = (struct waiter){.wait = {.on_known = on_known, .owner = w}};
    const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)(const void *)found->ai_addr;
    const bool result = hosts_ask(h, address->sin6_addr.s6_addr, &w->wait, now_ns);
    freeaddrinfo(found);
    return result;
}

static int begin(void **state)
{
    static uv_loop_t loop; /* never looked into */
    asked_count = answered_count = 0;
    now_ns = 1;
    *state = hosts_create(&loop);
    return 0;
}

static int end(void **state)
{
    assert_int_equal(answered_count, asked_count);
    hosts_destroy(*state);
    return 0;
}

static const uint64_t second_ns = 1000000000;

/* ---- tests ---- */

static void a_name_that_leads_back_is_the_name(void **state)
{
    struct waiter v4, v6;
    assert_true(ask(*state, "10.0.0.1", &v4));
    assert_true(ask(*state, "2001:db8::1", &v6));
    answer_name("10.0.0.1", "db.example.com");
    answer_name("2001:db8::1", "six.example.com");
    assert_false(v4.told);
    answer_address("db.example.com/4", "10.0.0.1");
    answer_address("six.example.com/6", "2001:db8::1");
    assert_string_equal(v4.name, "db.example.com");
    assert_string_equal(v6.name, "six.example.com");
}

static void any_name_may_be_claimed_and_is_none_then(void **state)
{
    struct waiter elsewhere, nowhere, nameless;
    assert_true(ask(*state, "10.0.0.1", &elsewhere));
    answer_name("10.0.0.1", "bank.example.com");
    answer_address("bank.example.com/4", "10.0.0.2");
    assert_string_equal(elsewhere.name, "-");
    assert_true(ask(*state, "10.0.0.3", &nowhere));
    answer_name("10.0.0.3", "gone.example.com");
    answer_address("gone.example.com/4", NULL);
    assert_string_equal(nowhere.name, "-");
    assert_true(ask(*state, "10.0.0.4", &nameless));
    answer_name("10.0.0.4", NULL);
    assert_string_equal(nameless.name, "-");
}

static void all_who_wait_for_an_address_hear_one_answer(void **state)
{
    struct waiter first, second, gone;
    assert_true(ask(*state, "10.0.0.1", &first));
    assert_true(ask(*state, "10.0.0.1", &gone));
    assert_true(ask(*state, "10.0.0.1", &second));
    hosts_forget(&gone.wait);
    answer_name("10.0.0.1", "a.example");
    answer_address("a.example/4", "10.0.0.1");
    assert_string_equal(first.name, "a.example");
    assert_string_equal(second.name, "a.example");
    assert_false(gone.told);
}

static void a_name_is_remembered_for_longer_than_none(void **state)
{
    struct waiter w;
    assert_true(ask(*state, "10.0.0.1", &w));
    answer_name("10.0.0.1", "a.example");
    answer_address("a.example/4", "10.0.0.1");
    assert_true(ask(*state, "10.0.0.2", &w));
    answer_name("10.0.0.2", NULL);
    now_ns += second_ns;
    assert_true(ask(*state, "10.0.0.1", &w) && w.told);
    assert_string_equal(w.name, "a.example");
    assert_true(ask(*state, "10.0.0.2", &w) && w.told);
    assert_string_equal(w.name, "-");
    now_ns += 3 * second_ns;
    assert_true(ask(*state, "10.0.0.1", &w) && w.told);
    assert_true(ask(*state, "10.0.0.2", &w));
    assert_false(w.told);
    answer_name("10.0.0.2", NULL);
    now_ns += 7 * second_ns;
    assert_true(ask(*state, "10.0.0.1", &w));
    assert_false(w.told);
    answer_name("10.0.0.1", NULL);
    assert_string_equal(w.name, "-");
}

static void few_run_at_a_time_and_the_others_in_order(void **state)
{
    struct waiter w[4];
    for (uint32_t i = 0; i < 4; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "10.0.0.%u", i);
        assert_true(ask(*state, text, &w[i]));
    }
    assert_int_equal(asked_count, HOSTS_RUNNING);
    hosts_forget(&w[2].wait); /* has left before it was asked */
    answer_name("10.0.0.0", NULL);
    assert_int_equal(asked_count, HOSTS_RUNNING + 1);
    answer_name("10.0.0.1", NULL);
    answer_name("10.0.0.3", NULL);
    assert_string_equal(w[3].name, "-");
    assert_false(w[2].told);
}

static void what_is_remembered_makes_room_and_who_waits_does_not(void **state)
{
    static struct waiter w[HOSTS_MAX + 2];
    struct waiter known;
    char text[24];
    assert_true(ask(*state, "10.9.9.9", &known));
    answer_name("10.9.9.9", NULL);
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        (void)snprintf(text, sizeof(text), "10.0.%u.%u", i / 250, i % 250);
        assert_true(ask(*state, text, &w[i]));
    }
    assert_false(ask(*state, "10.1.0.0", &w[HOSTS_MAX]));
    assert_null(w[HOSTS_MAX].wait.entry);
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        (void)snprintf(text, sizeof(text), "10.0.%u.%u", i / 250, i % 250);
        answer_name(text, NULL);
        assert_true(w[i].told);
    }
    assert_true(ask(*state, "10.1.0.0", &w[HOSTS_MAX]));
    answer_name("10.1.0.0", NULL);
}

static void after_the_stop_nothing_is_asked(void **state)
{
    struct waiter running, wanted, third, late;
    assert_true(ask(*state, "10.0.0.1", &running));
    assert_true(ask(*state, "10.0.0.2", &wanted));
    assert_true(ask(*state, "10.0.0.3", &third));
    hosts_forget(&running.wait);
    hosts_forget(&wanted.wait);
    hosts_forget(&third.wait);
    hosts_stop(*state);
    assert_true(asked[0].cancelled && asked[1].cancelled);
    answer_name("10.0.0.1", "a.example"); /* it could not be stopped any more */
    answer_name("10.0.0.2", NULL);
    assert_false(ask(*state, "10.0.0.4", &late));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_that_leads_back_is_the_name),
        TEST(any_name_may_be_claimed_and_is_none_then),
        TEST(all_who_wait_for_an_address_hear_one_answer),
        TEST(a_name_is_remembered_for_longer_than_none),
        TEST(few_run_at_a_time_and_the_others_in_order),
        TEST(what_is_remembered_makes_room_and_who_waits_does_not),
        TEST(after_the_stop_nothing_is_asked),
    };
    return cmocka_run_group_tests_name("proxy_hosts", tests, NULL, NULL);
}

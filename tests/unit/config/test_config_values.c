/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_values: units, bounds, --set, addresses, lists.
 */
#include "config_story.h"

static void set(struct story *s, const char *assignment)
{
    config_set(s->config, assignment, &s->problems);
}

static const struct config_option *option(const char *section, const char *name)
{
    static const char *const sections[] = {"switchgear", "node", "database", "probe", "breaker"};
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        if (strcmp(o->name, name) == 0 && strcmp(sections[o->section], section) == 0)
            return o;
    }
    fail_msg("no option %s", name);
    return NULL;
}

static void durations_take_their_units(void **state)
{
    struct story *s = *state;
    const struct {
        const char *text;
        uint64_t ns;
    } rows[] = {{"250us", 250000},
                {"5ms", 5000000},
                {"1.5s", 1500000000},
                {"2m", 120000000000},
                {"3h", UINT64_C(10800000000000)},
                {"7", 7000000000},
                {"0.5", 500000000},
                {"20 s", 20000000000},
                {"0", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "switchgear.query_wait_timeout=%s", rows[i].text);
        set(s, text);
        story_is_clean(s);
        assert_int_equal(s->config->switchgear.query_wait_timeout_ns, rows[i].ns);
    }
    set(s, "probe.interval=700"); /* a plain number there is milliseconds */
    assert_int_equal(s->config->probe.interval_ns, 700000000);
    story_is_clean(s);
}

static void what_is_no_value_is_refused(void **state)
{
    struct story *s = *state;
    static const char *const rows[] = {
        "switchgear.query_wait_timeout=5x",
        "switchgear.query_wait_timeout=",
        "switchgear.query_wait_timeout=-5s",
        "switchgear.query_wait_timeout=1.2.3s",
        "switchgear.query_wait_timeout=1.",
        "switchgear.query_wait_timeout=auto",
        "switchgear.query_wait_timeout=99999999999999999999",
        "switchgear.query_wait_timeout=9999999999999h",
        "switchgear.query_wait_timeout=25h",
        "switchgear.query_wait_timeout=0.0000000001s",
        "switchgear.workers=1.5",
        "switchgear.workers=0",
        "switchgear.workers=257",
        "switchgear.max_client_conn=auto",
        "switchgear.retry_keep=64k",
        "switchgear.retry_keep=17MB",
        "switchgear.trust_anywhere=perhaps",
        "switchgear.auth_type=password",
        "switchgear.client_tls_sslmode=sometimes",
        "database.app.pin_limit=101%",
        "database.app.pin_limit=50 percent",
        "database.app.max_lag=1ms",
        "node.a.port=0",
        "node.a.port=0x10",
    };
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set(s, rows[i]);
        if (s->problems.errors != i + 1)
            fail_msg("%s was taken", rows[i]);
    }
    assert_int_equal(s->config->switchgear.query_wait_timeout_ns, 120000000000);
    story_error(s, 0, "query_wait_timeout = 5x is not valid: write a number and us, ms, s, m or h");
    story_error(s, 0, "workers = 1.5 is not valid: write a whole number, or auto");
    story_error(s, 0, "query_wait_timeout = 25h is too large: the most is 24h");
    story_error(s, 0, "max_lag = 1ms is too small: the least is 20ms");
    story_error(s, 0, "write one of trust, scram-sha-256, md5, cert, hba");
}

static void a_bound_itself_is_allowed(void **state)
{
    struct story *s = *state;
    set(s, "node.a.port=1");
    set(s, "node.a.port=65535");
    set(s, "database.app.pin_limit=100%");
    set(s, "database.app.max_lag=20ms");
    set(s, "switchgear.query_wait_timeout=24h");
    story_is_clean(s);
    set(s, "node.a.port=65536");
    story_only_error(s, 0, "port = 65536 is too large: the most is 65535");
}

static void values_are_written_back_in_the_largest_unit(void **state)
{
    struct story *s = *state;
    const struct {
        const char *assignment, *name, *text;
    } rows[] = {{"switchgear.query_wait_timeout=120", "query_wait_timeout", "2m"},
                {"switchgear.query_wait_timeout=1500ms", "query_wait_timeout", "1500ms"},
                {"switchgear.query_wait_timeout=0", "query_wait_timeout", "0"},
                {"switchgear.retry_keep=65536", "retry_keep", "64kB"},
                {"switchgear.retry_keep=1000", "retry_keep", "1000"},
                {"switchgear.workers=auto", "workers", "auto"},
                {"switchgear.workers=4", "workers", "4"},
                {"switchgear.trust_anywhere=On", "trust_anywhere", "yes"},
                {"switchgear.auth_type=md5", "auth_type", "md5"},
                {"switchgear.admin_users=a, b", "admin_users", "a, b"}};
    char buf[32];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set(s, rows[i].assignment);
        story_is_clean(s);
        assert_string_equal(config_value_text(option("switchgear", rows[i].name),
                                              &s->config->switchgear, buf, sizeof buf),
                            rows[i].text);
    }
    set(s, "database.app.pin_limit=12.5%");
    assert_int_equal(s->config->databases[0].pin_limit_permille, 125);
    assert_string_equal(
        config_value_text(option("database", "pin_limit"), &s->config->databases[0], buf, 32),
        "12.5%");
}

/* Each default is within its own bounds, and each choice can be said. */
static void every_option_takes_its_default_and_its_choices(void **state)
{
    struct story *s = *state;
    static const char *const prefixes[] = {"switchgear", "node.a", "database.a", "probe",
                                           "breaker"};
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        char text[300];
        snprintf(text, sizeof text, "%s.%s=%s", prefixes[o->section], o->name, o->default_text);
        set(s, text);
        for (size_t j = 0; o->choices != NULL && o->choices[j] != NULL; j++) {
            snprintf(text, sizeof text, "%s.%s=%s", prefixes[o->section], o->name, o->choices[j]);
            set(s, text);
        }
        story_is_clean(s);
        assert_true(strlen(o->help) > 10);
        assert_true(o->section == 0 || o->section >= config_options[i - 1].section);
        for (size_t j = 0; j < i; j++)
            assert_false(config_options[j].section == o->section &&
                         (strcmp(config_options[j].name, o->name) == 0 ||
                          config_options[j].offset == o->offset));
    }
}

static void defaults_are_those_of_pgbouncer(void **state)
{
    struct story *s = *state;
    const struct config_switchgear *g = &s->config->switchgear;
    assert_int_equal(g->default_pool_size, 20);
    assert_int_equal(g->query_wait_timeout_ns, 120000000000);
    assert_int_equal(g->server_idle_timeout_ns, 600000000000);
    assert_int_equal(g->server_lifetime_ns, 3600000000000);
    assert_int_equal(g->server_connect_timeout_ns, 15000000000);
    assert_int_equal(g->client_login_timeout_ns, 60000000000);
    assert_int_equal(g->client_idle_timeout_ns, 0);
    assert_int_equal(g->max_client_conn, 10000);
}

static void set_wins_over_the_file_whichever_comes_first(void **state)
{
    struct story *s = *state;
    set(s, "node.pg1.port=7777");
    set(s, "switchgear.workers = 9");
    story_read(s, STORY_LOGIN "workers = 2\n[node pg1]\nport = 1\n[database app]\nmax_lag = 1s\n");
    set(s, "database.app.max_lag=2s");
    set(s, "database.app.max_lag=3s"); /* the later of two */
    config_finish(s->config, &s->problems);
    story_is_clean(s);
    assert_int_equal(s->config->nodes[0].port, 7777);
    assert_int_equal(s->config->switchgear.workers, 9);
    assert_int_equal(s->config->databases[0].max_lag_ns, 3000000000);
}

static void a_bad_value_in_the_file_is_an_error_under_a_set_too(void **state)
{
    struct story *s = *state;
    set(s, "switchgear.workers=9");
    story_read(s, "[switchgear]\nworkers = x\nworkers = 2\n");
    story_error(s, 2, "workers = x is not valid");
    story_error(s, 3, "workers is here twice");
}

static void a_set_that_is_no_assignment_is_an_error(void **state)
{
    struct story *s = *state;
    static const char *const rows[] = {
        "workers=2",     "switchgear.workers",           "cluster.workers=2", "node.port=1", "",
        "switchgear.=2", "switchgear.worker=2",          "node..port=1",      "=",           ".=",
        "node.a.prot=1", "database.pgbouncer.max_lag=1s"};
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set(s, rows[i]);
        if (s->problems.errors != i + 1)
            fail_msg("%s was taken", rows[i]);
        assert_string_equal(s->problems.items[i].file, "--set");
    }
    assert_int_equal(s->config->nodes_count, 0);
}

static void a_name_in_set_may_have_dots_and_a_value_equals_signs(void **state)
{
    struct story *s = *state;
    set(s, "node.pg.example.com.options=sslmode=require");
    story_is_clean(s);
    assert_string_equal(s->config->nodes[0].name, "pg.example.com");
    assert_string_equal(s->config->nodes[0].options, "sslmode=require");
}

static void a_slip_in_set_makes_no_node(void **state)
{
    struct story *s = *state;
    set(s, "node.pgl.port=7777");
    set(s, "database.ap.max_lag=2s");
    story_read_and_finish(s, STORY_LOGIN STORY_NODE STORY_DATABASE);
    story_error(s, 0, "there is no node pgl: check its name");
    story_error(s, 0, "there is no database ap: check its name");
    assert_int_equal(s->problems.errors, 2);
}

static void a_config_can_be_made_of_sets_alone(void **state)
{
    struct story *s = *state;
    set(s, "node.a.host=db1");
    set(s, "database.*.max_lag=2s");
    set(s, "switchgear.auth_type=trust");
    config_finish(s->config, &s->problems);
    story_is_clean(s);
    assert_non_null(config_database_find(s->config, "anything"));
}

static void lists_are_searched_item_by_item(void **state)
{
    (void)state;
    assert_true(config_list_has("a, dba ,c", "dba"));
    assert_true(config_list_has("dba", "dba"));
    assert_true(config_list_has("x,dba", "dba"));
    assert_false(config_list_has("dbas, xdba", "dba"));
    assert_false(config_list_has("", "dba"));
    assert_false(config_list_has("  ", ""));
    assert_false(config_list_has("a,,b", ""));
}

static void addresses_are_split(void **state)
{
    (void)state;
    const struct {
        const char *text, *host;
        uint16_t port;
        bool is_unix, is_loopback;
    } good[] = {{"127.0.0.1:6432", "127.0.0.1", 6432, false, true},
                {"127.1.2.3:1", "127.1.2.3", 1, false, true},
                {"localhost:6432", "localhost", 6432, false, true},
                {"[::1]:6432", "::1", 6432, false, true},
                {"[fe80::1%eth0]:6432", "fe80::1%eth0", 6432, false, false},
                {"*:6432", "", 6432, false, false},
                {":5832", "", 5832, false, false},
                {"0.0.0.0:65535", "0.0.0.0", 65535, false, false},
                {"127.0.0.1.evil.example:80", "127.0.0.1.evil.example", 80, false, false},
                {"127.0.0.256:80", "127.0.0.256", 80, false, false},
                {"127.0.0:80", "127.0.0", 80, false, false},
                {"127.0.0.:80", "127.0.0.", 80, false, false},
                {"unix:@x", "@x", 0, true, true},
                {"unix:/run/x", "/run/x", 0, true, true}};
    static const char *const bad[] = {"",           "6432",         ":",         "127.0.0.1",
                                      "127.0.0.1:", "127.0.0.1:0",  "a:65536",   "a:99999999",
                                      "::1:6432",   "[::1]6432",    "[::1:6432", "a b:1",
                                      "unix:x",     "unix:",        "unix:@",    "[]:6432",
                                      "a/b:1",      "127.0.0.1:+1", "a:1 "};
    struct config_address a;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!config_address_parse(good[i].text, &a))
            fail_msg("%s was refused", good[i].text);
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(a.is_unix, good[i].is_unix);
        assert_int_equal(a.is_loopback, good[i].is_loopback);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (config_address_parse(bad[i], &a))
            fail_msg("%s was taken", bad[i]);
    }
    char text[200] = "unix:/";
    memset(text + 6, 'd', 91);
    assert_true(config_address_parse(text, &a)); /* 92 bytes: the socket's own name still fits */
    text[6 + 91] = 'd';
    assert_false(config_address_parse(text, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(durations_take_their_units),
        STORY(what_is_no_value_is_refused),
        STORY(a_bound_itself_is_allowed),
        STORY(values_are_written_back_in_the_largest_unit),
        STORY(every_option_takes_its_default_and_its_choices),
        STORY(defaults_are_those_of_pgbouncer),
        STORY(set_wins_over_the_file_whichever_comes_first),
        STORY(a_bad_value_in_the_file_is_an_error_under_a_set_too),
        STORY(a_set_that_is_no_assignment_is_an_error),
        STORY(a_name_in_set_may_have_dots_and_a_value_equals_signs),
        STORY(a_slip_in_set_makes_no_node),
        STORY(a_config_can_be_made_of_sets_alone),
        STORY(lists_are_searched_item_by_item),
        STORY(addresses_are_split),
    };
    return cmocka_run_group_tests_name("config values", tests, NULL, NULL);
}

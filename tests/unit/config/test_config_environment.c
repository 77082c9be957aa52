/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_environment: libpq URLs become nodes, a database and a user.
 */
#include "config_story.h"

static void export(struct story *s, const char *name, const char *value)
{
    size_t i = 0;
    while (s->environment[i][0] != NULL)
        i++;
    s->environment[i][0] = name;
    s->environment[i][1] = value;
}

static const char *look_up(void *arg, const char *name)
{
    const struct story *s = arg;
    for (size_t i = 0; s->environment[i][0] != NULL; i++) {
        if (strcmp(s->environment[i][0], name) == 0)
            return s->environment[i][1];
    }
    return NULL;
}

static void start(struct story *s)
{
    config_parse_environment(s->config, look_up, s, &s->problems);
    config_finish(s->config, &s->problems);
}

static void one_url_is_enough(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app:secret@db1:5433/shop?sslmode=require");
    start(s);
    story_is_clean(s);
    const struct config *c = s->config;
    assert_int_equal(c->nodes_count, 1);
    assert_string_equal(c->nodes[0].name, "primary");
    assert_string_equal(c->nodes[0].host, "db1");
    assert_int_equal(c->nodes[0].port, 5433);
    assert_int_equal(c->nodes[0].role, CONFIG_ROLE_AUTO);
    assert_string_equal(c->nodes[0].options, "sslmode='require'");
    assert_string_equal(c->nodes[0].shard, "main");
    assert_int_equal(c->databases_count, 1);
    assert_string_equal(c->databases[0].name, "shop");
    assert_string_equal(c->databases[0].user, "app");
    assert_string_equal(c->databases[0].password, "secret");
    assert_int_equal(c->users_count, 1);
    assert_string_equal(config_user_find(c, "app")->secret, "secret");
    assert_int_equal(c->switchgear.auth_type, CONFIG_AUTH_SCRAM);
    assert_string_equal(c->probe.user, "app");
    assert_string_equal(c->probe.password, "secret");
    assert_string_equal(c->probe.dbname, "shop");
}

static void replicas_are_named_in_their_order(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgresql://app:secret@db1/shop");
    export(s, "DATABASE_READ_REPLICAS",
           "postgres://app:secret@db2/shop, postgres://db3:6000 ,postgres://ro:p%27w@[::1]:7/");
    start(s);
    story_is_clean(s);
    const struct config *c = s->config;
    assert_int_equal(c->nodes_count, 4);
    assert_string_equal(c->nodes[1].name, "replica1");
    assert_string_equal(c->nodes[1].host, "db2");
    assert_int_equal(c->nodes[1].port, 5432);
    assert_string_equal(c->nodes[1].options, ""); /* the same credentials: nothing of its own */
    assert_string_equal(c->nodes[2].name, "replica2");
    assert_int_equal(c->nodes[2].port, 6000);
    assert_string_equal(c->nodes[3].host, "::1");
    assert_string_equal(c->nodes[3].options, "user='ro' password='p\\'w'");
    assert_int_equal(c->shards_count, 1);
}

static void no_replicas_is_an_empty_list(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app:secret@db1/shop");
    export(s, "DATABASE_READ_REPLICAS", "  ");
    start(s);
    story_is_clean(s);
    assert_int_equal(s->config->nodes_count, 1);
}

static void without_a_password_clients_are_trusted_on_loopback_only(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app@db1/shop");
    config_set(s->config, "switchgear.listen=127.0.0.1:6432,10.0.0.9:6432", &s->problems);
    start(s);
    assert_int_equal(s->config->switchgear.auth_type, CONFIG_AUTH_TRUST);
    assert_int_equal(s->config->users_count, 0);
    story_only_error(s, 0, "auth_type = trust lets anybody in who reaches 10.0.0.9:6432");
    assert_string_equal(s->problems.items[0].file, "--set");
}

static void set_wins_over_the_environment(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app@db1/shop");
    config_set(s->config, "node.primary.host=db9", &s->problems);
    start(s);
    story_is_clean(s);
    assert_string_equal(s->config->nodes[0].host, "db9");
}

static void the_breaker_and_the_probe_have_variables(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app@db1/shop");
    export(s, "DATABASE_REPLICA_FAILOVER_THRESHOLD", "5");
    export(s, "DATABASE_REPLICA_HEALTH_CHECK_INTERVAL", "250");
    start(s);
    story_is_clean(s);
    assert_int_equal(s->config->breaker.failures, 5);
    assert_int_equal(s->config->probe.interval_ns, 250000000);
}

static void every_variable_that_is_wrong_is_named(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "mysql://root:hush@db1/shop");
    export(s, "DATABASE_READ_REPLICAS", "postgres://db2,db3");
    export(s, "DATABASE_REPLICA_FAILOVER_THRESHOLD", "none");
    export(s, "DATABASE_REPLICA_HEALTH_CHECK_INTERVAL", "1");
    config_parse_environment(s->config, look_up, s, &s->problems);
    assert_int_equal(s->problems.errors, 4);
    story_error(s, 0, "DATABASE_URL: this is no URL of a server");
    story_error(s, 0, "DATABASE_READ_REPLICAS, URL 2: this is no URL of a server");
    story_error(s, 0, "DATABASE_REPLICA_FAILOVER_THRESHOLD: failures = none is not valid");
    story_error(s, 0, "DATABASE_REPLICA_HEALTH_CHECK_INTERVAL: interval = 1 is too small");
    assert_string_equal(s->problems.items[0].file, "environment");
}

static void without_a_url_the_error_says_what_to_set(void **state)
{
    struct story *s = *state;
    config_parse_environment(s->config, look_up, s, &s->problems);
    story_only_error(s, 0, "DATABASE_URL: it is not set: set it to postgres://");
}

static void urls_are_decoded(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL",
           "postgres://us%65r:p%40ss%2Fw%3Ard@%2Fvar%2Frun:5434/my%20db"
           "?application_name=it%27s%5Cme&connect_timeout=3&ssl=true&port=6000");
    start(s);
    story_is_clean(s);
    const struct config *c = s->config;
    assert_string_equal(c->nodes[0].host, "/var/run");
    assert_int_equal(c->nodes[0].port, 6000); /* a parameter wins, as in libpq */
    assert_string_equal(c->nodes[0].options,
                        "application_name='it\\'s\\\\me' connect_timeout='3' sslmode='require'");
    assert_string_equal(c->databases[0].name, "my db");
    assert_string_equal(c->databases[0].user, "user");
    assert_string_equal(c->databases[0].password, "p@ss/w:rd");
}

static void what_is_left_out_has_a_default(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgresql://app@");
    start(s);
    story_is_clean(s);
    assert_string_equal(s->config->nodes[0].host, "127.0.0.1");
    assert_int_equal(s->config->nodes[0].port, 5432);
    assert_string_equal(s->config->databases[0].name, "app"); /* libpq's rule: the user's name */
}

static void no_user_means_postgres_for_the_probes(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres:///shop?host=/tmp");
    start(s);
    story_is_clean(s);
    assert_string_equal(s->config->nodes[0].host, "/tmp");
    assert_string_equal(s->config->databases[0].user, "");
    assert_string_equal(s->config->probe.user, "postgres");
}

static void bad_urls_are_errors_that_show_no_password(void **state)
{
    struct story *s = *state;
    static const char *const rows[] = {
        "postgres://",
        "postgres://:hush@db1/shop",
        "postgres://app:hush@db1:port/shop",
        "postgres://app:hush@db1:70000/shop",
        "postgres://app:hu@sh@db1/shop",
        "postgres://app:hush%@db1/shop",
        "postgres://app:hush%4@db1/shop",
        "postgres://app:hush%zz@db1/shop",
        "postgres://app:hush%00@db1/shop",
        "postgres://app:hush@db1,db2/shop",
        "postgres://app:hush@[::1/shop",
        "postgres://app:hush@[::1]5432/shop",
        "postgres://app:hush@db1/shop?sslmode",
        "postgres://app:hush@db1/shop?SSL MODE=x",
        "postgres://app:hush@db1/shop?sslmode=%",
        "postgres://app:hush@db1/pgbouncer",
        "http://app:hush@db1/shop",
    };
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct story *each = NULL;
        void *box = NULL;
        story_begin(&box);
        each = box;
        export(each, "DATABASE_URL", rows[i]);
        config_parse_environment(each->config, look_up, each, &each->problems);
        if (each->problems.errors != 1)
            fail_msg("%s: %u errors", rows[i], each->problems.errors);
        assert_null(strstr(each->problems.items[0].message, "hush"));
        story_end(&box);
    }
    (void)s;
}

static void a_replica_of_another_database_is_a_warning(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app@db1/shop");
    export(s, "DATABASE_READ_REPLICAS", "postgres://app@db2/shpo");
    start(s);
    story_warning(s, 0, "it names database shpo");
    assert_int_equal(s->problems.errors, 0);
}

static void the_same_server_twice_is_an_error(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app@db1/shop");
    export(s, "DATABASE_READ_REPLICAS", "postgres://app@db1:5432/shop");
    start(s);
    story_only_error(s, 0, "nodes primary and replica1 are the same server, db1 port 5432");
}

static void too_many_replicas_are_one_error(void **state)
{
    struct story *s = *state;
    char list[2000];
    int used = 0;
    for (int i = 0; i < 30; i++)
        used += snprintf(list + used, sizeof list - (size_t)used, "%spostgres://db:%d",
                         i == 0 ? "" : ",", 6000 + i);
    export(s, "DATABASE_URL", "postgres://app@db1/shop");
    export(s, "DATABASE_READ_REPLICAS", list);
    start(s);
    story_only_error(s, 0, "more than 16 nodes");
}

static void parameters_of_frameworks_are_dropped_and_said(void **state)
{
    static const char *const foreign[] = {"schema=public",
                                          "pool_timeout=10",
                                          "connection_limit=5",
                                          "pgbouncer=true",
                                          "sslaccept=accept_invalid_certs",
                                          "currentSchema=x",
                                          "prepareThreshold=0",
                                          "reWriteBatchedInserts=true",
                                          "pool=5",
                                          "prepared_statements=false"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        char url[128];
        (void)story_end(state);
        (void)story_begin(state);
        struct story *s = *state;
        snprintf(url, sizeof url, "postgres://app:x@db1/shop?%s&sslmode=require", foreign[i]);
        export(s, "DATABASE_URL", url);
        start(s);
        story_warning(s, 0, "not used, as libpq does not know it: ");
        assert_int_equal(s->problems.count, 1);
        assert_string_equal(s->config->nodes[0].options, "sslmode='require'");
    }
}

static void a_strict_certificate_is_not_dropped_unsaid(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app:x@db1/shop?sslaccept=strict");
    start(s);
    story_warning(s, 0, "write sslmode=verify-full&sslrootcert=FILE");
}

static void urls_of_drivers_are_urls(void **state)
{
    static const char *const urls[] = {"jdbc:postgresql://db1/shop?user=app&password=x",
                                       "postgresql+psycopg://app:x@db1/shop",
                                       "postgresql+asyncpg://app:x@db1/shop",
                                       "postgis://app:x@db1/shop", "postgres://app:x@db1/shop"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        (void)story_end(state);
        (void)story_begin(state);
        struct story *s = *state;
        export(s, "DATABASE_URL", urls[i]);
        start(s);
        story_is_clean(s);
        assert_string_equal(s->config->nodes[0].host, "db1");
        assert_string_equal(s->config->databases[0].user, "app");
    }
}

static void variables_of_a_deployment_are_understood_or_said(void **state)
{
    struct story *s = *state;
    export(s, "DATABASE_URL", "postgres://app:x@db1/shop");
    export(s, "PGBOUNCER_POOL_SIZE", "33");
    export(s, "PGBOUNCER_RESERVE_POOL_SIZE", "4");
    export(s, "SLOW_QUERY_THRESHOLD_MS", "100");
    export(s, "APM_SAMPLE_RATE", "0.1");
    export(s, "DETAILED_HEALTH_CHECK_ENABLED", "true");
    start(s);
    assert_int_equal(s->config->databases[0].pool_size, 33);
    assert_int_equal(s->config->databases[0].reserve_pool_size, 4);
    story_warning(s, 0, "SLOW_QUERY_THRESHOLD_MS has no effect");
    story_warning(s, 0, "APM_SAMPLE_RATE has no effect");
    story_warning(s, 0, "DETAILED_HEALTH_CHECK_ENABLED has no effect");
    assert_int_equal(s->problems.count, 3);
    assert_int_equal(s->problems.errors, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(parameters_of_frameworks_are_dropped_and_said),
        STORY(a_strict_certificate_is_not_dropped_unsaid),
        STORY(urls_of_drivers_are_urls),
        STORY(variables_of_a_deployment_are_understood_or_said),
        STORY(one_url_is_enough),
        STORY(replicas_are_named_in_their_order),
        STORY(no_replicas_is_an_empty_list),
        STORY(without_a_password_clients_are_trusted_on_loopback_only),
        STORY(set_wins_over_the_environment),
        STORY(the_breaker_and_the_probe_have_variables),
        STORY(every_variable_that_is_wrong_is_named),
        STORY(without_a_url_the_error_says_what_to_set),
        STORY(urls_are_decoded),
        STORY(what_is_left_out_has_a_default),
        STORY(no_user_means_postgres_for_the_probes),
        STORY(bad_urls_are_errors_that_show_no_password),
        STORY(a_replica_of_another_database_is_a_warning),
        STORY(the_same_server_twice_is_an_error),
        STORY(too_many_replicas_are_one_error),
    };
    return cmocka_run_group_tests_name("config environment", tests, NULL, NULL);
}

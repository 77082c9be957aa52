/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_ini: what a file may say, and what is said of one that is wrong.
 */
#include "config_story.h"

static void the_page_of_the_manual_is_read(void **state)
{
    struct story *s = *state;
    story_read_and_finish(
        s, "[switchgear]\n"
           "listen        = 127.0.0.1:6432        ; several, comma separated\n"
           "workers       = auto                  ; auto: one a core\n"
           "auth_type     = scram-sha-256\n"
           "auth_file     = users.txt             ; PgBouncer's format: \"user\" \"password\"\n"
           "\n"
           "[node pg1]                            ; one PostgreSQL server\n"
           "shard  = main\n"
           "port   = 5433\n"
           "role   = replica\n"
           "weight = 7\n"
           "options = sslmode=prefer              ; further libpq keywords\n"
           "[database app]\n"
           "user        =                         ; default: the client's own\n"
           "pin_limit   = 75%\n"
           "max_lag     = 8s\n"
           "consistency = global\n"
           "[probe]\n"
           "user     =                            ; default: DATABASE_URL's, else\n"
           "                                      ; postgres\n"
           "interval = 250ms\n"
           "[breaker]\n"
           "failures = 5\n");
    story_is_clean(s);
    const struct config *c = s->config;
    assert_int_equal(c->switchgear.workers, 0);
    assert_int_equal(c->switchgear.auth_type, CONFIG_AUTH_SCRAM);
    assert_string_equal(c->switchgear.auth_file, "users.txt");
    assert_int_equal(c->nodes_count, 1);
    assert_string_equal(c->nodes[0].name, "pg1");
    assert_string_equal(c->nodes[0].host, "127.0.0.1");
    assert_string_equal(c->nodes[0].options, "sslmode=prefer");
    assert_int_equal(c->nodes[0].port, 5433);
    assert_int_equal(c->nodes[0].role, CONFIG_ROLE_REPLICA);
    assert_int_equal(c->nodes[0].weight, 7);
    assert_true(c->nodes[0].weight_given);
    assert_string_equal(c->databases[0].user, "");
    assert_int_equal(c->databases[0].pin_limit_permille, 750);
    assert_int_equal(c->databases[0].max_lag_ns, 8000000000);
    assert_int_equal(c->databases[0].consistency, CONFIG_GLOBAL);
    assert_string_equal(c->probe.user, "postgres");
    assert_int_equal(c->probe.interval_ns, 250000000);
    assert_int_equal(c->breaker.failures, 5);
}

static void all_errors_are_listed_at_once_in_the_order_of_the_file(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, "[switchgear]\n"
                             "lisen = 127.0.0.1:6432\n" /* 2 */
                             "workers = many\n"         /* 3 */
                             "auth_type = trust\n"
                             "listen = 127.0.0.1\n" /* 5: found by config_finish() */
                             "log_level = loud\n"   /* 6 */
                             "[node pg1]\n"
                             "port = 99999\n"  /* 8 */
                             "  host = here\n" /* 9 */
                             "[database app]\n"
                             "shards = other\n"); /* 11 */
    const uint32_t lines[] = {2, 3, 5, 6, 8, 9, 11};
    if (s->problems.count != 7)
        story_print(s);
    assert_int_equal(s->problems.count, 7);
    assert_int_equal(s->problems.errors, 7);
    for (uint32_t i = 0; i < 7; i++) {
        assert_string_equal(s->problems.items[i].file, "sg.ini");
        assert_int_equal(s->problems.items[i].line, lines[i]);
    }
}

static void an_unknown_key_names_the_nearest_one(void **state)
{
    struct story *s = *state;
    story_read(s, "[switchgear]\nlisten_addr = *\nmax_client_con = 3\nqwertyuiop = 1\n"
                  "pool_mode = session\nhost = a\n[breaker]\nopen_fro = 1s\n");
    story_error(s, 2, "unknown key listen_addr in [switchgear]: write listen = ADDRESS:PORT");
    story_error(s, 3, "did you mean max_client_conn?");
    story_error(s, 4, "unknown key qwertyuiop in [switchgear]: remove it");
    story_error(s, 5, "it belongs in [database NAME]");
    story_error(s, 6, "host in a section [node NAME]");
    story_error(s, 8, "did you mean open_for?");
    assert_int_equal(s->problems.errors, 6);
}

static void an_unknown_section_is_named_once_and_its_keys_are_passed_over(void **state)
{
    struct story *s = *state;
    story_read(s, "[pgbouncer]\nlisten_port = 1\n[databases]\na = host=b\n[users]\n[prob]\n"
                  "interval = 1s\n[nodes]\n[zzzzzzzz]\n");
    story_error(s, 1, "PgBouncer's settings go in [switchgear]");
    story_error(s, 3, "one section [database NAME] for each");
    story_error(s, 5, "auth_file");
    story_error(s, 6, "did you mean [probe]?");
    story_error(s, 8, "one section [node NAME]");
    story_error(s, 9, "the sections are [switchgear]");
    assert_int_equal(s->problems.errors, 6);
}

static void a_broken_section_header_is_an_error(void **state)
{
    struct story *s = *state;
    story_read(s, "[switchgear\n[node pg1] host = a\n[node]\n[switchgear main]\n[]\n[node a b]\n");
    story_error(s, 1, "does not end: add ]");
    story_error(s, 2, "text after the section header");
    story_error(s, 3, "needs a name: write [node NAME]");
    story_error(s, 4, "[switchgear] has no name");
    story_error(s, 5, "unknown section []");
    story_error(s, 6, "use letters, digits");
    assert_int_equal(s->problems.errors, 6);
}

static void a_section_or_key_given_twice_is_an_error(void **state)
{
    struct story *s = *state;
    story_read(s, "[node a]\nport = 1\nport = 2\n[node b]\n[node a]\nhost = x\n[probe]\n[probe]\n");
    story_error(s, 3, "port is here twice, first in line 2");
    story_error(s, 5, "the section is here twice, first in line 1");
    story_error(s, 8, "the section is here twice, first in line 7");
    assert_int_equal(s->problems.errors, 3);
    assert_int_equal(s->config->nodes_count, 2);
    assert_int_equal(s->config->nodes[0].port, 1);
}

static void a_section_without_keys_counts(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "[node pg1]\n[database *]\n");
    story_is_clean(s);
    assert_int_equal(s->config->nodes_count, 1);
    assert_int_equal(s->config->databases_count, 1);
}

static void lines_that_are_no_key_are_errors(void **state)
{
    struct story *s = *state;
    story_read(s,
               "workers = 2\n[switchgear]\njust words\n= 3\nworkers = 4\n   5\n\tlog_level = info"
               "\n    ; a comment may be indented\n  # this one too\n");
    story_error(s, 1, "workers  stands before the first section");
    story_error(s, 3, "just has no value: write key = value");
    story_error(s, 4, "there is no key before the =");
    story_error(s, 6, "the line is indented");
    story_error(s, 7, "the line is indented");
    assert_int_equal(s->problems.errors, 5);
    assert_int_equal(s->config->switchgear.workers, 4);
}

static void a_long_value_is_whole_and_a_longer_line_an_error(void **state)
{
    struct story *s = *state;
    char text[10000];
    char path[400];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    snprintf(text, sizeof text, "[node a]\noptions =  sslrootcert=/%s  ; long\nport = 7\n", path);
    story_read(s, text);
    story_is_clean(s);
    assert_int_equal(strlen(s->config->nodes[0].options), 399 + strlen("sslrootcert=/"));
    assert_int_equal(s->config->nodes[0].options[412 - 1], 'p');
    assert_int_equal(s->config->nodes[0].port, 7);

    memset(text, 'x', sizeof text);
    memcpy(text, "[switchgear]\nauth_query = ", 26);
    memcpy(text + 9000, "\n; ", 3);
    text[sizeof text - 1] = '\0';
    config_parse_ini(s->config, "b.ini", text, strlen(text), &s->problems);
    story_only_error(s, 2, "longer than 4096 bytes");
}

/* Every length around the 200 bytes where inih cuts. */
static void no_length_of_a_line_loses_a_byte(void **state)
{
    (void)state;
    for (int size = 150; size < 260; size++) {
        struct config *c = config_create();
        struct config_problems p;
        char text[400];
        config_problems_init(&p);
        const int used = snprintf(text, sizeof text, "[switchgear]\nauth_query = %0*d\n", size, 7);
        config_parse_ini(c, "a.ini", text, (size_t)used, &p);
        assert_int_equal(p.count, 0);
        assert_int_equal(strlen(c->switchgear.auth_query), size);
        assert_int_equal(c->switchgear.auth_query[size - 1], '7');
        config_problems_deinit(&p);
        config_destroy(c);
    }
}

static void a_key_that_inih_cannot_hold_is_unknown(void **state)
{
    struct story *s = *state;
    char key[500];
    char text[600];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    snprintf(text, sizeof text, "[probe]\n%s = 1\n", key);
    story_read(s, text);
    story_only_error(s, 2, "unknown key kkkk");
}

static void bytes_of_other_systems_are_borne(void **state)
{
    struct story *s = *state;
    story_read(s, "\xEF\xBB\xBF[switchgear]\r\nworkers = 3\r\n# a comment\r\n;another\r\n\r\n"
                  "log_level: debug"); /* no newline at the end */
    story_is_clean(s);
    assert_int_equal(s->config->switchgear.workers, 3);
    assert_int_equal(s->config->switchgear.log_level, CONFIG_LOG_DEBUG);
}

static void a_zero_byte_is_an_error_and_control_bytes_are_not_echoed(void **state)
{
    struct story *s = *state;
    static const char text[] = "[switchgear]\nwork\0ers = 3\nlog_level = \033[31m\n";
    config_parse_ini(s->config, "sg.ini", text, sizeof text - 1, &s->problems);
    story_error(s, 2, "zero byte");
    story_error(s, 3, "log_level = ?[31m is not valid: write one of error, warning, info, debug");
}

static void a_semicolon_inside_a_word_is_no_comment(void **state)
{
    struct story *s = *state;
    story_read(s, "[database a;b]\npassword = pa;ss ;comment\n");
    story_is_clean(s);
    assert_string_equal(s->config->databases[0].name, "a;b");
    assert_string_equal(s->config->databases[0].password, "pa;ss");
}

static void too_many_sections_are_an_error(void **state)
{
    struct story *s = *state;
    char text[4000];
    int used = 0;
    for (int i = 0; i <= CONFIG_NODES_MAX; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "[node n%d]\n", i);
    for (int i = 0; i <= CONFIG_DATABASES_MAX; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "[database d%d]\n", i);
    story_read(s, text);
    story_error(s, 17, "more than 16 sections [node ...]");
    story_error(s, 82, "more than 64 sections [database ...]");
    assert_int_equal(s->problems.errors, 2);
}

static void more_errors_than_are_kept_are_counted(void **state)
{
    struct story *s = *state;
    char text[4000];
    memset(text, 'x', sizeof text);
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = '\n';
    config_parse_ini(s->config, "sg.ini", text, sizeof text, &s->problems);
    assert_int_equal(s->problems.count, CONFIG_ERRORS_MAX);
    assert_int_equal(s->problems.errors, 2000);
}

static void the_console_keeps_its_names(void **state)
{
    struct story *s = *state;
    story_read(s, "[database pgbouncer]\n[database switchgear]\n");
    story_error(s, 1, "belongs to the admin console");
    story_error(s, 2, "belongs to the admin console");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(the_page_of_the_manual_is_read),
        STORY(all_errors_are_listed_at_once_in_the_order_of_the_file),
        STORY(an_unknown_key_names_the_nearest_one),
        STORY(an_unknown_section_is_named_once_and_its_keys_are_passed_over),
        STORY(a_broken_section_header_is_an_error),
        STORY(a_section_or_key_given_twice_is_an_error),
        STORY(a_section_without_keys_counts),
        STORY(lines_that_are_no_key_are_errors),
        STORY(a_long_value_is_whole_and_a_longer_line_an_error),
        cmocka_unit_test(no_length_of_a_line_loses_a_byte),
        STORY(a_key_that_inih_cannot_hold_is_unknown),
        STORY(bytes_of_other_systems_are_borne),
        STORY(a_zero_byte_is_an_error_and_control_bytes_are_not_echoed),
        STORY(a_semicolon_inside_a_word_is_no_comment),
        STORY(too_many_sections_are_an_error),
        STORY(more_errors_than_are_kept_are_counted),
        STORY(the_console_keeps_its_names),
    };
    return cmocka_run_group_tests_name("config ini", tests, NULL, NULL);
}

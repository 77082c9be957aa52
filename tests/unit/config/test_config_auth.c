/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_auth: what auth_type, the hba file and auth_query want of the rest of a
 * configuration.
 */
#include "config_hba.h"
#include "config_story.h"

static void read_hba(struct story *s, const char *text)
{
    config_parse_hba(s->config, "hba.conf", text, strlen(text), NULL, &s->problems); /* no files */
}

static void what_the_configuration_lacks_is_said(void **state)
{
    struct story *s = *state;
    read_hba(s, "hostssl all all all md5\nhostssl all all all cert\n");
    story_read_and_finish(s, "[switchgear]\nauth_type = hba\n" STORY_NODE STORY_DATABASE);
    story_error(s, 2, "name the file in auth_hba_file");
    story_warning(s, 1, "this line never matches");
}

static void hostssl_needs_tls_and_cert_an_authority(void **state)
{
    struct story *s = *state;
    read_hba(s, "hostssl all all all cert\n");
    story_read_and_finish(s, "[switchgear]\nauth_type = hba\nauth_hba_file = hba.conf\n"
                             "client_tls_sslmode = require\n" STORY_NODE STORY_DATABASE);
    story_error(s, 1, "verified by client_tls_ca_file");
}

static void cert_needs_tls_and_an_authority(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, "[switchgear]\nauth_type = cert\n" STORY_NODE STORY_DATABASE);
    story_error(s, 2, "no client has TLS");
}

static void auth_query_is_looked_at(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, "[switchgear]\nauth_type = trust\n"
                             "auth_query = SELECT * FROM user_search($1)\n"
                             "auth_dbname = nowhere\n" STORY_NODE "[database app]\n"
                             "auth_query = SELECT usename, passwd FROM pg_shadow\n");
    story_warning(s, 3, "write SCHEMA.user_search");
    story_error(s, 4, "there is no database nowhere");
    story_error(s, 8, "does not ask for $1");
    assert_int_equal(s->problems.errors, 2);
}

static void a_schema_or_a_catalog_in_auth_query_is_right(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, "[switchgear]\nauth_type = scram-sha-256\nauth_user = asker\n"
                             "server_passwordless = yes\n"
                             "auth_query = SELECT a, b FROM pooler.user_search($1)\n" STORY_NODE
                             "[database app]\n[database b]\nauth_user = other\n");
    story_is_clean(s); /* and without auth_file: users come from auth_query */
    assert_string_equal(s->config->databases[0].auth_user, "asker");
    assert_string_equal(s->config->databases[1].auth_user, "other");
    assert_string_equal(s->config->databases[1].auth_query,
                        "SELECT a, b FROM pooler.user_search($1)");
}

/* ---- who is known by a hash alone ---- */

#define HASHED "\"app\" \"SCRAM-SHA-256$4096:c2FsdA==$a:b\"\n"

static void read_users(struct story *s, const char *text)
{
    config_parse_users(s->config, "users.txt", text, strlen(text), &s->problems);
}

static void a_hash_that_opens_no_server_is_refused_with_a_way_out(void **state)
{
    struct story *s = *state;
    read_users(s, "\"zoe\" \"clear\"\n" HASHED);
    story_read_and_finish(s, "[switchgear]\nauth_file = users.txt\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 2, "of user app, line 2, there is only a hash");
    story_error(s, 2, "server_passwordless = yes");
}

static void a_lookup_that_finds_hashes_is_refused_with_a_way_out(void **state)
{
    struct story *s = *state;
    read_users(s, "\"asker\" \"clear\"\n");
    story_read_and_finish(s, "[switchgear]\nauth_file = users.txt\nauth_user = asker\n" STORY_NODE
                             "[database a]\nuser = app\n[database b]\n");
    story_only_error(s, 3, "database b: of users in PostgreSQL there is only a hash");
}

static void hashes_are_right_where_the_server_asks_for_something_else(void **state)
{
    static const char *const right[] = {
        "[switchgear]\nauth_file = u\nserver_passwordless = yes\n" STORY_NODE STORY_DATABASE,
        "[switchgear]\nauth_file = u\nserver_scram_keys = yes\n" STORY_NODE STORY_DATABASE,
        "[switchgear]\nauth_file = u\nadmin_users = app\n" STORY_NODE STORY_DATABASE,
        "[switchgear]\nauth_file = u\n" STORY_NODE "[database app]\nuser = x\npassword = y\n",
        "[switchgear]\nauth_file = u\n" STORY_NODE "options = passfile=/etc/pass\n" STORY_DATABASE,
        "[switchgear]\nauth_type = trust\nauth_file = u\n" STORY_NODE STORY_DATABASE};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        (void)story_end(state);
        (void)story_begin(state);
        struct story *s = *state;
        read_users(s, HASHED);
        story_read_and_finish(s, right[i]);
        story_is_clean(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_hash_that_opens_no_server_is_refused_with_a_way_out),
        STORY(a_lookup_that_finds_hashes_is_refused_with_a_way_out),
        STORY(hashes_are_right_where_the_server_asks_for_something_else),
        STORY(what_the_configuration_lacks_is_said),
        STORY(hostssl_needs_tls_and_cert_an_authority),
        STORY(cert_needs_tls_and_an_authority),
        STORY(auth_query_is_looked_at),
        STORY(a_schema_or_a_catalog_in_auth_query_is_right),
    };
    return cmocka_run_group_tests_name("config_auth", tests, NULL, NULL);
}

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
                             "auth_query = SELECT a, b FROM pooler.user_search($1)\n" STORY_NODE
                             "[database app]\n[database b]\nauth_user = other\n");
    story_is_clean(s); /* and without auth_file: users come from auth_query */
    assert_string_equal(s->config->databases[0].auth_user, "asker");
    assert_string_equal(s->config->databases[1].auth_user, "other");
    assert_string_equal(s->config->databases[1].auth_query,
                        "SELECT a, b FROM pooler.user_search($1)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_the_configuration_lacks_is_said),
        STORY(hostssl_needs_tls_and_cert_an_authority),
        STORY(cert_needs_tls_and_an_authority),
        STORY(auth_query_is_looked_at),
        STORY(a_schema_or_a_catalog_in_auth_query_is_right),
    };
    return cmocka_run_group_tests_name("config_auth", tests, NULL, NULL);
}

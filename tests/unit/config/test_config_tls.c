/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_tls: client_tls_* and server_tls_*, but for the files that they name.
 */
#include "config_story.h"

static void versions_are_words_or_lists_of_them(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool good, v12, v13;
    } rows[] = {{"secure", true, true, true},
                {"all", true, true, true},
                {"tlsv1.2", true, true, false},
                {"tlsv1.3", true, false, true},
                {"tlsv1.2,tlsv1.3", true, true, true},
                {"tlsv1.3:tlsv1.2", true, true, true},
                {"tlsv1.3, tlsv1.3", true, false, true},
                {"tlsv1.1", false, false, false},
                {"tlsv1.1,tlsv1.2", false, false, false},
                {"tlsv1.20", false, false, false},
                {"ssl3", false, false, false},
                {"", false, false, false},
                {",", false, false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config_tls_versions found = {false, false};
        if (config_tls_versions_parse(rows[i].text, &found) != rows[i].good ||
            found.v12 != rows[i].v12 || found.v13 != rows[i].v13)
            fail_msg("%s", rows[i].text);
    }
}

static void a_mode_says_what_it_needs(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s,
                          STORY_LOGIN "client_tls_sslmode = verify-ca\n" STORY_NODE STORY_DATABASE);
    story_error(s, 3, "client_tls_sslmode = verify-ca needs client_tls_cert_file");
    story_error(s, 3, "client_tls_sslmode = verify-ca needs client_tls_key_file");
    story_error(s, 3, "client_tls_sslmode = verify-ca needs client_tls_ca_file");
    assert_int_equal(s->problems.errors, 3);
}

static void what_is_revoked_was_of_an_authority(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s,
                          STORY_LOGIN "client_tls_crl_file = ca.crl\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 3, "client_tls_crl_file says which certificates of client_tls_ca_file");
}

static void authorities_are_needed_by_verify_only(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "client_tls_sslmode = require\nclient_tls_cert_file = c\n"
                                         "client_tls_key_file = k\n" STORY_NODE STORY_DATABASE);
    assert_int_equal(s->problems.count, 0);
    assert_int_equal(s->config->switchgear.client_tls_sslmode, CONFIG_SSL_REQUIRE);
}

static void old_versions_and_ciphers_for_servers_are_errors(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s,
                          STORY_LOGIN "client_tls_protocols = tlsv1.0\nserver_tls_protocols = x\n"
                                      "server_tls_ciphers = HIGH\n" STORY_NODE STORY_DATABASE);
    story_error(s, 3, "client_tls_protocols: tlsv1.0: write secure");
    story_error(s, 4, "server_tls_protocols: x: write secure");
    story_error(s, 5, "server_tls_ciphers: libpq has no setting for it");
    assert_int_equal(s->problems.errors, 3);
}

static void a_certificate_for_servers_goes_with_its_key(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "server_tls_key_file = k\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 3, "go together: name both");
}

static void verified_servers_need_an_authority(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN
                          "server_tls_sslmode = verify-full\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 3, "server_tls_sslmode = verify-full needs server_tls_ca_file");
}

static void an_authority_of_each_node_will_do(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "server_tls_sslmode = verify-full\n" STORY_NODE
                                         "options = sslrootcert=/ca\n" STORY_DATABASE);
    assert_int_equal(s->problems.count, 0);
}

static void a_relative_file_is_beside_the_configuration(void **state)
{
    struct story *s = *state;
    const char *text =
        STORY_LOGIN "client_tls_cert_file = near.crt\nclient_tls_key_file = /far.key\n"
                    "server_tls_ca_file = sub/ca.crt\n" STORY_NODE STORY_DATABASE;
    config_parse_ini(s->config, "/etc/switchgear/sg.ini", text, strlen(text), &s->problems);
    config_finish(s->config, &s->problems);
    assert_string_equal(s->config->switchgear.client_tls_cert_file, "/etc/switchgear/near.crt");
    assert_string_equal(s->config->switchgear.client_tls_key_file, "/far.key");
    assert_string_equal(s->config->switchgear.server_tls_ca_file, "/etc/switchgear/sub/ca.crt");
    assert_string_equal(s->config->switchgear.client_tls_ca_file, "");
}

static void all_of_it_can_be_reloaded(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        if (strstr(o->name, "_tls") != NULL && (!o->reloadable || !o->in_effect))
            fail_msg("%s", o->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_words_or_lists_of_them),
        STORY(a_mode_says_what_it_needs),
        STORY(what_is_revoked_was_of_an_authority),
        STORY(authorities_are_needed_by_verify_only),
        STORY(old_versions_and_ciphers_for_servers_are_errors),
        STORY(a_certificate_for_servers_goes_with_its_key),
        STORY(verified_servers_need_an_authority),
        STORY(an_authority_of_each_node_will_do),
        STORY(a_relative_file_is_beside_the_configuration),
        cmocka_unit_test(all_of_it_can_be_reloaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

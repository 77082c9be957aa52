/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_finish: contradictions, what is inherited, what a reload cannot change.
 */
#include "config_story.h"

#include <arpa/inet.h>

#define STORY_BASE STORY_LOGIN STORY_NODE STORY_DATABASE /* three, two and one lines */

static void an_empty_file_lacks_everything(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, "");
    story_error(s, 0, "there is no node: add a section [node NAME]");
    story_error(s, 0, "there is no database");
    story_error(s, 0, "there are no users: name a file of users in auth_file");
    assert_int_equal(s->problems.errors, 3);
    assert_string_equal(s->problems.items[0].file, "sg.ini");
}

static void shards_follow_from_the_nodes(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "[node a]\nshard = s2\nport=1\n[node b]\nshard = s1\n"
                                         "port=2\n[node c]\nshard = s2\nport=3\n"
                                         "[database x]\nshards = s1\n");
    story_is_clean(s);
    assert_int_equal(s->config->shards_count, 2);
    assert_string_equal(s->config->shards[0], "s2");
    assert_int_equal(s->config->nodes[1].shard_index, 1);
    assert_int_equal(s->config->nodes[2].shard_index, 0);
    assert_int_equal(s->config->databases[0].shard_first, 1);
}

static void a_database_uses_main_or_the_only_shard(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "[node a]\nshard = only\n[database x]\n");
    story_is_clean(s);
    assert_string_equal(s->config->databases[0].shards, "only");
}

static void a_shard_without_nodes_is_an_error_and_several_are_warned_of(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_BASE "shards = main, mian\n");
    story_error(s, 6, "no node is in shard mian");
    story_warning(s, 6, "only the first of its shards is used so far");
    assert_int_equal(s->problems.errors, 1);
}

static void two_shards_and_no_main_need_a_choice(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "[node a]\nshard = s1\nport = 1\n[node b]\nshard = s2\n"
                                         "port = 2\n[database x]\n");
    story_only_error(s, 9, "no node is in shard main");
}

static void pool_sizes_are_inherited_unless_given(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s,
                          STORY_LOGIN "default_pool_size = 33\nreserve_pool_size = 4\n" STORY_NODE
                                      "[database a]\n[database b]\npool_size = 5\n"
                                      "reserve_pool_size = 0\n[database c]\npool_size = auto\n");
    assert_int_equal(s->problems.errors, 0);
    assert_int_equal(s->config->databases[0].pool_size, 33);
    assert_int_equal(s->config->databases[0].reserve_pool_size, 4);
    assert_int_equal(s->config->databases[1].pool_size, 5);
    assert_int_equal(s->config->databases[1].reserve_pool_size, 0);
    assert_int_equal(s->config->databases[2].pool_size, 33);
    assert_string_equal(config_database_find(s->config, "b")->name, "b");
    assert_null(config_database_find(s->config, "z"));
}

static void freshness_is_a_quarter_of_the_smallest_max_lag(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_BASE "max_lag = 1s\n[database b]\nmax_lag = 9s\n");
    assert_int_equal(s->config->probe.freshness_interval_ns, 250000000);
    story_is_clean(s);
}

static void the_probes_never_use_the_operating_systems_user(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_BASE "user = app\npassword = pw\n");
    assert_string_equal(s->config->probe.user, "app");
    assert_string_equal(s->config->probe.password, "pw");
    assert_string_equal(s->config->probe.dbname, "postgres");
}

static void a_probe_user_that_is_given_stays(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_BASE "user = app\npassword = pw\n[probe]\nuser = watch\n");
    assert_string_equal(s->config->probe.user, "watch");
    assert_string_equal(s->config->probe.password, "");
}

static void auth_user_probes_when_no_database_has_one(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "auth_user = auth\n" STORY_NODE STORY_DATABASE);
    assert_string_equal(s->config->probe.user, "auth");
}

static void read_users(struct story *s, const char *text)
{
    config_parse_users(s->config, "users.txt", text, strlen(text), &s->problems);
}

/* The file of the README: servers with passwords, and nothing said of the probes. */
static void the_probes_go_as_somebody_whose_password_is_known(void **state)
{
    struct story *s = *state;
    read_users(s, "\"dba\" \"console\"\n\"hashed\" \"md50123456789abcdef0123456789abcdef\"\n"
                  "\"zoe\" \"first\"\n\"app\" \"second\"\n");
    story_read_and_finish(s, "[switchgear]\nauth_file = u\nadmin_users = dba\n"
                             "server_passwordless = yes\n" STORY_NODE STORY_DATABASE);
    assert_string_equal(s->config->probe.user, "zoe");
    assert_string_equal(s->config->probe.password, "first");
    assert_string_equal(s->config->probe.dbname, "app");
}

static void postgres_probes_where_its_password_is_known(void **state)
{
    struct story *s = *state;
    read_users(s, "\"app\" \"first\"\n\"postgres\" \"second\"\n");
    story_read_and_finish(s, "[switchgear]\nauth_file = u\n" STORY_NODE STORY_DATABASE);
    assert_string_equal(s->config->probe.user, "postgres");
    assert_string_equal(s->config->probe.password, "second");
    assert_string_equal(s->config->probe.dbname, "postgres");
}

static void passwords_of_named_users_come_from_auth_file(void **state)
{
    struct story *s = *state;
    read_users(s, "\"app\" \"first\"\n\"watch\" \"second\"\n");
    story_read_and_finish(s, "[switchgear]\nauth_file = u\n" STORY_NODE
                             "[database a]\nuser = app\n[database b]\nuser = app\npassword = own\n"
                             "[database c]\nuser = other\n[probe]\nuser = watch\ndbname = x\n");
    assert_string_equal(s->config->databases[0].password, "first");
    assert_string_equal(s->config->databases[1].password, "own");
    assert_string_equal(s->config->databases[2].password, "");
    assert_string_equal(s->config->probe.password, "second");
    assert_string_equal(s->config->probe.dbname, "x");
}

static void trust_is_for_loopback_unless_it_is_wanted(void **state)
{
    struct story *s = *state;
    story_read(s, "[switchgear]\nauth_type = trust\nlisten = unix:/run/x, *:6432\n");
    config_finish(s->config, &s->problems);
    story_error(s, 3, "auth_type = trust lets anybody in who reaches *:6432");
}

static void trust_anywhere_allows_it(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN
                          "listen = *:6432\ntrust_anywhere = yes\n" STORY_NODE STORY_DATABASE);
    story_is_clean(s);
}

static void addresses_are_checked(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s,
                          "[switchgear]\nauth_type = trust\nlisten = 127.0.0.1:1,127.0.0.1:1,here"
                          "\nhttp_listen = unix:/x\nadmin_socket = run\nadmin_users = a,,b\n"
                          "[node a]\n[database x]\n");
    story_error(s, 3, "127.0.0.1:1 is here twice");
    story_error(s, 3, "here is no address");
    story_error(s, 4, "unix:/x is no address");
    story_error(s, 5, "full path of a directory");
    story_error(s, 6, "nothing between two commas");
    assert_int_equal(s->problems.errors, 5);
}

static void an_empty_listen_or_too_many_are_errors(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "listen =\nhttp_listen =\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 3, "listen is empty");
    config_set(s->config, "switchgear.listen=a:1,a:2,a:3,a:4,a:5,a:6,a:7,a:8,a:9", &s->problems);
    config_set(s->config, "switchgear.trust_anywhere=yes", &s->problems);
    config_finish(s->config, &s->problems);
    story_error(s, 0, "more than 8 addresses");
}

static void one_address_cannot_be_used_twice(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s,
                          STORY_LOGIN "http_listen = 127.0.0.1:6432\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 0 + 1, "listen and http_listen are both 127.0.0.1:6432");
}

static void peers_are_checked(void **state)
{
    struct story *s = *state;
    struct config_address address;
    story_read_and_finish(s, "[switchgear]\npeers = 1=10.0.0.1:6432, 2=[::1]:6433,255=b.example:1\n"
                             "auth_type = trust\n" STORY_NODE STORY_DATABASE);
    story_is_clean(s);
    assert_true(config_peer_find(s->config->switchgear.peers, 2, &address));
    assert_string_equal(address.host, "::1");
    assert_int_equal(address.port, 6433);
    assert_true(config_peer_find(s->config->switchgear.peers, 255, &address));
    assert_string_equal(address.host, "b.example");
    assert_false(config_peer_find(s->config->switchgear.peers, 3, &address));
    assert_false(config_peer_find("", 0, &address));
}

static void bad_peers_are_errors(void **state)
{
    struct story *s = *state;
    story_read_and_finish(
        s, "[switchgear]\nauth_type = trust\n"
           "peers = 1=a:1, 256=a:2, 2, =a:3, 3=unix:/x, 4=*:5, 1=b:6\n" STORY_NODE STORY_DATABASE);
    story_error(s, 3, "256=a:2 is no peer");
    story_error(s, 3, "peers: 2 is no peer");
    story_error(s, 3, "=a:3 is no peer");
    story_error(s, 3, "3=unix:/x is no peer");
    story_error(s, 3, "4=*:5 is no peer");
    story_error(s, 3, "instance 1 is here twice");
    assert_int_equal(s->problems.errors, 6);
}

static bool trusts(const struct story *s, const char *text)
{
    uint8_t address[16] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET, text, address + 12) != 1)
        assert_int_equal(inet_pton(AF_INET6, text, address), 1);
    return config_network_has(s->config->switchgear.proxy_protocol_from, address);
}

static void load_balancers_are_trusted_by_their_networks(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, "[switchgear]\nauth_type = trust\nproxy_protocol = v2\n"
                             "proxy_protocol_from = 10.1.0.0/16, 192.168.1.77,172.16.0.0/12, "
                             "fd00::/9, ::1\n" STORY_NODE STORY_DATABASE);
    story_is_clean(s);
    assert_true(trusts(s, "10.1.255.255") && !trusts(s, "10.2.0.0"));
    assert_true(trusts(s, "192.168.1.77") && !trusts(s, "192.168.1.76"));
    assert_true(trusts(s, "172.31.9.9") && !trusts(s, "172.32.0.0") && !trusts(s, "172.15.0.0"));
    assert_true(trusts(s, "fd7f::1") && !trusts(s, "fd80::1"));
    assert_true(trusts(s, "::1") && !trusts(s, "::2") && !trusts(s, "::10.1.0.1"));
    assert_false(config_network_has(s->config->switchgear.proxy_protocol_from, NULL));
    assert_true(config_network_has("unix", NULL));
    const uint8_t nowhere[16] = {0};
    assert_false(config_network_has("unix", nowhere));
    assert_true(config_network_has("0.0.0.0/0, ::/0", nowhere));
}

static void bad_networks_and_rights_are_errors(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, "[switchgear]\nauth_type = trust\nunix_socket_mode = 0888\n"
                             "proxy_protocol_from = 10.0.0.0/33, ::/129, 10.0.0/8, x, 1.2.3.4/, "
                             "1.2.3.4/8x\n" STORY_NODE STORY_DATABASE);
    story_error(s, 3, "three or four octal digits");
    story_error(s, 4, "10.0.0.0/33 is no network");
    story_error(s, 4, "::/129 is no network");
    story_error(s, 4, "10.0.0/8 is no network");
    story_error(s, 4, "x is no network");
    story_error(s, 4, "1.2.3.4/ is no network");
    story_error(s, 4, "1.2.3.4/8x is no network");
    assert_int_equal(s->problems.errors, 7);
}

static void a_header_that_anybody_may_send_is_an_error(void **state)
{
    struct story *s = *state;
    story_read_and_finish(
        s, "[switchgear]\nauth_type = trust\nproxy_protocol = v2\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 1, "name the load balancers in proxy_protocol_from");
}

static void nodes_that_contradict_each_other_are_errors(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "[node a]\nhost = h\nrole = primary\n"
                                         "[node b]\nhost = h\nport = 5432\nrole = primary\n"
                                         "[node c]\nhost = x,y\noptions = host=z\nshard = a b\n"
                                         "[node d]\nhost =\noptions = sslmode\n[database x]\n"
                                         "shards = main\n");
    story_error(s, 8, "nodes a and b are the same server, h port 5432");
    story_error(s, 9, "nodes a and b are both role = primary in shard main");
    story_error(s, 11, "a node is one server");
    story_error(s, 12, "host cannot be given here");
    story_error(s, 13, "shard: write one name");
    story_error(s, 15, "host is empty");
    story_error(s, 16, "write keyword=value pairs");
    assert_int_equal(s->problems.errors, 7);
}

static void options_are_read_as_libpq_reads_them(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool good;
    } rows[] = {{"a=b c = 'd e' f='\\'' g=", true},
                {"a='b", false},
                {"=b", false},
                {"a b=c", false},
                {"A=b", false},
                {"dbname=x", false},
                {"hostaddr=1", false},
                {"port=1", false},
                {"a=b\\ c", true},
                {"user=x password=y", true},
                {"a='b'c=d", true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        void *box = NULL;
        char text[200];
        story_begin(&box);
        struct story *s = box;
        snprintf(text, sizeof text, STORY_BASE "[node b]\noptions = %s\n", rows[i].text);
        story_read_and_finish(s, text);
        if ((s->problems.errors == 0) != rows[i].good)
            fail_msg("%s", rows[i].text);
        story_end(&box);
    }
}

static void a_limit_of_lag_above_the_hard_one_is_an_error(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_BASE "max_lag = 31s\n");
    story_only_error(s, 6, "max_lag of database app is above lag_hard");
}

static void a_hard_limit_below_the_usual_max_lag_is_an_error_where_it_stands(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_BASE "[breaker]\nlag_hard = 4s\nopen_max = 500ms\n"
                                        "trial_calls = 1\n");
    story_error(s, 7, "max_lag of database app is above lag_hard");
    story_error(s, 8, "open_max is below open_for");
    story_error(s, 6, "trial_failures is above trial_calls");
    assert_int_equal(s->problems.errors, 3);
}

static void a_password_needs_a_user(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_BASE "password = x\n");
    story_only_error(s, 6, "has a password but no user");
}

static void what_has_no_effect_yet_is_said(void **state)
{
    struct story *s = *state;
    story_read_and_finish(s, STORY_LOGIN "instance_id = 7\nquery_timeout = 0\n"
                                         "[node a]\nzone = x\n[database d]\npool_mode = statement\n"
                                         "pin_limit = 10%\n");
    story_warning(s, 6, "zone is accepted, but has no effect yet");
    assert_int_equal(s->problems.count, 1);
    assert_int_equal(s->problems.errors, 0);
}

/* ---- reload ---- */

static void reload(struct story *s, const char *before, const char *after)
{
    struct config *from = config_create();
    config_parse_ini(from, "sg.ini", before, strlen(before), &s->problems);
    config_finish(from, &s->problems);
    story_read_and_finish(s, after);
    assert_int_equal(s->problems.errors, 0);
    config_diff(from, s->config, &s->problems);
    config_destroy(from);
}

static void a_reload_may_change_what_is_reloadable(void **state)
{
    struct story *s = *state;
    reload(s, STORY_BASE "max_lag = 1s\n",
           STORY_LOGIN "log_level = debug\n" STORY_NODE "weight = 3\n" STORY_DATABASE
                       "pool_size = 3\nuser = x\npassword = y\n[database new]\n[breaker]\n"
                       "failures = 9\n");
    story_is_clean(s);
}

static void a_reload_that_needs_a_restart_names_each_field(void **state)
{
    struct story *s = *state;
    reload(s, STORY_BASE "[node gone]\nport = 2\n",
           STORY_LOGIN "workers = 2\n" STORY_NODE "port = 77\noptions = password=hush\n"
                       "[node new]\nport = 3\n" STORY_DATABASE);
    story_error(s, 3, "workers changed from auto to 2: that needs a restart");
    story_error(s, 6, "node pg1: port changed from 5432 to 77");
    story_error(s, 7, "node pg1: options changed: that needs a restart");
    story_error(s, 8, "node new was added");
    story_error(s, 0, "node gone was removed");
    assert_int_equal(s->problems.errors, 5);
}

static void a_reload_keeps_the_order_of_the_nodes(void **state)
{
    struct story *s = *state;
    reload(s, STORY_BASE "[node b]\nport = 2\n",
           STORY_LOGIN "[node b]\nport = 2\n" STORY_NODE STORY_DATABASE);
    story_only_error(s, 0, "the nodes are in another order");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(an_empty_file_lacks_everything),
        STORY(shards_follow_from_the_nodes),
        STORY(a_database_uses_main_or_the_only_shard),
        STORY(a_shard_without_nodes_is_an_error_and_several_are_warned_of),
        STORY(two_shards_and_no_main_need_a_choice),
        STORY(pool_sizes_are_inherited_unless_given),
        STORY(freshness_is_a_quarter_of_the_smallest_max_lag),
        STORY(the_probes_never_use_the_operating_systems_user),
        STORY(a_probe_user_that_is_given_stays),
        STORY(auth_user_probes_when_no_database_has_one),
        STORY(the_probes_go_as_somebody_whose_password_is_known),
        STORY(postgres_probes_where_its_password_is_known),
        STORY(passwords_of_named_users_come_from_auth_file),
        STORY(trust_is_for_loopback_unless_it_is_wanted),
        STORY(trust_anywhere_allows_it),
        STORY(addresses_are_checked),
        STORY(an_empty_listen_or_too_many_are_errors),
        STORY(one_address_cannot_be_used_twice),
        STORY(peers_are_checked),
        STORY(bad_peers_are_errors),
        STORY(load_balancers_are_trusted_by_their_networks),
        STORY(bad_networks_and_rights_are_errors),
        STORY(a_header_that_anybody_may_send_is_an_error),
        STORY(nodes_that_contradict_each_other_are_errors),
        STORY(options_are_read_as_libpq_reads_them),
        STORY(a_limit_of_lag_above_the_hard_one_is_an_error),
        STORY(a_hard_limit_below_the_usual_max_lag_is_an_error_where_it_stands),
        STORY(a_password_needs_a_user),
        STORY(what_has_no_effect_yet_is_said),
        STORY(a_reload_may_change_what_is_reloadable),
        STORY(a_reload_that_needs_a_restart_names_each_field),
        STORY(a_reload_keeps_the_order_of_the_nodes),
    };
    return cmocka_run_group_tests_name("config finish", tests, NULL, NULL);
}

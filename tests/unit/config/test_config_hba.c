/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_hba: pg_hba.conf: which line a client matches, and what is wrong with a line.
 */
#include "config_hba.h"
#include "config_story.h"

#include <arpa/inet.h>

/* The files that lines name as @file. */
static const struct {
    const char *path, *text;
} named_files[] = {
    {"/etc/sg/users", "zoe, adam # two\n\n\"+staff\"\n@more/others\n"},
    {"/etc/sg/more/others", "eve @/abs\n@none"},
    {"/etc/sg/more/none", "# nobody\n"},
    {"/abs", "all"},
    {"/etc/sg/loop", "a @round"},
    {"/etc/sg/round", "b @loop"},
    {"/etc/sg/unclosed", "zoe\n\"eve\n"},
    {"/etc/sg/roles", "zoe\n+\n"},
    {"/etc/sg/databases", "app,sameuser\n"},
};

static char *read_named(void *arg, const char *path, size_t *ret_size, const char **ret_wrong)
{
    unsigned depth;
    char next[32];
    ++*(uint32_t *)arg;
    *ret_wrong = "it is not there";
    if (sscanf(path, "/etc/sg/deep%u", &depth) == 1) { /* each names the next one */
        *ret_size = (size_t)snprintf(next, sizeof next, "@deep%u", depth + 1);
        return strdup(next);
    }
    for (size_t i = 0; i < sizeof named_files / sizeof named_files[0]; i++) {
        if (strcmp(named_files[i].path, path) != 0)
            continue;
        *ret_size = strlen(named_files[i].text);
        return strdup(named_files[i].text);
    }
    return NULL;
}

static uint32_t files_read;
static const struct config_reader files = {.read = read_named, .arg = &files_read};

static void read_hba(struct story *s, const char *text)
{
    files_read = 0;
    config_parse_hba(s->config, "/etc/sg/hba.conf", text, strlen(text), &files, &s->problems);
}

/* "10.1.2.3", "::1", or "local"; with "+tls" behind it: over TLS. The matching line, 0: none. */
static uint32_t line_of(const struct story *s, const char *from, const char *database,
                        const char *user)
{
    struct config_hba_request r = {.database = database, .user = user};
    char address[64];
    (void)snprintf(address, sizeof address, "%s", from);
    char *plus = strchr(address, '+');
    if (plus != NULL) {
        *plus = '\0';
        r.is_tls = true;
    }
    r.is_local = strcmp(address, "local") == 0;
    if (!r.is_local && inet_pton(AF_INET6, address, r.address) != 1) {
        r.address[10] = r.address[11] = 0xff;
        assert_int_equal(inet_pton(AF_INET, address, r.address + 12), 1);
    }
    const struct config_hba *h = NULL;
    return config_hba_match(s->config, &r, &h) == CONFIG_HBA_MATCHED ? h->line : 0;
}

static void the_first_line_that_matches_counts(void **state)
{
    struct story *s = *state;
    read_hba(s, "# who may come in\n"
                "local all all peer\n"
                "\n"
                "host app zoe 10.0.0.0/8 reject\n"
                "host app all 10.0.0.0/8 scram-sha-256 # the rest\n"
                "host all all all md5\n");
    story_is_clean(s);
    assert_int_equal(s->config->hba_count, 4);
    assert_int_equal(line_of(s, "local", "app", "zoe"), 2);
    assert_int_equal(line_of(s, "10.1.2.3", "app", "zoe"), 4);
    assert_int_equal(line_of(s, "10.1.2.3", "app", "adam"), 5);
    assert_int_equal(line_of(s, "11.1.2.3", "app", "zoe"), 6);
    assert_int_equal(s->config->hba[0].method, CONFIG_HBA_PEER);
    assert_int_equal(s->config->hba[1].method, CONFIG_HBA_REJECT);
    assert_int_equal(s->config->hba[2].method, CONFIG_HBA_SCRAM);
    assert_int_equal(s->config->hba[3].method, CONFIG_HBA_MD5);
}

static void nobody_matches_an_empty_file(void **state)
{
    struct story *s = *state;
    read_hba(s, "# nothing\n\n");
    story_is_clean(s);
    assert_int_equal(line_of(s, "local", "app", "zoe"), 0);
}

static void tls_chooses_between_hostssl_and_hostnossl(void **state)
{
    struct story *s = *state;
    read_hba(s, "hostnossl all all all reject\nhostssl all all all password\nlocal all all trust");
    story_is_clean(s);
    assert_int_equal(line_of(s, "1.2.3.4", "d", "u"), 1);
    assert_int_equal(line_of(s, "1.2.3.4+tls", "d", "u"), 2);
    assert_int_equal(line_of(s, "local", "d", "u"), 3);
}

static void names_are_lists_keywords_or_quoted(void **state)
{
    struct story *s = *state;
    read_hba(s, "host a,b, \"c d\" zoe,adam all trust\n"
                "host sameuser all all trust\n"
                "host \"all\" all all trust\n"
                "host e \"+staff\" all trust\n"
                "host f \"a\"\"b\" all trust\n");
    story_is_clean(s);
    assert_int_equal(line_of(s, "1.2.3.4", "a", "zoe"), 1);
    assert_int_equal(line_of(s, "1.2.3.4", "c d", "adam"), 1);
    assert_int_equal(line_of(s, "1.2.3.4", "b", "eve"), 0);
    assert_int_equal(line_of(s, "1.2.3.4", "eve", "eve"), 2);
    assert_int_equal(line_of(s, "1.2.3.4", "all", "eve"), 3);
    assert_int_equal(line_of(s, "1.2.3.4", "other", "eve"), 0);
    assert_int_equal(line_of(s, "1.2.3.4", "e", "+staff"), 4);
    assert_int_equal(line_of(s, "1.2.3.4", "f", "a\"b"), 5);
}

static void names_may_be_expressions(void **state)
{
    struct story *s = *state;
    read_hba(s, "host /^shop_[0-9]+$ \"/x\",/^svc_ all trust\n");
    story_is_clean(s);
    assert_int_equal(line_of(s, "1.2.3.4", "shop_12", "svc_a"), 1);
    assert_int_equal(line_of(s, "1.2.3.4", "shop_12", "/x"), 1);
    assert_int_equal(line_of(s, "1.2.3.4", "shop_x", "svc_a"), 0);
    assert_int_equal(line_of(s, "1.2.3.4", "shop_12", "xsvc_"), 0);
}

static void names_may_stand_in_files(void **state)
{
    struct story *s = *state;
    read_hba(s, "host app @users all trust\n"
                "host @databases zoe all md5\n"
                "host \"@users\" @ all trust\n"
                "host one @more/none all trust\n");
    story_is_clean(s);
    assert_int_equal(line_of(s, "1.2.3.4", "app", "+staff"), 1);
    assert_int_equal(line_of(s, "1.2.3.4", "app", "eve"), 1);
    assert_int_equal(line_of(s, "1.2.3.4", "app", "whoever"), 1); /* /abs says all */
    assert_int_equal(line_of(s, "1.2.3.4", "zoe", "zoe"), 2);
    assert_int_equal(line_of(s, "1.2.3.4", "app2", "zoe"), 0);
    assert_int_equal(line_of(s, "1.2.3.4", "@users", "@"), 3);
    assert_int_equal(line_of(s, "1.2.3.4", "one", "zoe"), 0); /* an empty file names nobody */
}

static void a_file_of_names_has_errors_of_its_own(void **state)
{
    struct story *s = *state;
    read_hba(s, "host app @unclosed all trust\n");
    story_only_error(s, 2, "a quote is opened and not closed");
    assert_string_equal(s->problems.items[0].file, "/etc/sg/unclosed");
}

static void so_many_files_are_read_and_no_more(void **state)
{
    struct story *s = *state;
    char text[32 * 300] = "";
    for (uint32_t i = 0; i < 300; i++)
        (void)snprintf(text + strlen(text), 32, "local all @/abs trust\n");
    read_hba(s, text);
    assert_int_equal(files_read, CONFIG_HBA_FILES_MAX);
    story_error(s, CONFIG_HBA_FILES_MAX + 1, "more than 256 files are named");
}

static void replication_is_asked_for_by_name(void **state)
{
    struct story *s = *state;
    read_hba(s, "host all all all trust\nhost replication all all reject\n");
    story_is_clean(s);
    struct config_hba_request r = {.database = "replication", .user = "u"};
    const struct config_hba *h = NULL;
    assert_int_equal(config_hba_match(s->config, &r, &h), CONFIG_HBA_MATCHED);
    assert_int_equal(h->line, 1);
    r.is_replication = true;
    assert_int_equal(config_hba_match(s->config, &r, &h), CONFIG_HBA_MATCHED);
    assert_int_equal(h->line, 2);
}

static void networks_have_bits_or_masks(void **state)
{
    struct story *s = *state;
    read_hba(s, "host all all 10.1.0.0/16 trust\n"
                "host all all 10.2.0.0 255.255.0.0 trust\n"
                "host all all 2001:db8::/33 trust\n"
                "host all all fe80:: ffff:: trust\n"
                "host all all 10.3.3.3/32 trust\n"
                "host all all ::/0 trust\n"
                "host all all 0.0.0.0/0 trust\n");
    story_is_clean(s);
    assert_int_equal(line_of(s, "10.1.255.255", "d", "u"), 1);
    assert_int_equal(line_of(s, "10.2.0.1", "d", "u"), 2);
    assert_int_equal(line_of(s, "2001:db8:7fff::1", "d", "u"), 3);
    assert_int_equal(line_of(s, "2001:db8:8000::1", "d", "u"), 6);
    assert_int_equal(line_of(s, "fe80::1", "d", "u"), 4);
    assert_int_equal(line_of(s, "10.3.3.3", "d", "u"), 5);
    assert_int_equal(line_of(s, "10.3.3.4", "d", "u"), 7); /* ::/0 is for IPv6 */
}

static void samehost_and_samenet_are_this_machines(void **state)
{
    struct story *s = *state;
    static const uint8_t address[16] = {[10] = 255, [11] = 255, [12] = 192, [13] = 168, [15] = 7};
    uint8_t mask[16];
    memset(mask, 255, 15);
    mask[15] = 0;
    read_hba(s, "host all all samehost trust\nhost all all samenet md5\n");
    story_is_clean(s);
    assert_true(config_hba_wants_interfaces(s->config));
    assert_int_equal(line_of(s, "192.168.0.7", "d", "u"), 0);
    config_interface_add(s->config, address, mask);
    assert_int_equal(line_of(s, "192.168.0.7", "d", "u"), 1);
    assert_int_equal(line_of(s, "192.168.0.8", "d", "u"), 2);
    assert_int_equal(line_of(s, "192.168.1.7", "d", "u"), 0);
    assert_int_equal(line_of(s, "::1", "d", "u"), 0);
}

/* NULL: not looked up yet; "": it has none. */
static int match_of(const struct story *s, const char *host_name, const struct config_hba **ret)
{
    struct config_hba_request r = {.database = "d", .user = "u", .address = {1}};
    if (host_name != NULL) {
        r.host = host_name[0] == '\0' ? CONFIG_HBA_HOST_NONE : CONFIG_HBA_HOST_NAMED;
        r.host_name = host_name;
    }
    return (int)config_hba_match(s->config, &r, ret);
}

static void a_host_name_is_asked_for_where_a_line_needs_it(void **state)
{
    struct story *s = *state;
    const struct config_hba *h = NULL;
    read_hba(s, "host d2 all never.example.com trust\n"
                "host all u2 never.example.com trust\n"
                "hostssl all all never.example.com trust\n"
                "host all all DB-1.example.com trust\n"
                "host all all .web.example.com md5\n"
                "host all all 100::/8 reject\n"
                "host all all late.example.com trust\n");
    story_is_clean(s);
    assert_int_equal(match_of(s, NULL, &h), CONFIG_HBA_WANTS_HOST);
    static const struct {
        const char *name;
        uint32_t line;
    } rows[] = {{"db-1.Example.com", 4},   {"db-1.example.com.evil", 6}, {"xdb-1.example.com", 6},
                {"a.web.example.com", 5},  {"a.b.WEB.example.com", 5},   {"web.example.com", 6},
                {"a.xweb.example.com", 6}, {".web.example.com", 6},      {"", 6},
                {"late.example.com", 6},   {"never.example.com", 6}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(match_of(s, rows[i].name, &h), CONFIG_HBA_MATCHED);
        assert_int_equal(h->line, rows[i].line);
    }
    read_hba(s, "host all all 100::/8 reject\nhost all all late.example.com trust\n");
    assert_int_equal(match_of(s, NULL, &h), CONFIG_HBA_MATCHED); /* the first one, without asking */
    assert_int_equal(h->line, 1);
}

static enum config_hba_match match_roles(const struct story *s, const char *database,
                                         const char *user, const char *roles, uint32_t *ret_line)
{
    const struct config_hba *h = NULL;
    const struct config_hba_request r = {
        .database = database, .user = user, .roles = roles, .is_local = true};
    const enum config_hba_match found = config_hba_match(s->config, &r, &h);
    *ret_line = found == CONFIG_HBA_MATCHED ? h->line : 0;
    return found;
}

static void roles_are_asked_for_where_a_line_needs_them(void **state)
{
    struct story *s = *state;
    uint32_t line;
    read_hba(s, "local app +staff,zoe trust\n"
                "host all +staff all trust\n"
                "local other +guests trust\n"
                "local samerole all md5\n"
                "local \"samegroup\" \"+staff\" md5\n"
                "local app all reject\n");
    story_is_clean(s);
    assert_int_equal(match_roles(s, "app", "zoe", NULL, &line), CONFIG_HBA_MATCHED);
    assert_int_equal(line, 1); /* by her name: nobody need be asked */
    assert_int_equal(match_roles(s, "app", "adam", NULL, &line), CONFIG_HBA_WANTS_ROLES);
    static const struct {
        const char *database, *roles;
        uint32_t line;
    } rows[] = {{"app", "adam\0staff\0", 1}, {"app", "adam\0staff2\0", 6},   {"app", "", 6},
                {"other", "x\0guests\0", 3}, {"other", "staff\0other\0", 4}, {"adam", "adam\0", 4},
                {"samegroup", "staff\0", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)match_roles(s, rows[i].database, "adam", rows[i].roles, &line);
        assert_int_equal(line, rows[i].line);
    }
    (void)match_roles(s, "samegroup", "+staff", "", &line);
    assert_int_equal(line, 5);
}

static void options_say_which_certificates(void **state)
{
    struct story *s = *state;
    read_hba(s, "hostssl all a all cert map=m clientname=DN\n"
                "hostssl all b all scram-sha-256 clientcert=verify-ca\n"
                "hostssl all c all trust clientcert=verify-full clientname=CN\n"
                "local all d peer map=\"my map\"\n"
                "local all e ident\n");
    story_is_clean(s);
    const struct config_hba *h = s->config->hba;
    assert_int_equal(h[0].certificate, CONFIG_HBA_VERIFY_FULL);
    assert_true(h[0].by_dn);
    assert_string_equal(h[0].map, "m");
    assert_int_equal(h[1].certificate, CONFIG_HBA_VERIFY_CA);
    assert_int_equal(h[2].certificate, CONFIG_HBA_VERIFY_FULL);
    assert_string_equal(h[2].map, "");
    assert_string_equal(h[3].map, "my map");
    assert_int_equal(h[4].method, CONFIG_HBA_PEER);
    assert_true(config_wants_certificates(s->config));
}

static void every_bad_line_is_named(void **state)
{
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"hosts all all all trust", "begins with local, host, hostssl or hostnossl"},
        {"\"host\" all all all trust", "begins with local"},
        {"host,local all all all trust", "begins with local"},
        {"hostgssenc all all all trust", "GSS encryption is not supported"},
        {"include other.conf", "include is not supported"},
        {"include_dir conf.d", "include is not supported"},
        {"host", "the databases are missing"},
        {"host all", "the users are missing"},
        {"host all all", "write one address"},
        {"host all all 10.0.0.0/8", "the method is missing"},
        {"host all all trust", "the method is missing"},
        {"host all all 10.0.0.0/8,11.0.0.0/8 trust", "write one address"},
        {"host all all example.com/8 trust", "a host name has no bits"},
        {"host all all example.com 255.0.0.0 trust", "there is no method 255.0.0.0"},
        {"host all all example:com trust", "is no address"},
        {"host all all 10.0.0 trust", "is no address"},
        {"host all all 10.0.0.0 trust", "needs its bits"},
        {"host all all 10.0.0.0/33 trust", "0 to 32 bits"},
        {"host all all 10.0.0.0/ trust", "0 to 32 bits"},
        {"host all all 10.0.0.0/+8 trust", "0 to 32 bits"},
        {"host all all ::/129 trust", "0 to 128 bits"},
        {"host all all 10.0.0.0 ffff:: trust", "not of the address's kind"},
        {"host all all 10.0.0.0 255.0.255.0 trust", "its ones must come first"},
        {"host all all 10.0.0/8 trust", "is no address"},
        {"host all all 10.0.0.0/8 gss", "there is no method gss"},
        {"host all all 10.0.0.0/8 ident", "there is no method ident"},
        {"host all all 10.0.0.0/8 sspi", "there is no method sspi"},
        {"host all all 10.0.0.0/8 ldap ldapserver=x", "there is no method ldap"},
        {"host all all 10.0.0.0/8 radius radiusservers=x", "there is no method radius"},
        {"host all all 10.0.0.0/8 pam", "there is no method pam"},
        {"host all all 10.0.0.0/8 bsd", "there is no method bsd"},
        {"host all all 10.0.0.0/8 peer", "only a local line"},
        {"host all all 10.0.0.0/8 cert", "only a hostssl line"},
        {"local all all cert", "only a hostssl line"},
        {"local all + trust", "write the name of a role behind the plus"},
        {"local all @missing trust", "@missing: /etc/sg/missing cannot be read: it is not there"},
        {"local all @roles trust", "write the name of a role behind the plus"},
        {"local all @loop trust", "the file /etc/sg/loop names itself"},
        {"local all @hba.conf trust", "the file /etc/sg/hba.conf names itself"},
        {"local all @deep1 trust", "@deep11: more than 10 files name each other"},
        {"local all @ @deep1", "there is no method @deep1"},
        {"local /( all trust", "is no regular expression"},
        {"local /^a\\d$ all trust", "write [0-9]"},
        {"local all / trust", "1 to 256 bytes"},
        {"local all \"zoe trust", "a quote is opened and not closed"},
        {"local all all trust map", "options are written name=value"},
        {"local all all trust map=x", "only cert and peer have names"},
        {"local all all peer map=", "the name is empty"},
        {"local all all peer mop=x", "there is no option mop"},
        {"local all all trust clientcert=verify-ca", "only a hostssl line"},
        {"hostssl all all all md5 clientcert=1", "write verify-ca or verify-full"},
        {"hostssl all all all cert clientcert=verify-ca", "verify-full always"},
        {"hostssl all all all md5 clientname=DN", "only with cert or clientcert=verify-full"},
        {"hostssl all all all cert clientname=dn", "write CN or DN"},
    };
    struct story *s = *state;
    static char text[16384];
    size_t used = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", rows[i].line);
    read_hba(s, text);
    assert_int_equal(s->config->hba_count, 0);
    assert_int_equal(s->problems.errors, sizeof rows / sizeof rows[0]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        story_error(s, (uint32_t)i + 1, rows[i].says);
}

static void lines_may_be_continued(void **state)
{
    struct story *s = *state;
    read_hba(s, "local all \\\n  zoe,\\\r\nadam \\\n trust\nlocal all eve\\");
    assert_int_equal(s->config->hba_count, 1);
    assert_int_equal(line_of(s, "local", "d", "adam"), 1);
    story_only_error(s, 5, "the method is missing");
}

static void clear_text_without_tls_is_warned_of(void **state)
{
    struct story *s = *state;
    read_hba(s, "local all all password\nhostssl all all all password\nhost all all all password");
    assert_int_equal(s->problems.count, 1);
    story_warning(s, 3, "send it in clear text");
}

static void zero_bytes_and_long_lines_are_errors(void **state)
{
    struct story *s = *state;
    static char text[CONFIG_LINE_MAX + 100];
    memset(text, 'x', sizeof text);
    memcpy(text, "local\0all all trust\nlocal ", 26);
    config_parse_hba(s->config, "hba.conf", text, sizeof text, &files, &s->problems);
    story_error(s, 1, "zero byte");
    story_error(s, 2, "too long");
    static char words[2048] = "local ";
    for (size_t i = 0; i < 300; i++)
        memcpy(words + 6 + 2 * i, "a,", 2);
    read_hba(s, words);
    story_error(s, 1, "more than 256 words");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(the_first_line_that_matches_counts),
        STORY(nobody_matches_an_empty_file),
        STORY(tls_chooses_between_hostssl_and_hostnossl),
        STORY(names_are_lists_keywords_or_quoted),
        STORY(names_may_be_expressions),
        STORY(names_may_stand_in_files),
        STORY(a_file_of_names_has_errors_of_its_own),
        STORY(so_many_files_are_read_and_no_more),
        STORY(replication_is_asked_for_by_name),
        STORY(networks_have_bits_or_masks),
        STORY(samehost_and_samenet_are_this_machines),
        STORY(a_host_name_is_asked_for_where_a_line_needs_it),
        STORY(roles_are_asked_for_where_a_line_needs_them),
        STORY(options_say_which_certificates),
        STORY(every_bad_line_is_named),
        STORY(lines_may_be_continued),
        STORY(clear_text_without_tls_is_warned_of),
        STORY(zero_bytes_and_long_lines_are_errors),
    };
    return cmocka_run_group_tests_name("config_hba", tests, NULL, NULL);
}

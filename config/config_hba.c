/* SPDX-License-Identifier: PostgreSQL
 *
 * config_hba: the lines of pg_hba.conf. Every bad line is a problem of its own; what it asks for
 * and the proxy cannot do (roles, host names, other methods) is said by name, never passed over.
 */
#include "config_hba.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

enum name_kind { NAME_PLAIN, NAME_ALL, NAME_SAMEUSER, NAME_REPLICATION, NAME_REGEX };

struct config_hba_name {
    enum name_kind kind;
    const char *text;
    const regex_t *regex;
};

enum address_kind { ADDRESS_ALL, ADDRESS_NETWORK, ADDRESS_SAMEHOST, ADDRESS_SAMENET };

struct config_hba_address {
    enum address_kind kind;
    uint8_t address[16], mask[16]; /* IPv4 as ::ffff:a.b.c.d, with the mask's first 12 bytes set */
};

struct config_interface {
    uint8_t address[16], mask[16];
};

/* A line while it is read. */
struct reader {
    struct config_arena *arena;
    const struct config_line *line;
    struct config_hba hba;
    uint32_t field; /* the next one */
};

/* ---- words ---- */

static bool is_keyword(const struct config_word *word, const char *keyword)
{
    return !word->quoted && strcmp(word->text, keyword) == 0;
}

/* The one word of the next field; NULL: there is none, or several. */
static const struct config_word *single_take(struct reader *r)
{
    uint32_t count;
    if (r->field == r->line->fields_count)
        return NULL;
    const struct config_word *word = config_line_field(r->line, r->field, &count);
    if (count != 1)
        return NULL;
    r->field++;
    return word;
}

/* ---- connection type ---- */

static const char *type_read(struct reader *r)
{
    static const struct {
        const char *text;
        enum config_hba_type type;
    } types[] = {{"local", CONFIG_HBA_LOCAL},
                 {"host", CONFIG_HBA_HOST},
                 {"hostssl", CONFIG_HBA_HOSTSSL},
                 {"hostnossl", CONFIG_HBA_HOSTNOSSL},
                 {"hostnogssenc", CONFIG_HBA_HOST}}; /* nobody comes encrypted by GSS */
    const struct config_word *word = single_take(r);
    for (size_t i = 0; word != NULL && i < sizeof types / sizeof types[0]; i++) {
        if (!is_keyword(word, types[i].text))
            continue;
        r->hba.type = (uint8_t)types[i].type;
        return NULL;
    }
    if (word != NULL && is_keyword(word, "hostgssenc"))
        return "hostgssenc: GSS encryption is not supported";
    if (word != NULL && strncmp(word->text, "include", 7) == 0)
        return "include is not supported: put all lines into this file";
    return "a line begins with local, host, hostssl or hostnossl";
}

/* ---- databases and users ---- */

/* NULL: *ret was filled. */
static const char *name_read(struct reader *r, const struct config_word *word, bool is_database,
                             struct config_hba_name *ret)
{
    const char *wrong = NULL;
    *ret = (struct config_hba_name){.kind = NAME_PLAIN, .text = word->text};
    if (word->quoted)
        return NULL;
    if (strcmp(word->text, "all") == 0) {
        ret->kind = NAME_ALL;
    } else if (word->text[0] == '@') {
        return "names from a file (@file) are not supported: write them here";
    } else if (word->text[0] == '/') {
        ret->kind = NAME_REGEX;
        ret->regex = config_regex_make(r->arena, word->text + 1, &wrong);
        if (ret->regex == NULL)
            return config_arena_print(r->arena, "%s is no regular expression: %s", word->text,
                                      wrong);
    } else if (is_database && strcmp(word->text, "sameuser") == 0) {
        ret->kind = NAME_SAMEUSER;
    } else if (is_database && strcmp(word->text, "replication") == 0) {
        ret->kind = NAME_REPLICATION;
    } else if (is_database &&
               (strcmp(word->text, "samerole") == 0 || strcmp(word->text, "samegroup") == 0)) {
        return "samerole: members of a role cannot be looked up: name the databases and users";
    } else if (!is_database && word->text[0] == '+') {
        return config_arena_print(
            r->arena, "%s: members of a role cannot be looked up: name the users", word->text);
    }
    return NULL;
}

static const char *names_read(struct reader *r, bool is_database,
                              const struct config_hba_name **ret, uint32_t *ret_count)
{
    uint32_t count;
    if (r->field == r->line->fields_count)
        return is_database ? "the databases are missing" : "the users are missing";
    const struct config_word *words = config_line_field(r->line, r->field++, &count);
    struct config_hba_name *names = config_arena_alloc(r->arena, count * sizeof *names);
    if (names == NULL)
        return "no memory";
    for (uint32_t i = 0; i < count; i++) {
        const char *wrong = name_read(r, &words[i], is_database, &names[i]);
        if (wrong != NULL)
            return wrong;
    }
    *ret = names;
    *ret_count = count;
    return NULL;
}

/* ---- addresses ---- */

/* IPv4 as ::ffff:a.b.c.d. False: neither. */
static bool address_parse(const char *text, uint8_t ret[16], bool *ret_is_v4)
{
    *ret_is_v4 = inet_pton(AF_INET, text, ret + 12) == 1;
    if (!*ret_is_v4)
        return inet_pton(AF_INET6, text, ret) == 1;
    memset(ret, 0, 10);
    ret[10] = ret[11] = 0xff;
    return true;
}

static bool is_v4(const uint8_t address[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address, prefix, sizeof prefix) == 0;
}

static const char *bits_read(const char *text, bool v4, uint8_t ret_mask[16])
{
    char *end;
    const unsigned long bits = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || bits > (v4 ? 32 : 128))
        return v4 ? "write 0 to 32 bits behind the slash of an IPv4 address"
                  : "write 0 to 128 bits behind the slash of an IPv6 address";
    const unsigned long set = v4 ? bits + 96 : bits;
    memset(ret_mask, 0, 16);
    for (unsigned long i = 0; i < set; i++)
        ret_mask[i / 8] |= (uint8_t)(0x80u >> i % 8);
    return NULL;
}

static const char *mask_read(struct reader *r, bool v4, uint8_t ret_mask[16])
{
    bool mask_is_v4;
    const struct config_word *word = single_take(r);
    if (word == NULL || !address_parse(word->text, ret_mask, &mask_is_v4))
        return "an address needs its bits (10.0.0.0/8), or a mask behind it";
    if (mask_is_v4 != v4)
        return "the mask is not of the address's kind";
    if (v4)
        memset(ret_mask, 0xff, 12);
    bool ended = false; /* ones, then zeros */
    for (uint32_t i = 0; i < 128; i++) {
        const bool set = (ret_mask[i / 8] & 0x80u >> i % 8) != 0;
        if (set && ended)
            return "the mask is none: its ones must come first";
        ended = !set;
    }
    return NULL;
}

static const char *network_read(struct reader *r, const char *text, struct config_hba_address *ret)
{
    const char *slash = strchr(text, '/');
    const size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
    const char *address = config_arena_copy(r->arena, text, size);
    bool v4;
    if (!address_parse(address, ret->address, &v4))
        return config_arena_print(
            r->arena,
            "%s is no address, and host names are not supported: write 10.0.0.0/8, ::1/128,"
            " all, samehost or samenet",
            text);
    return slash != NULL ? bits_read(slash + 1, v4, ret->mask) : mask_read(r, v4, ret->mask);
}

static const char *address_read(struct reader *r)
{
    struct config_hba_address *address = config_arena_alloc(r->arena, sizeof *address);
    if (address == NULL)
        return "no memory";
    r->hba.address = address;
    const struct config_word *word = single_take(r);
    if (word == NULL)
        return "write one address; several need a line each";
    if (is_keyword(word, "all"))
        address->kind = ADDRESS_ALL;
    else if (is_keyword(word, "samehost"))
        address->kind = ADDRESS_SAMEHOST;
    else if (is_keyword(word, "samenet"))
        address->kind = ADDRESS_SAMENET;
    else
        address->kind = ADDRESS_NETWORK;
    return address->kind == ADDRESS_NETWORK ? network_read(r, word->text, address) : NULL;
}

/* ---- method and options ---- */

static const char *method_read(struct reader *r)
{
    static const char *const methods[] = {[CONFIG_HBA_TRUST] = "trust",
                                          [CONFIG_HBA_REJECT] = "reject",
                                          [CONFIG_HBA_MD5] = "md5",
                                          [CONFIG_HBA_PASSWORD] = "password",
                                          [CONFIG_HBA_SCRAM] = "scram-sha-256",
                                          [CONFIG_HBA_CERT] = "cert",
                                          [CONFIG_HBA_PEER] = "peer"};
    const struct config_word *word = single_take(r);
    if (word == NULL)
        return "the method is missing: write trust, reject, md5, password, scram-sha-256, cert or "
               "peer";
    size_t i = 0;
    while (i < sizeof methods / sizeof methods[0] && strcmp(word->text, methods[i]) != 0)
        i++;
    if (strcmp(word->text, "ident") == 0 && r->hba.type == CONFIG_HBA_LOCAL)
        i = CONFIG_HBA_PEER; /* as in PostgreSQL */
    if (i == sizeof methods / sizeof methods[0])
        return config_arena_print(r->arena,
                                  "there is no method %s here: write trust, reject, md5, password, "
                                  "scram-sha-256, cert or peer",
                                  word->text);
    r->hba.method = (uint8_t)i;
    if (i == CONFIG_HBA_PEER && r->hba.type != CONFIG_HBA_LOCAL)
        return "peer: only a local line knows who is at the other end";
    if (i == CONFIG_HBA_CERT && r->hba.type != CONFIG_HBA_HOSTSSL)
        return "cert: only a hostssl line has certificates";
    if (i == CONFIG_HBA_CERT)
        r->hba.certificate = CONFIG_HBA_VERIFY_FULL;
    return NULL;
}

static const char *certificate_read(struct config_hba *hba, const char *value)
{
    if (hba->type != CONFIG_HBA_HOSTSSL)
        return "clientcert: only a hostssl line has certificates";
    if (strcmp(value, "verify-full") == 0)
        hba->certificate = CONFIG_HBA_VERIFY_FULL;
    else if (strcmp(value, "verify-ca") == 0 && hba->method != CONFIG_HBA_CERT)
        hba->certificate = CONFIG_HBA_VERIFY_CA;
    else
        return hba->method == CONFIG_HBA_CERT ? "clientcert: with cert it is verify-full always"
                                              : "clientcert: write verify-ca or verify-full";
    return NULL;
}

static const char *option_read(struct reader *r, const char *text)
{
    struct config_hba *hba = &r->hba;
    const char *equals = strchr(text, '=');
    const char *value = equals != NULL ? equals + 1 : "";
    if (equals == NULL)
        return config_arena_print(r->arena, "%s: options are written name=value", text);
    if (strncmp(text, "map=", 4) == 0) {
        if (hba->method != CONFIG_HBA_CERT && hba->method != CONFIG_HBA_PEER)
            return "map: only cert and peer have names to be mapped";
        hba->map = value;
        return value[0] == '\0' ? "map: the name is empty" : NULL;
    }
    if (strncmp(text, "clientcert=", 11) == 0)
        return certificate_read(hba, value);
    if (strncmp(text, "clientname=", 11) == 0) {
        hba->by_dn = strcmp(value, "DN") == 0;
        return hba->by_dn || strcmp(value, "CN") == 0 ? NULL : "clientname: write CN or DN";
    }
    return config_arena_print(r->arena,
                              "there is no option %.*s here: write map, clientcert or "
                              "clientname",
                              (int)(equals - text), text);
}

static const char *options_read(struct reader *r)
{
    while (r->field < r->line->fields_count) {
        uint32_t count;
        const struct config_word *words = config_line_field(r->line, r->field++, &count);
        for (uint32_t i = 0; i < count; i++) {
            const char *wrong = option_read(r, words[i].text);
            if (wrong != NULL)
                return wrong;
        }
    }
    if (r->hba.by_dn && r->hba.certificate != CONFIG_HBA_VERIFY_FULL)
        return "clientname: only with cert or clientcert=verify-full";
    return NULL;
}

/* NULL: r->hba is whole. */
static const char *line_read(struct reader *r)
{
    const char *wrong = type_read(r);
    if (wrong == NULL)
        wrong = names_read(r, true, &r->hba.databases, &r->hba.databases_count);
    if (wrong == NULL)
        wrong = names_read(r, false, &r->hba.users, &r->hba.users_count);
    if (wrong == NULL && r->hba.type != CONFIG_HBA_LOCAL)
        wrong = address_read(r);
    if (wrong == NULL)
        wrong = method_read(r);
    if (wrong == NULL)
        wrong = options_read(r);
    return wrong;
}

void config_parse_hba(struct config *c, const char *file, const char *text, size_t size,
                      struct config_problems *p)
{
    struct config_words words = {.arena = c->arena,
                                 .file = config_arena_copy(c->arena, file, strlen(file)),
                                 .text = text,
                                 .size = size};
    struct config_hba *lines = config_arena_alloc(c->arena, CONFIG_HBA_LINES_MAX * sizeof *lines);
    struct config_line line;
    if (lines == NULL) /* config_finish() says so */
        return;
    c->hba = lines;
    c->hba_file = words.file;
    c->hba_count = 0;
    while (config_words_next(&words, p, &line)) {
        const struct config_source source = {.file = words.file, .line = line.line, .about = ""};
        struct reader r = {.arena = c->arena, .line = &line, .hba = {.line = line.line, .map = ""}};
        if (c->hba_count == CONFIG_HBA_LINES_MAX) {
            config_error(p, &source, "more than %d lines", CONFIG_HBA_LINES_MAX);
            return;
        }
        const char *wrong = line_read(&r);
        if (wrong != NULL) {
            config_error(p, &source, "%s", wrong);
            continue;
        }
        if (r.hba.method == CONFIG_HBA_PASSWORD && r.hba.type != CONFIG_HBA_HOSTSSL &&
            r.hba.type != CONFIG_HBA_LOCAL)
            config_warning(p, &source,
                           "password: clients without TLS send it in clear text: write hostssl, or "
                           "scram-sha-256");
        lines[c->hba_count++] = r.hba;
    }
}

/* ---- matching ---- */

static bool name_matches(const struct config_hba_name *name, const char *text,
                         const struct config_hba_request *request)
{
    switch (name->kind) {
    case NAME_ALL:
        return true;
    case NAME_PLAIN:
        return strcmp(name->text, text) == 0;
    case NAME_SAMEUSER:
        return strcmp(request->database, request->user) == 0;
    case NAME_REGEX:
        return regexec(name->regex, text, 0, NULL, 0) == 0;
    case NAME_REPLICATION:
        return false;
    }
    return false;
}

static bool database_matches(const struct config_hba *h, const struct config_hba_request *request)
{
    for (uint32_t i = 0; i < h->databases_count; i++) {
        if (request->is_replication ? h->databases[i].kind == NAME_REPLICATION
                                    : name_matches(&h->databases[i], request->database, request))
            return true;
    }
    return false;
}

static bool user_matches(const struct config_hba *h, const struct config_hba_request *request)
{
    for (uint32_t i = 0; i < h->users_count; i++) {
        if (name_matches(&h->users[i], request->user, request))
            return true;
    }
    return false;
}

static bool in_network(const uint8_t from[16], const uint8_t address[16], const uint8_t mask[16])
{
    if (is_v4(from) != is_v4(address)) /* ::/0 means no IPv4 address */
        return false;
    for (int i = 0; i < 16; i++)
        if ((from[i] & mask[i]) != (address[i] & mask[i]))
            return false;
    return true;
}

static bool address_matches(const struct config *c, const struct config_hba_address *a,
                            const uint8_t from[16])
{
    static const uint8_t whole[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                      255, 255, 255, 255, 255, 255, 255, 255};
    if (a->kind == ADDRESS_ALL)
        return true;
    if (a->kind == ADDRESS_NETWORK)
        return in_network(from, a->address, a->mask);
    for (uint32_t i = 0; i < c->interfaces_count; i++) {
        const struct config_interface *own = &c->interfaces[i];
        if (in_network(from, own->address, a->kind == ADDRESS_SAMEHOST ? whole : own->mask))
            return true;
    }
    return false;
}

const struct config_hba *config_hba_match(const struct config *c,
                                          const struct config_hba_request *request)
{
    for (uint32_t i = 0; i < c->hba_count; i++) {
        const struct config_hba *h = &c->hba[i];
        if ((h->type == CONFIG_HBA_LOCAL) != request->is_local ||
            (h->type == CONFIG_HBA_HOSTSSL && !request->is_tls) ||
            (h->type == CONFIG_HBA_HOSTNOSSL && request->is_tls))
            continue;
        if (database_matches(h, request) && user_matches(h, request) &&
            (h->address == NULL || address_matches(c, h->address, request->address)))
            return h;
    }
    return NULL;
}

void config_interface_add(struct config *c, const uint8_t address[16], const uint8_t mask[16])
{
    if (c->interfaces == NULL)
        c->interfaces = config_arena_alloc(c->arena, CONFIG_INTERFACES_MAX * sizeof *c->interfaces);
    if (c->interfaces == NULL || c->interfaces_count == CONFIG_INTERFACES_MAX)
        return;
    struct config_interface *i = &c->interfaces[c->interfaces_count++];
    memcpy(i->address, address, sizeof i->address);
    memcpy(i->mask, mask, sizeof i->mask);
}

bool config_hba_wants_interfaces(const struct config *c)
{
    for (uint32_t i = 0; i < c->hba_count; i++) {
        const struct config_hba_address *a = c->hba[i].address;
        if (a != NULL && (a->kind == ADDRESS_SAMEHOST || a->kind == ADDRESS_SAMENET))
            return true;
    }
    return false;
}

bool config_wants_certificates(const struct config *c)
{
    if (c->switchgear.auth_type == CONFIG_AUTH_CERT)
        return true;
    for (uint32_t i = 0; i < c->hba_count; i++)
        if (c->hba[i].certificate != CONFIG_HBA_NO_CERTIFICATE)
            return true;
    return false;
}

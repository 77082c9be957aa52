/* SPDX-License-Identifier: PostgreSQL
 *
 * config_hba_address: the ADDRESS of a line of pg_hba.conf, and which clients are there.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config_hba_internal.h"

enum address_kind { ADDRESS_ALL, ADDRESS_NETWORK, ADDRESS_SAMEHOST, ADDRESS_SAMENET, ADDRESS_NAME };

struct config_hba_address {
    enum address_kind kind;
    uint8_t address[16], mask[16]; /* IPv4 as ::ffff:a.b.c.d, with the mask's first 12 bytes set */
    const char *name;              /* with a dot in front: all that end so */
};

struct config_interface {
    uint8_t address[16], mask[16];
};

/* ---- reading ---- */

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

static const char *mask_read(struct config_hba_line *l, bool v4, uint8_t ret_mask[16])
{
    bool mask_is_v4;
    const struct config_word *word = config_hba_single(l);
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

/* Letters, digits, dashes, underscores and dots, not digits and dots alone: those are an address
 * with a mistake in it. */
static bool is_host_name(const char *text)
{
    bool has_letter = false;
    for (const char *at = text; *at != '\0'; at++) {
        const bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!letter && (*at < '0' || *at > '9') && strchr("-_.", *at) == NULL)
            return false;
        has_letter = has_letter || letter;
    }
    return has_letter;
}

static const char *network_read(struct config_hba_line *l, const char *text,
                                struct config_hba_address *ret)
{
    const char *slash = strchr(text, '/');
    const size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
    const char *address = config_arena_copy(l->arena, text, size);
    bool v4;
    ret->kind = ADDRESS_NETWORK;
    if (address_parse(address, ret->address, &v4))
        return slash != NULL ? bits_read(slash + 1, v4, ret->mask) : mask_read(l, v4, ret->mask);
    ret->kind = ADDRESS_NAME;
    ret->name = text;
    if (slash != NULL && is_host_name(address))
        return config_arena_print(l->arena, "%s: a host name has no bits", text);
    return is_host_name(text)
               ? NULL
               : config_arena_print(l->arena,
                                    "%s is no address: write 10.0.0.0/8, ::1/128, a host name, all,"
                                    " samehost or samenet",
                                    text);
}

const char *config_hba_address_read(struct config_hba_line *l)
{
    struct config_hba_address *address = config_arena_alloc(l->arena, sizeof *address);
    if (address == NULL)
        return "no memory";
    l->hba.address = address;
    const struct config_word *word = config_hba_single(l);
    if (word == NULL)
        return "write one address; several need a line each";
    if (config_hba_is_keyword(word, "all"))
        address->kind = ADDRESS_ALL;
    else if (config_hba_is_keyword(word, "samehost"))
        address->kind = ADDRESS_SAMEHOST;
    else if (config_hba_is_keyword(word, "samenet"))
        address->kind = ADDRESS_SAMENET;
    else
        return network_read(l, word->text, address);
    return NULL;
}

/* ---- matching ---- */

static bool in_network(const uint8_t from[16], const uint8_t address[16], const uint8_t mask[16])
{
    if (is_v4(from) != is_v4(address)) /* ::/0 means no IPv4 address */
        return false;
    for (int i = 0; i < 16; i++)
        if ((from[i] & mask[i]) != (address[i] & mask[i]))
            return false;
    return true;
}

/* Case does not count, and the name must be longer than a suffix. */
static bool host_matches(const char *pattern, const char *name)
{
    const size_t size = strlen(pattern);
    const size_t name_size = strlen(name);
    if (pattern[0] != '.')
        return strcasecmp(pattern, name) == 0;
    return name_size > size && strcasecmp(pattern, name + name_size - size) == 0;
}

static bool is_own(const struct config *c, enum address_kind kind, const uint8_t from[16])
{
    static const uint8_t whole[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                      255, 255, 255, 255, 255, 255, 255, 255};
    for (uint32_t i = 0; i < c->interfaces_count; i++) {
        const struct config_interface *own = &c->interfaces[i];
        if (in_network(from, own->address, kind == ADDRESS_SAMEHOST ? whole : own->mask))
            return true;
    }
    return false;
}

enum config_hba_match config_hba_address_match(const struct config *c,
                                               const struct config_hba_address *a,
                                               const struct config_hba_request *request)
{
    bool matches = false;
    switch (a->kind) {
    case ADDRESS_ALL:
        matches = true;
        break;
    case ADDRESS_NETWORK:
        matches = in_network(request->address, a->address, a->mask);
        break;
    case ADDRESS_SAMEHOST:
    case ADDRESS_SAMENET:
        matches = is_own(c, a->kind, request->address);
        break;
    case ADDRESS_NAME:
        if (request->host == CONFIG_HBA_HOST_UNKNOWN)
            return CONFIG_HBA_WANTS_HOST;
        matches =
            request->host == CONFIG_HBA_HOST_NAMED && host_matches(a->name, request->host_name);
        break;
    }
    return matches ? CONFIG_HBA_MATCHED : CONFIG_HBA_NO_LINE;
}

/* ---- this machine ---- */

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

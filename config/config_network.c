/* SPDX-License-Identifier: PostgreSQL
 *
 * config_network: peers, trusted networks, and the rights of socket files.
 */
#include "config_internal.h"

#include <arpa/inet.h>
#include <string.h>

enum { TEXT_MAX = 160 }; /* of one item */

/* ---- peers ---- */

bool config_peer_parse(const char *text, uint32_t *ret_instance, struct config_address *ret)
{
    uint32_t instance = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && instance <= CONFIG_INSTANCE_MAX; at++)
        instance = instance * 10 + (uint32_t)(*at - '0');
    if (at == text || *at != '=' || instance > CONFIG_INSTANCE_MAX)
        return false;
    if (!config_address_parse(at + 1, ret) || ret->is_unix || ret->host[0] == '\0')
        return false;
    *ret_instance = instance;
    return true;
}

static bool item_copy(const struct config_item *item, char *buf, size_t buf_size)
{
    if (item->size >= buf_size)
        return false;
    memcpy(buf, item->text, item->size);
    buf[item->size] = '\0';
    return true;
}

bool config_peer_find(const char *peers, uint32_t instance, struct config_address *ret)
{
    struct config_item item;
    char text[TEXT_MAX];
    for (size_t position = 0; config_list_next(peers, &position, &item);) {
        uint32_t found;
        if (item_copy(&item, text, sizeof(text)) && config_peer_parse(text, &found, ret) &&
            found == instance)
            return true;
    }
    return false;
}

static void peers_check(const struct config_switchgear *s, const struct config_source *source,
                        struct config_problems *p)
{
    struct config_item item;
    struct config_address address;
    char text[TEXT_MAX];
    bool seen[CONFIG_INSTANCE_MAX + 1] = {false};
    for (size_t position = 0; config_list_next(s->peers, &position, &item);) {
        uint32_t instance;
        if (!item_copy(&item, text, sizeof(text)) ||
            !config_peer_parse(text, &instance, &address)) {
            config_error(p, source,
                         "peers: %.*s is no peer: write its instance_id, 0 to %d, and its address, "
                         "as in 1=10.0.0.2:6432",
                         item.size > 100 ? 100 : (int)item.size, item.text, CONFIG_INSTANCE_MAX);
            continue;
        }
        if (seen[instance])
            config_error(p, source, "peers: instance %u is here twice", instance);
        seen[instance] = true;
    }
}

/* ---- trusted networks ---- */

struct network {
    uint8_t address[16];
    uint32_t bits;
    bool is_unix;
};

static bool network_parse(const char *text, struct network *ret)
{
    char host[TEXT_MAX];
    *ret = (struct network){.is_unix = strcmp(text, "unix") == 0};
    if (ret->is_unix)
        return true;
    const char *slash = strchrnul(text, '/');
    const struct config_item item = {.text = text, .size = (size_t)(slash - text)};
    if (!item_copy(&item, host, sizeof(host)))
        return false;
    uint32_t most = 128;
    if (inet_pton(AF_INET, host, ret->address + 12) == 1) {
        ret->address[10] = ret->address[11] = 0xff;
        most = 32;
    } else if (inet_pton(AF_INET6, host, ret->address) != 1) {
        return false;
    }
    uint32_t bits = most;
    if (*slash == '/') {
        const char *at = slash + 1;
        for (bits = 0; *at >= '0' && *at <= '9' && bits <= most; at++)
            bits = bits * 10 + (uint32_t)(*at - '0');
        if (at == slash + 1 || *at != '\0' || bits > most)
            return false;
    }
    ret->bits = bits + (128 - most);
    return true;
}

static bool network_contains(const struct network *n, const uint8_t address[16])
{
    const uint32_t whole = n->bits / 8;
    const uint8_t mask = (uint8_t)(0xff00u >> n->bits % 8);
    return memcmp(n->address, address, whole) == 0 &&
           (whole == 16 || ((n->address[whole] ^ address[whole]) & mask) == 0);
}

bool config_network_has(const char *networks, const uint8_t address[16])
{
    struct config_item item;
    struct network n;
    char text[TEXT_MAX];
    for (size_t position = 0; config_list_next(networks, &position, &item);)
        if (item_copy(&item, text, sizeof(text)) && network_parse(text, &n) &&
            (address == NULL ? n.is_unix : !n.is_unix && network_contains(&n, address)))
            return true;
    return false;
}

static void proxy_check(const struct config_switchgear *s, const struct config_source *source,
                        struct config_problems *p)
{
    struct config_item item;
    struct network n;
    char text[TEXT_MAX];
    for (size_t position = 0; config_list_next(s->proxy_protocol_from, &position, &item);)
        if (!item_copy(&item, text, sizeof(text)) || !network_parse(text, &n))
            config_error(p, source,
                         "proxy_protocol_from: %.*s is no network: write an address, 10.0.0.0/8, "
                         "fd00::/8 or unix",
                         item.size > 100 ? 100 : (int)item.size, item.text);
    if (s->proxy_protocol != CONFIG_PROXY_OFF && s->proxy_protocol_from[0] == '\0')
        config_error(p, source,
                     "proxy_protocol = v2 believes what a header says: name the load balancers in "
                     "proxy_protocol_from");
}

/* ---- socket files ---- */

bool config_mode_parse(const char *text, uint32_t *ret)
{
    uint32_t mode = 0;
    const size_t size = strspn(text, "01234567");
    if (size < 3 || size > 4 || text[size] != '\0')
        return false;
    for (size_t i = 0; i < size; i++)
        mode = mode << 3 | (uint32_t)(text[i] - '0');
    if (mode > 0777)
        return false;
    *ret = mode;
    return true;
}

void config_check_network(struct config *c, struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_SWITCHGEAR, 0);
    const struct config_source peers = config_at_key(c, &place, "peers");
    const struct config_source trusted = config_at_key(c, &place, "proxy_protocol_from");
    const struct config_source mode = config_at_key(c, &place, "unix_socket_mode");
    uint32_t bits;
    peers_check(&c->switchgear, &peers, p);
    proxy_check(&c->switchgear, &trusted, p);
    if (!config_mode_parse(c->switchgear.unix_socket_mode, &bits))
        config_error(p, &mode, "unix_socket_mode: %s: write three or four octal digits, as in 0770",
                     c->switchgear.unix_socket_mode);
}

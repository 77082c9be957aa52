/* SPDX-License-Identifier: PostgreSQL
 *
 * config_network: peers, trusted networks, and the rights of socket files.
 */
#include "config_internal.h"

#include <arpa/inet.h>
#include <string.h>

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
    char text[CONFIG_PEER_TEXT_MAX];
    for (size_t position = 0; config_list_next(peers, &position, &item);) {
        uint32_t found;
        if (item_copy(&item, text, sizeof(text)) && config_peer_parse(text, &found, ret) &&
            found == instance)
            return true;
    }
    return false;
}

void config_peers_check(const struct config_switchgear *s, const struct config_source *source,
                        struct config_problems *p)
{
    struct config_item item;
    struct config_address address;
    char text[CONFIG_PEER_TEXT_MAX];
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

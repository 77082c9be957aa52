/* SPDX-License-Identifier: PostgreSQL
 *
 * core_login_story: stories that begin with a client's first byte.
 */
#ifndef CORE_LOGIN_STORY_H
#define CORE_LOGIN_STORY_H

#include "core_story.h"

static const char login_start[] = "\0\0\0\x14\0\3\0\0user\0alice\0";

static inline int login_open(void **state)
{
    static struct story st;
    story_init(&st);
    *state = &st;
    return 0;
}

/* Name and value after name and value, each with its NUL: PACKET("user\0bob\0"). */
static inline void login_start_up(struct story *st, const char *parameters, size_t size,
                                  uint32_t version)
{
    uint8_t packet[1024];
    proto_store_u32(packet, (uint32_t)size + 9);
    proto_store_u32(packet + 4, version);
    memcpy(packet + 8, parameters, size);
    packet[8 + size] = 0;
    story_client_bytes(st, packet, size + 9);
}

#define PACKET(text) text, sizeof(text) - 1
#define LOGIN(name) cmocka_unit_test_setup_teardown(name, login_open, story_close)

#endif

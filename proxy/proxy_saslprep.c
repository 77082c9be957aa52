/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_saslprep: see the header.
 */
#include "proxy_saslprep.h"

#include <stringprep.h>

static bool is_ascii(struct proto_span text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((text.base[i] & 0x80) != 0)
            return false;
    return true;
}

struct proto_span saslprep(struct proto_span password, char buf[SASLPREP_BUFFER_SIZE])
{
    if (password.size > SASLPREP_SIZE_MAX || is_ascii(password) ||
        memchr(password.base, 0, password.size) != NULL)
        return password;
    memcpy(buf, password.base, password.size);
    buf[password.size] = '\0';
    const int r =
        stringprep(buf, SASLPREP_BUFFER_SIZE, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep);
    if (r != STRINGPREP_OK || buf[0] == '\0')
        return password;
    return (struct proto_span){.base = (const uint8_t *)buf, .size = strlen(buf)};
}

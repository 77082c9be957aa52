/* SPDX-License-Identifier: PostgreSQL
 *
 * router_setting: see the header.
 */
#include "router_setting.h"

#include <string.h>
#include <strings.h>

static bool is_word(struct router_name name, const char *text)
{
    return name.size == strlen(text) && strncasecmp(name.base, text, name.size) == 0;
}

static bool is_one_of(struct router_name name, const char *const *words)
{
    for (; *words != NULL; words++)
        if (is_word(name, *words))
            return true;
    return false;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Text encodings in which a byte of a character may look like a quote or a backslash. */
static bool encoding_is_unsafe(struct router_name value)
{
    static const char *const unsafe[] = {"SJIS", "MSKANJI", "SHIFT", "WIN932", "WINDOWS",
                                         "BIG5", "WIN950",  "GBK",   "WIN936", "GB18030",
                                         "UHC",  "WIN949",  "JOHAB"};
    char letters[32] = ""; /* PostgreSQL looks at letters and digits alone: s-jis is SJIS */
    size_t count = 0;
    for (size_t i = 0; i < value.size && count + 1 < sizeof(letters); i++)
        if (is_letter(value.base[i]) || (value.base[i] >= '0' && value.base[i] <= '9'))
            letters[count++] = value.base[i];
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        if (strncasecmp(letters, unsafe[i], strlen(unsafe[i])) == 0)
            return true;
    return false;
}

/* Constants of a statement's text are read when it is parsed, by the settings of that moment. */
static bool parses(struct router_name name)
{
    static const char *const names[] = {"search_path",
                                        "role",
                                        "session_authorization",
                                        "timezone",
                                        "datestyle",
                                        "intervalstyle",
                                        "lc_monetary",
                                        "array_nulls",
                                        "xmloption",
                                        "transform_null_equals",
                                        "standard_conforming_strings",
                                        "default_text_search_config",
                                        NULL};
    return is_one_of(name, names);
}

uint8_t router_setting_flags(struct router_name name, struct router_name value)
{
    static const char *const on[] = {"on", "true", "yes", "1", NULL};
    uint8_t flags = parses(name) ? ROUTER_SETTING_PARSES : 0;
    if (is_word(name, "role") || is_word(name, "session_authorization"))
        flags |= ROUTER_SETTING_ROLE;
    else if (is_word(name, "seed"))
        flags |= ROUTER_SETTING_SEED;
    else if (is_word(name, "default_transaction_read_only") && is_one_of(value, on))
        flags |= ROUTER_SETTING_READ_ONLY;
    else if (is_word(name, "default_transaction_isolation") && is_word(value, "serializable"))
        flags |= ROUTER_SETTING_PRIMARY;
    else if (is_word(name, "standard_conforming_strings") && !is_one_of(value, on))
        flags |= ROUTER_SETTING_PRIMARY | ROUTER_SETTING_LEXER;
    else if (is_word(name, "client_encoding")) {
        flags |= ROUTER_SETTING_ENCODING;
        if (encoding_is_unsafe(value))
            flags |= ROUTER_SETTING_PRIMARY | ROUTER_SETTING_LEXER;
    }
    return flags;
}

bool router_setting_is_search_path(struct router_name name)
{
    return is_word(name, "search_path");
}

bool router_setting_says_temporary(struct router_name value)
{
    static const char word[] = "pg_temp";
    const size_t size = sizeof(word) - 1;
    for (size_t i = 0; i + size <= value.size; i++)
        if (strncasecmp(value.base + i, word, size) == 0)
            return true;
    return false;
}

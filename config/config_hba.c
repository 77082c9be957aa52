/* SPDX-License-Identifier: PostgreSQL
 *
 * config_hba: the lines of pg_hba.conf. Every bad line is a problem of its own; what it asks for
 * and the proxy cannot do (other methods) is said by name, never passed over.
 */
#include "config_hba.h"

#include <string.h>

#include "config_hba_internal.h"

/* ---- words ---- */

bool config_hba_is_keyword(const struct config_word *word, const char *keyword)
{
    return !word->quoted && strcmp(word->text, keyword) == 0;
}

const struct config_word *config_hba_single(struct config_hba_line *l)
{
    uint32_t count;
    if (l->field == l->line->fields_count)
        return NULL;
    const struct config_word *word = config_line_field(l->line, l->field, &count);
    if (count != 1)
        return NULL;
    l->field++;
    return word;
}

/* ---- connection type ---- */

static const char *type_read(struct config_hba_line *l)
{
    static const struct {
        const char *text;
        enum config_hba_type type;
    } types[] = {{"local", CONFIG_HBA_LOCAL},
                 {"host", CONFIG_HBA_HOST},
                 {"hostssl", CONFIG_HBA_HOSTSSL},
                 {"hostnossl", CONFIG_HBA_HOSTNOSSL},
                 {"hostnogssenc", CONFIG_HBA_HOST}}; /* nobody comes encrypted by GSS */
    const struct config_word *word = config_hba_single(l);
    for (size_t i = 0; word != NULL && i < sizeof types / sizeof types[0]; i++) {
        if (!config_hba_is_keyword(word, types[i].text))
            continue;
        l->hba.type = (uint8_t)types[i].type;
        return NULL;
    }
    if (word != NULL && config_hba_is_keyword(word, "hostgssenc"))
        return "hostgssenc: GSS encryption is not supported";
    if (word != NULL && strncmp(word->text, "include", 7) == 0)
        return "include is not supported: put all lines into this file";
    return "a line begins with local, host, hostssl or hostnossl";
}

/* ---- method and options ---- */

static const char *method_read(struct config_hba_line *l)
{
    static const char *const methods[] = {[CONFIG_HBA_TRUST] = "trust",
                                          [CONFIG_HBA_REJECT] = "reject",
                                          [CONFIG_HBA_MD5] = "md5",
                                          [CONFIG_HBA_PASSWORD] = "password",
                                          [CONFIG_HBA_SCRAM] = "scram-sha-256",
                                          [CONFIG_HBA_CERT] = "cert",
                                          [CONFIG_HBA_PEER] = "peer"};
    const struct config_word *word = config_hba_single(l);
    if (word == NULL)
        return "the method is missing: write trust, reject, md5, password, scram-sha-256, cert or "
               "peer";
    size_t i = 0;
    while (i < sizeof methods / sizeof methods[0] && strcmp(word->text, methods[i]) != 0)
        i++;
    if (strcmp(word->text, "ident") == 0 && l->hba.type == CONFIG_HBA_LOCAL)
        i = CONFIG_HBA_PEER; /* as in PostgreSQL */
    if (i == sizeof methods / sizeof methods[0])
        return config_arena_print(l->arena,
                                  "there is no method %s here: write trust, reject, md5, password, "
                                  "scram-sha-256, cert or peer",
                                  word->text);
    l->hba.method = (uint8_t)i;
    if (i == CONFIG_HBA_PEER && l->hba.type != CONFIG_HBA_LOCAL)
        return "peer: only a local line knows who is at the other end";
    if (i == CONFIG_HBA_CERT && l->hba.type != CONFIG_HBA_HOSTSSL)
        return "cert: only a hostssl line has certificates";
    if (i == CONFIG_HBA_CERT)
        l->hba.certificate = CONFIG_HBA_VERIFY_FULL;
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

static const char *option_read(struct config_hba_line *l, const char *text)
{
    struct config_hba *hba = &l->hba;
    const char *equals = strchr(text, '=');
    const char *value = equals != NULL ? equals + 1 : "";
    if (equals == NULL)
        return config_arena_print(l->arena, "%s: options are written name=value", text);
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
    return config_arena_print(l->arena,
                              "there is no option %.*s here: write map, clientcert or "
                              "clientname",
                              (int)(equals - text), text);
}

static const char *options_read(struct config_hba_line *l)
{
    while (l->field < l->line->fields_count) {
        uint32_t count;
        const struct config_word *words = config_line_field(l->line, l->field++, &count);
        for (uint32_t i = 0; i < count; i++) {
            const char *wrong = option_read(l, words[i].text);
            if (wrong != NULL)
                return wrong;
        }
    }
    if (l->hba.by_dn && l->hba.certificate != CONFIG_HBA_VERIFY_FULL)
        return "clientname: only with cert or clientcert=verify-full";
    return NULL;
}

/* NULL: l->hba is whole. */
static const char *line_read(struct config_hba_line *l)
{
    const char *wrong = type_read(l);
    if (wrong == NULL)
        wrong = config_hba_databases_read(l);
    if (wrong == NULL)
        wrong = config_hba_users_read(l);
    if (wrong == NULL && l->hba.type != CONFIG_HBA_LOCAL)
        wrong = config_hba_address_read(l);
    if (wrong == NULL)
        wrong = method_read(l);
    if (wrong == NULL)
        wrong = options_read(l);
    return wrong;
}

static void line_add(struct config *c, const struct config_source *source,
                     const struct config_hba *h, struct config_problems *p)
{
    if (h->method == CONFIG_HBA_PASSWORD && h->type != CONFIG_HBA_HOSTSSL &&
        h->type != CONFIG_HBA_LOCAL)
        config_warning(p, source,
                       "password: clients without TLS send it in clear text: write hostssl, or "
                       "scram-sha-256");
    c->hba[c->hba_count++] = *h;
}

void config_parse_hba(struct config *c, const char *file, const char *text, size_t size,
                      const struct config_reader *files, struct config_problems *p)
{
    struct config_words words = {.arena = c->arena,
                                 .file = config_arena_copy(c->arena, file, strlen(file)),
                                 .text = text,
                                 .size = size};
    struct config_line line;
    uint32_t files_left = CONFIG_HBA_FILES_MAX;
    c->hba = config_arena_alloc(c->arena, CONFIG_HBA_LINES_MAX * sizeof *c->hba);
    c->hba_file = words.file;
    c->hba_count = 0;
    if (c->hba == NULL) /* config_finish() says so */
        return;
    while (config_words_next(&words, p, &line)) {
        const struct config_source source = {.file = words.file, .line = line.line, .about = ""};
        struct config_hba_line l = {.arena = c->arena,
                                    .line = &line,
                                    .files = files,
                                    .problems = p,
                                    .file = words.file,
                                    .files_left = &files_left,
                                    .hba = {.line = line.line, .map = ""}};
        if (c->hba_count == CONFIG_HBA_LINES_MAX) {
            config_error(p, &source, "more than %d lines", CONFIG_HBA_LINES_MAX);
            return;
        }
        const char *wrong = line_read(&l);
        if (wrong != NULL)
            config_error(p, &source, "%s", wrong);
        else
            line_add(c, &source, &l.hba, p);
    }
}

/* ---- matching ---- */

static enum config_hba_match line_match(const struct config *c, const struct config_hba *h,
                                        const struct config_hba_request *request)
{
    if ((h->type == CONFIG_HBA_LOCAL) != request->is_local ||
        (h->type == CONFIG_HBA_HOSTSSL && !request->is_tls) ||
        (h->type == CONFIG_HBA_HOSTNOSSL && request->is_tls))
        return CONFIG_HBA_NO_LINE;
    const enum config_hba_match named = config_hba_names_match(h, request);
    if (named == CONFIG_HBA_NO_LINE || h->address == NULL)
        return named;
    const enum config_hba_match there = config_hba_address_match(c, h->address, request);
    return there == CONFIG_HBA_NO_LINE || named == CONFIG_HBA_MATCHED ? there : named;
}

enum config_hba_match config_hba_match(const struct config *c,
                                       const struct config_hba_request *request,
                                       const struct config_hba **ret)
{
    for (uint32_t i = 0; i < c->hba_count; i++) {
        const enum config_hba_match found = line_match(c, &c->hba[i], request);
        if (found == CONFIG_HBA_NO_LINE)
            continue;
        if (found == CONFIG_HBA_MATCHED)
            *ret = &c->hba[i];
        return found;
    }
    return CONFIG_HBA_NO_LINE;
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

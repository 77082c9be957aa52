/* SPDX-License-Identifier: PostgreSQL
 *
 * config_hba: who may log in, from where and how (PostgreSQL's pg_hba.conf), and which names of the
 * outside world may be which users (pg_ident.conf).
 *
 * Pure; memory is the config's; any thread once the config is finished.
 * Source: PostgreSQL manual, chapter "Client Authentication".
 */
#ifndef CONFIG_HBA_H
#define CONFIG_HBA_H

#include "config.h"

enum {
    CONFIG_HBA_LINES_MAX = 4096,
    CONFIG_HBA_FILES_MAX = 256, /* @file, in all lines and in the files themselves */
    CONFIG_HBA_DEPTH_MAX = 10,
    CONFIG_IDENT_LINES_MAX = 4096,
    CONFIG_INTERFACES_MAX = 64
};

enum config_hba_type {
    CONFIG_HBA_LOCAL,
    CONFIG_HBA_HOST,
    CONFIG_HBA_HOSTSSL,
    CONFIG_HBA_HOSTNOSSL
};
enum config_hba_method {
    CONFIG_HBA_TRUST,
    CONFIG_HBA_REJECT,
    CONFIG_HBA_MD5,
    CONFIG_HBA_PASSWORD,
    CONFIG_HBA_SCRAM,
    CONFIG_HBA_CERT,
    CONFIG_HBA_PEER
};
enum config_hba_certificate {
    CONFIG_HBA_NO_CERTIFICATE,
    CONFIG_HBA_VERIFY_CA,  /* one that an authority of client_tls_ca_file signed */
    CONFIG_HBA_VERIFY_FULL /* ... and that names the user */
};

struct config_hba_name; /* a database or user as a line names it */
struct config_hba_address;

struct config_hba {
    uint32_t line;
    uint8_t type;        /* enum config_hba_type */
    uint8_t method;      /* enum config_hba_method */
    uint8_t certificate; /* enum config_hba_certificate; of cert: VERIFY_FULL */
    bool by_dn;          /* clientname=DN: the whole subject counts, not its common name */
    const char *map;     /* of pg_ident.conf; "": the names must be the same */
    const struct config_hba_name *databases, *users;
    uint32_t databases_count, users_count;
    const struct config_hba_address *address; /* NULL: local */
};

/* How files that a line names (@file) come in: their text, which free() takes. NULL: *ret_wrong
 * says why, until the next call. */
struct config_reader {
    char *(*read)(void *arg, const char *path, size_t *ret_size, const char **ret_wrong);
    void *arg;
};

/* Adds the lines of auth_hba_file to c->hba, and what is wrong with them to the problems. */
void config_parse_hba(struct config *c, const char *file, const char *text, size_t size,
                      const struct config_reader *files, struct config_problems *p);
/* Likewise auth_ident_file: MAP SYSTEM-USERNAME DATABASE-USERNAME a line. */
void config_parse_ident(struct config *c, const char *file, const char *text, size_t size,
                        struct config_problems *p);
/* An address of this machine, for samehost and samenet: 16 bytes each, IPv4 as ::ffff:a.b.c.d. */
void config_interface_add(struct config *c, const uint8_t address[16], const uint8_t mask[16]);
bool config_hba_wants_interfaces(const struct config *c);

/* The name of a client's address: what a reverse lookup says, and a forward lookup of that leads
 * back to the address. */
enum config_hba_host {
    CONFIG_HBA_HOST_UNKNOWN, /* not looked up yet */
    CONFIG_HBA_HOST_NONE,
    CONFIG_HBA_HOST_NAMED
};
struct config_hba_request {
    bool is_local; /* came by a Unix socket */
    bool is_tls;
    bool is_replication;
    enum config_hba_host host;
    const char *host_name; /* of CONFIG_HBA_HOST_NAMED */
    uint8_t address[16];   /* IPv4 as ::ffff:a.b.c.d */
    const char *database, *user;
    /* The roles of PostgreSQL that the user is a member of, itself among them: each with its NUL,
     * an empty one at the end. NULL: not looked up yet. */
    const char *roles;
};
enum config_hba_match {
    CONFIG_HBA_NO_LINE,
    CONFIG_HBA_MATCHED,
    CONFIG_HBA_WANTS_HOST, /* a line asks for the name: look it up and ask again */
    CONFIG_HBA_WANTS_ROLES /* ... for the roles */
};
/* The first line that this client matches: *ret, of CONFIG_HBA_MATCHED. */
enum config_hba_match config_hba_match(const struct config *c,
                                       const struct config_hba_request *request,
                                       const struct config_hba **ret);
/* May `system_name` (of a certificate or of the operating system) log in as `user`? */
bool config_ident_allows(const struct config *c, const char *map, const char *system_name,
                         const char *user);
/* Some client may be asked for a certificate: auth_type = cert, or a line of the hba file. */
bool config_wants_certificates(const struct config *c);

#endif

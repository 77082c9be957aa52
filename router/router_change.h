/* SPDX-License-Identifier: PostgreSQL
 *
 * router_change: what the statements of a text change about the settings of their session, one by
 * one, so that whoever keeps a session's settings can follow them.
 *
 * Pure; any thread. Cold path: parses the text, allocates; router_changes_free() gives it back.
 * Only for texts whose class has `changes`.
 */
#ifndef ROUTER_CHANGE_H
#define ROUTER_CHANGE_H

#include "router_setting.h"
#include "router_tree.h"

enum router_change_kind {
    ROUTER_CHANGE_SET,       /* name, text */
    ROUTER_CHANGE_RESET,     /* name: RESET, or SET ... TO DEFAULT */
    ROUTER_CHANGE_RESET_ALL, /* all but role and session_authorization */
    ROUTER_CHANGE_DISCARD_ALL,
    ROUTER_CHANGE_LOCAL,  /* until the transaction's end, of a setting that PARSES; text "": the
                             value is not known */
    ROUTER_CHANGE_COMMIT, /* a rollback, where the block has failed */
    ROUTER_CHANGE_ROLLBACK,
    ROUTER_CHANGE_SAVEPOINT, /* name */
    ROUTER_CHANGE_RELEASE,
    ROUTER_CHANGE_ROLLBACK_TO,
    ROUTER_CHANGE_DEALLOCATE, /* name, of a prepared statement; no rollback brings it back */
};

struct router_change {
    uint8_t kind;       /* enum router_change_kind */
    uint8_t flags;      /* SET: enum router_setting_flag bits */
    uint16_t parameter; /* SET: of which its value is, and no text yet; 0: of none */
    uint32_t statement; /* which one of the text's; the empty ones do not count */
    uint32_t end;       /* where its statement ends in the text; 0: it is the last one */
    uint32_t name;      /* offsets in texts, ended by NUL; names of settings in lower case */
    uint32_t text;      /* a statement that sets it again, comments and extra blanks left out */
};

enum { ROUTER_SPLICES_MAX = 8, ROUTER_CHANGES_MAX = 64, ROUTER_CHANGE_TEXT_MAX = 4096 };

struct router_changes {
    uint32_t count;
    uint32_t texts_size;
    uint32_t texts_room;
    char *texts;
    /* for whoever sends the text: statements that he put into it, in the order of what was sent */
    uint32_t splices_count;
    struct router_splice {
        uint32_t from, count; /* statements, as the server counts them */
        uint32_t at, size;    /* characters, as the server counts them */
    } splices[ROUTER_SPLICES_MAX];
    struct router_change items[ROUTER_CHANGES_MAX];
};

/* NULL: they cannot be followed. */
struct router_changes *router_changes_read(const char *text, size_t size);
/* One statement about a savepoint whose name is an unquoted word. NULL: no memory, or too long. */
struct router_changes *router_changes_savepoint(enum router_change_kind kind, const char *name,
                                                size_t name_size);
void router_changes_free(struct router_changes *changes);
/* What the parameter of the nth is; NULL: NULL, which resets. False: it cannot be followed, and is
 * a LOCAL one of unknown text now. */
bool router_change_set_value(struct router_changes *c, uint32_t nth, const char *value,
                             size_t size);

/* Can one statement (the object below its node's name) be followed? For the classifier, which pins
 * what cannot. */
bool router_change_set_known(const struct router_tree *tree, uint32_t set);
bool router_change_select_known(const struct router_tree *tree, uint32_t select);

#endif

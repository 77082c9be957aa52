/* SPDX-License-Identifier: PostgreSQL
 *
 * router_walk: visits every node below a statement and notes what makes it other than a read.
 *
 * Pure; any thread. What names stand for comes from the context; where that does not tell, and the
 * name alone does not, it is a write.
 */
#ifndef ROUTER_WALK_H
#define ROUTER_WALK_H

#include "router_classify.h"
#include "router_tree.h"

/* What was found so far; a verdict of more weight replaces one of less, the first of equals stays.
 */
struct router_finding {
    uint8_t verdict;
    uint8_t reason;
    bool by_node_type;
    bool writes;
    bool taints;
    bool changes_seed;
    bool uses_random;
    bool asks_sequence;  /* currval or lastval: what nextval left in the session */
    bool moves_sequence; /* nextval or setval */
    bool touches;        /* a relation or a function: what may be behind it is not in the text */
    bool home;           /* these two as in struct router_class */
    bool acts;
    bool opaque; /* these as in struct router_class */
    bool outside;
    bool keeps;
    bool changes_catalog;
    bool makes_names;
    bool cacheable;
    bool changes;        /* of the session's settings, or a savepoint: router_change.h */
    bool moves_database; /* DROP DATABASE and the like */
    bool names_prepared; /* EXECUTE x, PREPARE x */
    uint16_t pins;       /* enum router_pin bits */
    uint16_t asks;       /* ... that it may set free, wholly or in part */
};

enum router_walk_scope {
    ROUTER_WALK_READ,  /* a statement that may be a read: what is not on the list is a write */
    ROUTER_WALK_WRITE, /* a write anyway: what it leaves in the session counts */
    ROUTER_WALK_DDL,   /* the same, and a new temporary object pins */
    ROUTER_WALK_PLAN,  /* EXPLAIN that does not run it: only relations count */
};

/* How strong a word is about what a verdict is: pin, session, write, transaction, read, local. */
void router_finding_add(struct router_finding *f, enum router_verdict verdict,
                        enum router_reason reason);
/* As add(WRITE), where no hint helps. */
void router_finding_deny(struct router_finding *f, enum router_reason reason);

/* What may become a temporary object pins, and is not to be found by another. */
void router_walk_pin_temporary(struct router_finding *f);

/* Do the facts have nothing of the name of this relation, which is about to be made? */
bool router_walk_is_new(const struct router_tree *tree, uint32_t relation,
                        const struct router_context *names);

/* Visits all nodes below `statement`. */
void router_walk(const struct router_tree *tree, uint32_t statement, enum router_walk_scope scope,
                 const struct router_context *names, struct router_finding *f);

#endif

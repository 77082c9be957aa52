/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog: what the names of each database on the servers stand for: asked for by one worker
 * at a time, on the primary, as the pools of its groups would log in; the others take over what it
 * was told. Published to the session core as struct core_catalog. The worker's thread; nothing
 * blocks.
 *
 * It is asked for when a database's first group is made (at start where the credentials are the
 * configuration's), at once when its catalog has changed, after a while when it may have, and every
 * catalog_interval. Until an answer is there, and after one that failed, the core takes every name
 * for the worst, or believes what it knew if nothing has changed.
 */
#ifndef PROXY_CATALOG_H
#define PROXY_CATALOG_H

#include "proxy_ask_link.h"
#include "proxy_worker.h"

/* Of this group's database; made if need be. Also when the configuration has changed. */
void catalog_join(struct worker *w, struct group *g);
/* Databases whose credentials are fixed: before there is a client. */
void catalogs_begin(struct worker *w);
/* Once a turn of the loop: one of them is looked at, whether its facts still hold. */
void catalogs_turn(struct worker *w);
void catalogs_tick(struct worker *w, uint64_t now_ns);
/* Woken: log-ins wait for a look, perhaps. */
void catalogs_look(struct worker *w, uint64_t now_ns);
/* PAUSE and RECONNECT: no connection of ours is in the way of what they are for. */
void catalogs_obey(struct worker *w);
void catalogs_stop(struct worker *w);
void catalogs_destroy(struct worker *w); /* no group is used any more */

/* proxy_catalog_facts.c. False: this is no answer to the question, or there is no memory for it. */
bool catalog_answer_read(const PGresult *result, struct catalog_answer *ret);

extern const char catalog_question[]; /* proxy_catalog.sql */
/* What goes ahead of it on its connection: the search_path that a session begins with is remembered
 * for the question, and its own names are PostgreSQL's. */
#define CATALOG_QUESTION_PRELUDE                             \
    "SELECT pg_catalog.set_config('switchgear.search_path'," \
    "pg_catalog.current_setting('search_path'),false),"      \
    "pg_catalog.set_config('search_path','pg_catalog',false)"
/* For the start-up packet of a connection that asks it. */
#define CATALOG_QUESTION_SETTINGS                                                             \
    "-c default_transaction_read_only=on -c statement_timeout=20000 "                         \
    "-c lock_timeout=2000 -c max_parallel_workers_per_gather=0 -c client_min_messages=error " \
    "-c jit=off -c enable_mergejoin=off -c work_mem=6MB -c hash_mem_multiplier=1"

#endif

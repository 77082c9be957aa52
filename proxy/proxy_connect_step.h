/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_connect_step: one step of libpq's connecting, PQconnectPoll(), on a thread of libuv's pool.
 *
 * Purpose: the proof of a SCRAM password is 4,096 rounds of HMAC and more, some 5 ms, and a TLS
 * handshake checks signatures. On a worker's own thread every client of the worker waited for it.
 *
 * Shape: between connect_step_begin() and `done` the connection belongs to the step: nobody else
 * touches it. libpq may close its descriptor meanwhile, and the number may be another connection's
 * by the time `done` runs: whoever watches the descriptor stops before the step begins.
 *
 * Thread: all functions and callbacks run on the loop's thread; only PQconnectPoll() does not.
 *
 * Ownership: the step is freed before `done` runs, or after connect_step_abandon() by itself.
 *
 * Source: PostgreSQL 15, chapter 34.1 (PQconnectPoll); RFC 5802, section 3 (Hi()).
 */
#ifndef SWITCHGEAR_PROXY_CONNECT_STEP_H
#define SWITCHGEAR_PROXY_CONNECT_STEP_H

#include <libpq-fe.h>
#include <uv.h>

struct connect_step;

typedef void connect_step_done(void *data, PostgresPollingStatusType status);
typedef void connect_step_gone(PGconn *conn, void *data);

/* Takes the next step. `done` gets `data` and what PQconnectPoll() returned. */
struct connect_step *connect_step_begin(uv_loop_t *loop, PGconn *conn, connect_step_done *done,
                                        void *data);

/* `done` is called no more. The connection is the step's from now on: when its thread has let go
 * of it `gone` (may be NULL) is called with `data`, then PQfinish(). */
void connect_step_abandon(struct connect_step *step, connect_step_gone *gone, void *data);

#endif

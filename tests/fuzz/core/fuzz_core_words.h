/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_core_words: whole messages of clients and servers, so that the fuzzer need not find their
 * lengths.
 */
#ifndef FUZZ_CORE_WORDS_H
#define FUZZ_CORE_WORDS_H

#include "proto_frame.h"

#define ZEROS_100                                        \
    "00000000000000000000000000000000000000000000000000" \
    "00000000000000000000000000000000000000000000000000"

#define BYTES(text)                                       \
    {                                                     \
        .base = (const uint8_t *)(text), sizeof(text) - 1 \
    }

static const struct proto_span client_says[] = {
    BYTES("Q\0\0\0\x0dSELECT 1\0"),
    BYTES("Q\0\0\0\x19INSERT INTO t SELECT\0"),
    BYTES("Q\0\0\0\x0a"
          "BEGIN\0"),
    BYTES("Q\0\0\0\x0b"
          "COMMIT\0"),
    BYTES("P\0\0\0\x10\0SELECT 1\0\0\0"),
    BYTES("P\0\0\0\x11x\0SELECT 1\0\0\0"),
    BYTES("P\0\0\0\x11y\0SELECT 2\0\0\0"),
    BYTES("P\0\0\0\x25\0INSERT INTO t VALUES (1, 1, 1)\0\0\0"),
    BYTES("B\0\0\0\x0c\0\0\0\0\0\0\0\0"),
    BYTES("B\0\0\0\x0d\0x\0\0\0\0\0\0\0"),
    BYTES("B\0\0\0\x0d\0y\0\0\0\0\0\0\0"),
    BYTES("D\0\0\0\x06P\0"),
    BYTES("D\0\0\0\x07Sx\0"),
    BYTES("E\0\0\0\x09\0\0\0\0\0"),
    BYTES("C\0\0\0\x07Sx\0"),
    BYTES("C\0\0\0\x06S\0"),
    BYTES("S\0\0\0\x04"),
    BYTES("H\0\0\0\x04"),
    BYTES("d\0\0\0\x08"
          "ABCD"),
    BYTES("c\0\0\0\x04"),
    BYTES("f\0\0\0\x05\0"),
    BYTES("X\0\0\0\x04"),
    BYTES("F\0\0\0\x0c\0\0\0\1\0\0\0\0"),
    BYTES("Q\0\0\0\x10"
          "DISCARD ALL\0"),
    BYTES("Q\0\0\0\x0dSET a=1;\0"),
    BYTES("Q\0\0\0\x1fSHOW switchgear.last_route\0"),
    BYTES("P\0\0\0\x22\0SHOW switchgear.last_route\0\0\0"),
    BYTES("Q\0\0\0\x14"
          "BEGIN READ ONLY\0"),
    BYTES("Q\0\0\0\x0dROLLBACK\0"),
    BYTES("Q\0\0\0\x11"
          "DEALLOCATE x\0"),
    BYTES("Q\0\0\0\x05\0"),
    BYTES("Q\0\0\0\x24SET switchgear.route = 'replica'\0"),
    BYTES("Q\0\0\0\x12SELECT f(1), 2\0"),
    BYTES("Q\0\0\0\x17"
          "COPY t FROM STDIN;\0"),
    BYTES("Q\0\0\0\x11"
          "LISTEN chan;\0"),
    BYTES("Q\0\0\0\x0e"
          "EXECUTE x\0"),
    BYTES("Q\0\0\0\x1a"
          "PREPARE x AS SELECT 1\0"),
    BYTES("Q\0\0\0\x12"
          "UNLISTEN chan\0"),
    BYTES("Q\0\0\0\x1f"
          "SELECT pg_advisory_lock(1)\0"),
    BYTES("Q\0\0\0\x21"
          "SELECT pg_advisory_unlock(1)\0"),
    BYTES("Q\0\0\0\x11"
          "DROP TABLE x\0"),
    BYTES("Q\0\0\0\x20"
          "CREATE TEMP TABLE x (a int)\0"),
    BYTES("P\0\0\0\x11\0"
          "EXECUTE x\0\0\0"),
    BYTES("Q\0\0\0\x10"
          "SAVEPOINT a\0"),
    BYTES("Q\0\0\0\x12"
          "ROLLBACK TO a\0"),
    BYTES("Q\0\0\0\x17"
          "ROLLBACK; SELECT 1\0"),
    BYTES("Q\0\0\0\x15"
          "COMMIT AND CHAIN\0"),
    BYTES("Q\0\0\0\x1e"
          "SET LOCAL search_path = a\0"),
    BYTES("Q\0\0\0\x0e"
          "RESET ALL\0"),
    BYTES("P\0\0\0\x0d\0"
          "BEGIN\0\0\0"),
    BYTES("P\0\0\0\x0e\0"
          "COMMIT\0\0\0"),
    BYTES("P\0\0\0\x1b\0"
          "SET search_path = a\0\0\0"),
    BYTES("P\0\0\0\x19\0"
          "COPY t FROM STDIN\0\0\0"),
    BYTES("B\0\0\0\x0dp\0\0\0\0\0\0\0\0"), /* a portal that has a name */
    BYTES("B\0\0\0\x0eq\0x\0\0\0\0\0\0\0"),
    BYTES("D\0\0\0\x07Pp\0"),
    BYTES("E\0\0\0\x0ap\0\0\0\0\0"),
    BYTES("E\0\0\0\x0aq\0\0\0\0\1"),
    BYTES("E\0\0\0\x09\0\0\0\0\1"),
    BYTES("C\0\0\0\x07Pp\0"),
    BYTES("P\0\0\0\xd9\0SELECT '" ZEROS_100), /* in two pieces, too long to wait for */
    BYTES(ZEROS_100 "'\0\0\0"),
    BYTES("Q\0\0\0\x31ROLLBACK; BEGIN; SET search_path = a; COMMIT\0"),
    BYTES("Q\0\0\0\x2bSET search_path = a; INSERT INTO t 1/0\0"),
    BYTES("P\0\0\0\x15\0DEALLOCATE x;\0\0\0"),
};

/* Sent as a Query, or as the Parse of the unnamed statement: what moves, pins, sets and ends. */
static const char *const client_texts[] = {
    "SET LOCAL standard_conforming_strings = off",
    "SET LOCAL client_encoding = 'SJIS'",
    "SET LOCAL role = a",
    "SET LOCAL work_mem = '1MB'",
    "SET LOCAL seed = 0.5",
    "SET LOCAL a.b = 'c'",
    "SET LOCAL SESSION AUTHORIZATION a",
    "SET LOCAL search_path TO DEFAULT",
    "SET LOCAL search_path FROM CURRENT",
    "SET LOCAL default_transaction_read_only = on",
    "SET LOCAL transaction_read_only = off",
    "SET LOCAL switchgear.consistency = 'global'",
    "SET LOCAL switchgear.route = 'replica'",
    "SET standard_conforming_strings = off",
    "RESET standard_conforming_strings",
    "SET default_transaction_read_only = on",
    "SET default_transaction_isolation = 'serializable'",
    "SET client_encoding = 'UTF8'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET SESSION AUTHORIZATION a",
    "RESET SESSION AUTHORIZATION",
    "SET ROLE a",
    "SET seed = 0.5",
    "SET a.b = 'c'",
    "SET switchgear.consistency = 'eventual'",
    "SET switchgear.consistency = 'bounded'",
    "SET switchgear.consistency = 'session'",
    "SET switchgear.consistency = 'global'",
    "SET switchgear.consistency = 'primary'",
    "SET switchgear.route = 'primary'",
    "SET switchgear.route = 'auto'",
    "SET switchgear.max_lag = '1ms'",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "BEGIN READ WRITE",
    "START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
    "SET TRANSACTION READ ONLY",
    "SET TRANSACTION READ WRITE",
    "SET TRANSACTION SNAPSHOT 'x'",
    "SET CONSTRAINTS ALL DEFERRED",
    "BEGIN; SET LOCAL role = a",
    "BEGIN; SELECT 1",
    "SELECT 1; SELECT 2",
    "SET LOCAL role = a; SELECT 1",
    "SELECT 1; COMMIT; SELECT 2",
    "COMMIT; BEGIN",
    "ROLLBACK AND CHAIN",
    "RELEASE a",
    "SAVEPOINT a; SET search_path = b",
    "PREPARE TRANSACTION 'a'",
    "COMMIT PREPARED 'a'",
    "DEALLOCATE ALL",
    "RESET search_path",
    "DISCARD TEMP",
    "DISCARD SEQUENCES",
    "SELECT set_config('search_path', 'a', true)",
    "SELECT set_config('role', 'a', false)",
    "SELECT set_config('standard_conforming_strings', 'off', true)",
    "SELECT set_config(x, y, true)",
    "SELECT nextval('s')",
    "SELECT currval('s')",
    "SELECT setseed(0.5), random()",
    "SELECT random()",
    "SELECT pg_export_snapshot()",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_terminate_backend(5000000)",
    "SELECT 1 FOR UPDATE",
    "SELECT 1 INTO TEMP t",
    "DECLARE c CURSOR FOR SELECT 1",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "FETCH 1 FROM c",
    "CLOSE c",
    "CLOSE ALL",
    "EXPLAIN ANALYZE EXECUTE x",
    "CREATE TABLE t AS EXECUTE x",
    "EXPLAIN (ROUTE) SELECT 1",
    "LOAD 'x'",
    "LOCK TABLE t",
    "NOTIFY c",
    "CALL p()",
    "DO 'x'",
    "CHECKPOINT",
    "DROP DATABASE d",
    "SELEC 1",
    "/* switchgear: route=replica */ SELECT f(1)",
    "SET switchgear.route = 'replica'", /* f and what is below are in the facts */
    "SELECT opaque()",
    "SELECT runs()",
    "SELECT opaque(), runs() FROM foreign_table",
    "SELECT * FROM foreign_table",
    "INSERT INTO foreign_table SELECT runs()",
    "/* switchgear: route=replica */ SELECT opaque()",
    "DECLARE c CURSOR FOR SELECT opaque()",
    "PREPARE x AS SELECT opaque()",
    "BEGIN READ ONLY; SELECT opaque()",
    "DO 'opaque()'",
    "/* switchgear: route=primary */ SELECT 1",
    "SELECT pg_cancel_backend(5000000)",
    "SELECT pg_cancel_backend(5000001)", /* its own number */
    "SELECT pg_terminate_backend($1)",
};

static const struct proto_span servers_say[] = {
    BYTES("1\0\0\0\4"),
    BYTES("2\0\0\0\4"),
    BYTES("3\0\0\0\4"),
    BYTES("n\0\0\0\4"),
    BYTES("t\0\0\0\6\0\0"),
    BYTES("T\0\0\0\6\0\0"),
    BYTES("D\0\0\0\6\0\0"),
    BYTES("C\0\0\0\x0dSELECT 1\0"),
    BYTES("I\0\0\0\4"),
    BYTES("s\0\0\0\4"),
    BYTES("Z\0\0\0\5I"),
    BYTES("Z\0\0\0\5T"),
    BYTES("Z\0\0\0\5E"),
    BYTES("G\0\0\0\7\0\0\0"),
    BYTES("H\0\0\0\7\0\0\0"),
    BYTES("c\0\0\0\4"),
    BYTES("E\0\0\0\x13SERROR\0C42601\0\0"),
    BYTES("E\0\0\0\x13SFATAL\0C57P01\0\0"),
    BYTES("E\0\0\0\x2dSERROR\0C25006\0RPreventCommandIfReadOnly\0\0"),
    BYTES("E\0\0\0\x13SERROR\0C40001\0\0"),
    BYTES("N\0\0\0\x0fSNOTICE\0M\0\0"),
    BYTES("S\0\0\0\x08"
          "a\0b\0"),
    BYTES("1\0\0\0\4"
          "2\0\0\0\4T\0\0\0\6\0\0D\0\0\0\6\0\0C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("T\0\0\0\6\0\0D\0\0\0\6\0\0C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("T\0\0\0\6\0\0"
          "D\0\0\0\x1f\0\5"
          "\0\0\0\1f\0\0\0\1f\0\0\0\1f\0\0\0\1f\0\0\0\1f"
          "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("T\0\0\0\6\0\0"
          "D\0\0\0\x1f\0\5"
          "\0\0\0\1f\0\0\0\1t\0\0\0\1f\0\0\0\1f\0\0\0\1f"
          "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("T\0\0\0\6\0\0" /* what is left: nothing, a lock, what nobody can take back, settings */
          "D\0\0\0\x15\0\2\0\0\0\0\0\0\0\7fffffff"
          "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("T\0\0\0\6\0\0"
          "D\0\0\0\x15\0\2\0\0\0\0\0\0\0\7ftfffff"
          "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("T\0\0\0\6\0\0"
          "D\0\0\0\x15\0\2\0\0\0\0\0\0\0\7fffffft"
          "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
    BYTES("T\0\0\0\6\0\0"
          "D\0\0\0\x13\0\2\0\0\0\4role\0\0\0\1a"
          "D\0\0\0\x19\0\2\0\0\0\x0bsearch_path\0\0\0\0"
          "D\0\0\0\x15\0\2\0\0\0\0\0\0\0\7fffffff"
          "C\0\0\0\x0dSELECT 3\0Z\0\0\0\5I"),
    BYTES("S\0\0\0\x24standard_conforming_strings\0off\0"),
    BYTES("S\0\0\0\x17in_hot_standby\0off\0"),
    BYTES("S\0\0\0\x19"
          "client_encoding\0SJIS\0"),
    BYTES("C\0\0\0\x0a"
          "BEGIN\0"),
    BYTES("C\0\0\0\x0b"
          "COMMIT\0"),
    BYTES("C\0\0\0\x0dROLLBACK\0"),
    BYTES("C\0\0\0\x08SET\0Z\0\0\0\5T"),
    BYTES("C\0\0\0\x08SET\0Z\0\0\0\5I"),
    BYTES("E\0\0\0\x13SERROR\0C42601\0\0Z\0\0\0\5E"),
    BYTES("E\0\0\0\x13SERROR\0C26000\0\0"),
    BYTES("E\0\0\0\x13SERROR\0C57014\0\0"),
    BYTES("E\0\0\0\x2aSERROR\0C0A000\0RRevalidateCachedQuery\0\0"),
};

#endif

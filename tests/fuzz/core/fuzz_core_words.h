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
};

#endif

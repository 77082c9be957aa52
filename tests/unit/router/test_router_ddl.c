/* SPDX-License-Identifier: PostgreSQL
 *
 * Which DDL leaves standing what is known of names.
 */
#include "router_objects.h"

static void what_changes_names_is_told(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"CREATE TABLE nowhere (a int)", WRITE(DDL), "twxhm"},
        {"CREATE VIEW v AS SELECT 1", WRITE(DDL), "twxhm"},
        {"CREATE TABLE t (a int)", WRITE(DDL), "twc"}, /* in another schema, perhaps */
        {"CREATE TABLE nowhere PARTITION OF t DEFAULT", WRITE(DDL), "twxhm"},
        {"CREATE TABLE nowhere () INHERITS (t)", WRITE(DDL), "twxhm"},
        {"ALTER TABLE t ENABLE ROW LEVEL SECURITY", WRITE(DDL), "twc"},
        {"DROP FUNCTION volatile_f", WRITE(DDL), "twm"},
        {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'", WRITE(DDL), "twc"},
        {"CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()", WRITE(DDL), "twc"},
        {"CREATE POLICY p ON t USING (true)", WRITE(DDL), "twc"},
        {"CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x", WRITE(DDL), "twc"},
        {"CREATE EXTENSION hstore", WRITE(DDL), "twc"},
        {"IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", WRITE(DDL), "twc"},
        {"ALTER TABLE t ATTACH PARTITION u DEFAULT", WRITE(DDL), "twc"},
        {"ALTER TABLE t RENAME TO x", WRITE(DDL), "twc"},
        {"ALTER ROLE a SET app.x = 'y'", WRITE(DDL), "twc"},
        {"SELECT * INTO u FROM t", WRITE(SELECT_INTO), "wc"},
        {"SELECT * INTO x FROM t", WRITE(SELECT_INTO), "wm"},
        {"CREATE TABLE x AS SELECT * FROM t", WRITE(DDL), "twxhm"},
        {"BEGIN; DROP TABLE t; COMMIT", WRITE(DDL), "twm"},
        {"CREATE TEMP TABLE x (a int)", PIN(TEMP_TABLE), "tw"},
        {"CREATE TEMP TABLE x (a int) ON COMMIT DROP", WRITE(DDL), "tw"},
        {"VACUUM t", WRITE(UTILITY), "twh"},
    };
    CHECK(rows, STRICT);
}

static void what_leaves_names_alone_is_told_too(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"COMMENT ON TABLE t IS 'x'", WRITE(DDL), "tw"},
        {"REASSIGN OWNED BY a TO b", WRITE(DDL), "tw"},
        {"GRANT SELECT ON t TO a", WRITE(DDL), "tw"},
        {"REVOKE a FROM b", WRITE(DDL), "tw"},
        {"REFRESH MATERIALIZED VIEW t", WRITE(DDL), "tw"},
        {"SECURITY LABEL ON TABLE t IS 'x'", WRITE(DDL), "tw"},
        {"CREATE ROLE a", WRITE(DDL), "tw"},
        {"ALTER ROLE a PASSWORD 'b'", WRITE(DDL), "tw"},
        {"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO a", WRITE(DDL), "tw"},
        {"ALTER SEQUENCE tickets RESTART", WRITE(DDL), "twh"},
        {"ALTER TYPE mood ADD VALUE 'x'", WRITE(DDL), "tw"},
        {"ALTER TABLE t OWNER TO a", WRITE(DDL), "tw"},
        {"CREATE STATISTICS s ON a, b FROM t", WRITE(DDL), "tw"},
        {"CREATE SCHEMA s", WRITE(DDL), "tw"},
        {"CREATE SCHEMA s CREATE TABLE t (a int)", WRITE(DDL), "twc"},
        {"CREATE SEQUENCE nowhere", WRITE(DDL), "twxhm"},
        {"CREATE SEQUENCE t", WRITE(DDL), "twc"},
        {"DROP OWNED BY a", WRITE(DDL), "twm"},
        /* indexes: whoever writes the table runs their expressions */
        {"CREATE INDEX CONCURRENTLY i ON t (a, abs(b)) WHERE a > 0", WRITE(DDL), "tw"},
        {"CREATE UNIQUE INDEX ON t (a text_pattern_ops)", WRITE(DDL), "tw"},
        {"CREATE INDEX i ON t (stable_f(a))", WRITE(DDL), "twc"},
        {"CREATE INDEX i ON t (a) WHERE a @@@ 1", WRITE(DDL), "twhc"},
        {"CREATE INDEX i ON t ((a::checked))", WRITE(DDL), "twhc"},
        /* columns, their defaults and constraints */
        {"ALTER TABLE t ADD a int NOT NULL DEFAULT 5, ADD b text[] DEFAULT '{}'::text[]",
         WRITE(DDL), "tw"},
        {"ALTER TABLE t ADD a timestamptz DEFAULT now()", WRITE(DDL), "tw"},
        {"ALTER TABLE t ADD a mood, ADD b varchar(5) UNIQUE CHECK (b > '')", WRITE(DDL), "tw"},
        {"ALTER TABLE t ADD a int DEFAULT volatile_f()", WRITE(DDL), "twhc"},
        {"ALTER TABLE t ADD a int CHECK (stable_f(a) > 0)", WRITE(DDL), "twc"},
        {"ALTER TABLE t ADD a checked", WRITE(DDL), "twhc"},
        {"ALTER TABLE t ADD a unheard_of", WRITE(DDL), "twxhc"},
        {"ALTER TABLE t ADD a serial", WRITE(DDL), "twxhc"},
        {"ALTER TABLE t ADD a int GENERATED ALWAYS AS IDENTITY", WRITE(DDL), "twc"},
        {"ALTER TABLE t ADD a int REFERENCES u ON DELETE CASCADE", WRITE(DDL), "twc"},
        {"ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u", WRITE(DDL), "twc"},
        {"ALTER TABLE t ADD EXCLUDE USING gist (a WITH =)", WRITE(DDL), "twc"},
        {"ALTER TABLE t ADD PRIMARY KEY (a), ADD CHECK (a + 1 < 3)", WRITE(DDL), "twxhc"}, /* < */
        {"ALTER TABLE t ADD PRIMARY KEY (a), ADD CHECK (a + 1 = 3)", WRITE(DDL), "tw"},
        {"ALTER TABLE t DROP a, ALTER b SET NOT NULL, ALTER c SET STATISTICS 5", WRITE(DDL), "tw"},
        {"ALTER TABLE t ALTER c SET DEFAULT random()", WRITE(DDL), "tw"},
        {"ALTER TABLE t ALTER c SET DEFAULT dark_f()", WRITE(DDL), "twohc"},
        {"ALTER TABLE t ALTER c TYPE text", WRITE(DDL), "twc"},
        {"ALTER TABLE t DROP CONSTRAINT x, VALIDATE CONSTRAINT y", WRITE(DDL), "tw"},
        {"ALTER TABLE t DETACH PARTITION u", WRITE(DDL), "tw"},
        {"ALTER TABLE t DISABLE TRIGGER ALL", WRITE(DDL), "tw"},
        {"ALTER TABLE t ENABLE TRIGGER ALL", WRITE(DDL), "twc"},
        {"ALTER TABLE t SET UNLOGGED", WRITE(DDL), "twc"},
        {"ALTER TABLE t INHERIT u", WRITE(DDL), "twc"},
        {"ALTER TABLE t DROP a, ENABLE ROW LEVEL SECURITY", WRITE(DDL), "twc"},
        {"ALTER VIEW plain_view ALTER a SET DEFAULT 1", WRITE(DDL), "twc"},
        {"ALTER TABLE t RENAME a TO b", WRITE(DDL), "tw"},
        {"ALTER INDEX t RENAME TO b", WRITE(DDL), "tw"},
        {"ALTER FUNCTION stable_f RENAME TO b", WRITE(DDL), "twc"},
        {"ALTER TABLE t SET SCHEMA b", WRITE(DDL), "twc"},
        /* children are read and written with their parents */
        {"CREATE UNLOGGED TABLE nowhere PARTITION OF t DEFAULT", WRITE(DDL), "twxhc"},
        {"CREATE TABLE nowhere PARTITION OF t (a DEFAULT volatile_f()) DEFAULT", WRITE(DDL),
         "twxhc"},
        {"CREATE FOREIGN TABLE nowhere PARTITION OF t DEFAULT SERVER s", WRITE(DDL), "twxhc"},
        {"CREATE TABLE nowhere (a int REFERENCES u ON UPDATE CASCADE)", WRITE(DDL), "twxhm"},
        {"CREATE TABLE nowhere (a int REFERENCES u ON UPDATE CASCADE CHECK (stable_f(a) > 0))",
         WRITE(DDL), "twxhc"},
    };
    CHECK(rows, STRICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changes_names_is_told),
        cmocka_unit_test(what_leaves_names_alone_is_told_too),
    };
    return cmocka_run_group_tests_name("router_ddl", tests, set_up, tear_down);
}

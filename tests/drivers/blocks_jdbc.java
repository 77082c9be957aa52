/* SPDX-License-Identifier: PostgreSQL */
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;

/** Blocks as JDBC opens them: BEGIN and the first statement in one batch, both named in time.
 *  Comments in the statements say where each should run; test_blocks.py asks the servers. */
class Blocks {
    static Connection connect(String... more) throws SQLException
    {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?sslmode=disable&user=" + System.getenv("PGUSER");
        for (String one : more)
            url += "&" + one;
        Connection c = DriverManager.getConnection(url);
        c.setAutoCommit(false);
        return c;
    }

    static String ask(Connection c, String sql, int value, int rows) throws SQLException
    {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            s.setInt(1, value);
            s.setMaxRows(rows);
            if (!s.execute())
                return String.valueOf(s.getUpdateCount());
            try (ResultSet r = s.getResultSet()) {
                return r.next() ? r.getString(1) : null;
            }
        }
    }

    static void expect(Object got, Object wanted)
    {
        if (!String.valueOf(got).equals(String.valueOf(wanted)))
            throw new AssertionError(got + ", not " + wanted);
    }

    static void reads() throws SQLException
    {
        try (Connection c = connect()) {
            for (int i = 0; i < 12; i++) { /* from the fifth on by name, with its BEGIN */
                expect(ask(c, "select count(*) from t where id > ? /*jdbc-far*/", i, 0), 100 - i);
                expect(ask(c, "select id from t where id > ? order by id /*jdbc-far*/", i, 1), i + 1);
                Savepoint one = c.setSavepoint();
                expect(ask(c, "select ? /*jdbc-far*/", i, 0), i);
                c.rollback(one);
                c.releaseSavepoint(c.setSavepoint("two"));
                expect(ask(c, "select -? /*jdbc-far*/", i, 0), -i);
                if (i % 3 == 0)
                    c.rollback();
                else
                    c.commit();
            }
        }
    }

    static void moves() throws SQLException
    {
        for (int i = 0; i < 7; i++) {
            try (Connection c = connect("prepareThreshold=2")) {
                for (int n = 0; n < 3; n++) { /* named before they are known on the primary */
                    expect(ask(c, "select count(*) from t where id > ? /*jdbc-far*/", n, 0), 100 - n);
                    c.commit();
                }
                expect(ask(c, "select count(*) from t where id > ? /*jdbc-first*/", 9, 0), 91);
                Savepoint one = c.setSavepoint();
                expect(ask(c, "update t set v = ? where id = 20", i, 0), 1);
                expect(ask(c, "select v from t where id = ? /*jdbc-near*/", 20, 1), i);
                c.rollback(one);
                expect(ask(c, "update t set v = v + ? where id = 21 /*jdbc-near*/", 1, 0), 1);
                expect(ask(c, "select count(*) from t where id > ? /*jdbc-near*/", 9, 0), 91);
                c.commit();
            }
        }
    }

    static void stays() throws SQLException
    {
        try (Connection c = connect()) {
            c.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            expect(ask(c, "select ? /*jdbc-near*/", 1, 0), 1);
            c.commit();
            c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            try (PreparedStatement s = c.prepareStatement("select id from t /*jdbc-near*/")) {
                s.setFetchSize(7); /* a portal that has a name */
                int sum = 0;
                try (ResultSet r = s.executeQuery()) {
                    while (r.next())
                        sum += r.getInt(1);
                }
                expect(sum, 5050);
            }
            c.rollback();
        }
        try (Connection c = connect("readOnlyMode=always")) {
            c.setReadOnly(true);
            expect(ask(c, "select ? /*jdbc-declared*/", 1, 0), 1);
            try (Statement s = c.createStatement()) {
                s.execute("update t set v = 0 where id = 22");
                throw new AssertionError("a READ ONLY block has written");
            } catch (SQLException error) {
                expect(error.getSQLState(), "25006");
            }
            c.rollback();
        }
    }

    public static void main(String[] arguments) throws SQLException
    {
        reads();
        moves();
        stays();
    }
}

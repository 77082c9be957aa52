/* SPDX-License-Identifier: PostgreSQL */
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;

import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;

import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

/** The features of the driver matrix through JDBC; the connection comes from libpq's variables. */
class Drive {
    static final int READS = 40, WRITES = 100, TIMES = 30;
    static final String TABLE = System.getenv("DRIVER_TABLE");

    interface Feature {
        void run() throws Exception;
    }

    static void report(String feature, String ok, String detail)
    {
        String text = detail.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ");
        System.out.printf("{\"feature\": \"%s\", \"ok\": %s, \"detail\": \"%s\"}%n", feature, ok, text);
        System.out.flush();
    }

    static void feature(String name, Feature feature)
    {
        try {
            feature.run();
            report(name, "true", "");
        } catch (Throwable error) {
            String line = "";
            for (StackTraceElement e : error.getStackTrace())
                if (e.getClassName().startsWith("Drive"))
                    line += " " + e.getLineNumber();
            report(name, "false", error + " (lines" + line + ")");
        }
    }

    static void expect(Object got, Object wanted)
    {
        if (!String.valueOf(got).equals(String.valueOf(wanted)))
            throw new AssertionError(got + ", not " + wanted);
    }

    static Connection connect(String... more) throws SQLException
    {
        Properties p = new Properties();
        p.setProperty("user", System.getenv("PGUSER"));
        p.setProperty("password", System.getenv("PGPASSWORD"));
        p.setProperty("sslmode", System.getenv("PGSSLMODE"));
        if (System.getenv("PGSSLROOTCERT") != null)
            p.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        for (int i = 0; i < more.length; i += 2)
            p.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":"
            + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), p);
    }

    static String ask(Connection c, String sql, Object... values) throws SQLException
    {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++)
                s.setObject(i + 1, values[i]);
            if (!s.execute())
                return String.valueOf(s.getUpdateCount());
            try (ResultSet r = s.getResultSet()) {
                return r.next() ? r.getString(1) : null;
            }
        }
    }

    static void expectState(Connection c, String state, String sql, Object... values)
    {
        try {
            ask(c, sql, values);
        } catch (SQLException error) {
            expect(error.getSQLState(), state);
            return;
        }
        throw new AssertionError("no " + state + ": " + sql);
    }

    static void testConnect() throws SQLException
    {
        try (Connection c = connect()) {
            expect(ask(c, "select 1"), "1");
            expect(c.isValid(5), true);
            expect(c.getMetaData().getDatabaseMajorVersion() >= 10, true);
        }
        try {
            connect("password", "wrong");
        } catch (SQLException error) {
            expect(error.getSQLState(), "28P01");
            return;
        }
        throw new AssertionError("a wrong password was taken");
    }

    static void testAutocommit() throws SQLException
    {
        try (Connection c = connect()) {
            expect(ask(c, "insert into " + TABLE + " values (?, ?)", 1, "one"), "1");
            expect(ask(c, "select v from " + TABLE + " where id = ?", 1), "one");
            expect(ask(c, "delete from " + TABLE), "1");
            expect(ask(c, "select count(*) from " + TABLE), "0");
        }
    }

    static void insert(Connection c, int id, String v) throws SQLException
    {
        ask(c, "insert into " + TABLE + " values (?, ?)", id, v);
    }

    static void testTransactions() throws SQLException
    {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            insert(c, 10, "kept");
            c.commit();
            insert(c, 11, "dropped");
            c.rollback();
            insert(c, 12, "kept");
            Savepoint s = c.setSavepoint();
            insert(c, 13, "dropped");
            c.rollback(s);
            insert(c, 14, "kept");
            c.commit();
            expect(ask(c, "select string_agg(id::text, ',' order by id) from " + TABLE
                + " where id between 10 and 19"), "10,12,14");
            c.commit();
            c.setReadOnly(true);
            c.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            try (Statement cursor = c.createStatement()) {
                cursor.setFetchSize(50); /* a portal that is fetched piece by piece */
                int count = 0;
                for (ResultSet r = cursor.executeQuery("select generate_series(1, 500)"); r.next();)
                    count++;
                expect(count, 500);
            }
            c.commit();
        }
    }

    static void testPrepared() throws SQLException
    {
        try (Connection c = connect("prepareThreshold", "3");
             PreparedStatement plus = c.prepareStatement("select ?::int + 1");
             PreparedStatement put = c.prepareStatement("insert into " + TABLE + " values (?, ?)")) {
            for (int i = 0; i < TIMES; i++) {
                c.setAutoCommit(i % 10 != 0);
                plus.setInt(1, i);
                try (ResultSet r = plus.executeQuery()) {
                    expect(r.next() && r.getInt(1) == i + 1, true);
                }
                put.setInt(1, 100 + i);
                put.setString(2, "prepared");
                expect(put.executeUpdate(), 1);
                if (i % 10 == 0)
                    c.commit();
            }
            c.setAutoCommit(true);
            expect(((org.postgresql.PGStatement) plus).isUseServerPrepare(), true);
            expect(ask(c, "select count(*) from " + TABLE + " where v = ?", "prepared"), TIMES);
        }
        try (Connection c = connect("prepareThreshold", "1", "preparedStatementCacheQueries", "5")) {
            for (int i = 0; i < 20; i++) /* more than it keeps: it closes the oldest */
                for (int j = 0; j < 3; j++)
                    expect(ask(c, "select ?::int + " + i, 1), 1 + i);
        }
    }

    static void testPipeline() throws SQLException
    {
        try (Connection c = connect();
             PreparedStatement put = c.prepareStatement("insert into " + TABLE
                 + " values (?, 'batch')")) {
            for (int i = 0; i < 600; i++) {
                put.setInt(1, 1000 + i);
                put.addBatch();
            }
            expect(put.executeBatch().length, 600);
            c.setAutoCommit(false);
            for (int id : new int[] {2000, 1000, 2001}) {
                put.setInt(1, id);
                put.addBatch();
            }
            try {
                put.executeBatch();
                throw new AssertionError("a batch with a duplicate succeeded");
            } catch (SQLException error) {
                expect(error.getSQLState(), "23505");
            }
            c.rollback();
            expect(ask(c, "select count(*) from " + TABLE + " where v = 'batch'"), "600");
            c.rollback();
        }
    }

    static void testCopy() throws Exception
    {
        try (Connection c = connect()) {
            CopyManager manager = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int i = 0; i < 5000; i++)
                lines.append(10000 + i).append("\tcopied\n");
            expect(manager.copyIn("copy " + TABLE + " from stdin",
                new StringReader(lines.toString())), 5000);
            StringWriter out = new StringWriter();
            manager.copyOut("copy (select * from " + TABLE
                + " where v = 'copied' order by id) to stdout", out);
            expect(out.toString().contentEquals(lines), true);
            try {
                manager.copyIn("copy " + TABLE + " from stdin", new StringReader("no number\tx\n"));
                throw new AssertionError("a bad line was copied");
            } catch (SQLException error) {
                expect(error.getSQLState(), "22P02");
            }
            expect(ask(c, "select 1"), "1");
        }
    }

    static void testCancel() throws SQLException
    {
        Timer timer = new Timer(true);
        try (Connection c = connect(); Statement s = c.createStatement()) {
            for (int i = 0; i < 3; i++) {
                timer.schedule(new TimerTask() {
                    public void run()
                    {
                        try {
                            s.cancel();
                        } catch (SQLException error) {
                            report("cancel", "false", error.toString());
                        }
                    }
                }, 300);
                try {
                    s.execute("select pg_sleep(30)");
                    throw new AssertionError("not cancelled");
                } catch (SQLException error) {
                    expect(error.getSQLState(), "57014");
                }
                expect(ask(c, "select 1"), "1");
            }
            s.setQueryTimeout(1);
            try {
                s.execute("select pg_sleep(30)");
                throw new AssertionError("no timeout");
            } catch (SQLException error) {
                expect(error.getSQLState(), "57014");
            }
        }
    }

    static void testNotify() throws SQLException
    {
        try (Connection c = connect(); Connection other = connect()) {
            ask(c, "listen " + TABLE);
            ask(other, "notify " + TABLE + ", 'hello'");
            PGNotification[] heard = c.unwrap(PGConnection.class).getNotifications(10000);
            expect(heard != null && heard.length == 1, true);
            expect(heard[0].getParameter(), "hello");
        }
    }

    static void testLarge() throws SQLException
    {
        String big = "abcdefghijklmnopqrstuvwxyz".repeat(4 * 1024 * 1024 / 26);
        try (Connection c = connect()) {
            insert(c, 50000, big);
            expect(ask(c, "select v from " + TABLE + " where id = 50000").equals(big), true);
        }
    }

    static void testErrors() throws SQLException
    {
        try (Connection c = connect()) {
            expectState(c, "42601", "selec 1");
            expectState(c, "42P01", "select * from no_such_table where a = ?", 1);
            expectState(c, "23505", "insert into " + TABLE + " values (?, 'again')", 10);
            expect(ask(c, "select 1"), "1");
            c.setAutoCommit(false);
            expectState(c, "22012", "select 1/?::int", 0);
            expectState(c, "25P02", "select 1");
            c.rollback();
            expect(ask(c, "select 1"), "1");
            c.rollback();
        }
    }

    static void testReconnect() throws SQLException
    {
        Connection c = connect();
        c.setAutoCommit(false);
        expectState(c, "57P01", "select pg_terminate_backend(pg_backend_pid())");
        expect(c.isValid(5), false);
        c.close();
        try (Connection again = connect()) {
            expect(ask(again, "select 1"), "1");
        }
    }

    static String role(Connection c) throws SQLException
    {
        try (Statement s = c.createStatement();
             ResultSet r = s.executeQuery("show switchgear.last_route")) {
            r.next();
            return r.getString("role");
        }
    }

    static void testSplit() throws SQLException
    {
        try (Connection c = connect()) {
            int replica = 0;
            for (int i = 0; i < READS; i++) {
                ask(c, "select count(*) from " + TABLE + " where id > ?", 0);
                replica += role(c).equals("replica") ? 1 : 0;
            }
            if (replica < READS / 4)
                throw new AssertionError(replica + " of " + READS + " reads on replicas");
            expect(ask(c, "insert into " + TABLE + " values (60000, 'x')"
                + " returning pg_is_in_recovery()"), "f");
        }
        try (Connection c = connect()) { /* a declared block may be read on a replica too */
            c.setReadOnly(true);
            c.setAutoCommit(false);
            ask(c, "select count(*) from " + TABLE);
            c.commit();
        }
    }

    static void testReadYourWrites() throws SQLException
    {
        try (Connection c = connect()) {
            insert(c, 70000, "-1");
            for (int i = 0; i < WRITES; i++) {
                ask(c, "update " + TABLE + " set v = ? where id = 70000", String.valueOf(i));
                expect(ask(c, "select v from " + TABLE + " where id = ?", 70000), i);
            }
        }
    }

    public static void main(String[] arguments)
    {
        report("version", "true", "PgJDBC " + org.postgresql.util.DriverInfo.DRIVER_VERSION);
        feature("connect", Drive::testConnect);
        feature("autocommit", Drive::testAutocommit);
        feature("transactions", Drive::testTransactions);
        feature("prepared", Drive::testPrepared);
        feature("pipeline", Drive::testPipeline);
        feature("copy", Drive::testCopy);
        feature("cancel", Drive::testCancel);
        feature("notify", Drive::testNotify);
        feature("large", Drive::testLarge);
        feature("errors", Drive::testErrors);
        feature("reconnect", Drive::testReconnect);
        feature("split", Drive::testSplit);
        feature("read_your_writes", Drive::testReadYourWrites);
    }
}

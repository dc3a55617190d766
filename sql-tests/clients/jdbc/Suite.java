// The JDBC driver: types, metadata, batches, fetch sizes, autocommit off, cancel, reconnect.

import java.io.StringReader;
import java.math.BigDecimal;
import java.net.Socket;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Suite {
    interface Check {
        void run() throws Exception;
    }

    static final String URL = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/dev";

    static Connection connect(String options) throws SQLException {
        return DriverManager.getConnection(URL + "?user=root" + options);
    }

    static void equal(Object got, Object wanted) {
        if (!Objects.deepEquals(got, wanted)) {
            throw new AssertionError("got " + got + ", wanted " + wanted);
        }
    }

    static void raises(String state, Check check) throws Exception {
        try {
            check.run();
        } catch (SQLException e) {
            equal(e.getSQLState(), state);
            return;
        }
        throw new AssertionError("no error, wanted " + state);
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> all = new ArrayList<>();
        while (rows.next()) {
            all.add(rows.getString(name));
        }
        return all;
    }

    static void execute(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
        }
    }

    static void connects() throws Exception {
        try (Connection c = connect("&ApplicationName=jdbc")) {
            equal(c.isValid(5), true);
            equal(c.getMetaData().getDatabaseProductName(), "PostgreSQL");
            assert c.getMetaData().getDatabaseMajorVersion() >= 15;
            equal(c.getSchema(), "public");
            equal(c.getCatalog(), "dev");
            c.setReadOnly(true);
            c.setReadOnly(false);
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            equal(c.getTransactionIsolation(), Connection.TRANSACTION_SERIALIZABLE);
            c.setClientInfo("ApplicationName", "other");
        }
    }

    static Object[][] values() {
        return new Object[][] {
            {"boolean", true}, {"smallint", -5}, {"integer", 2147483647}, {"bigint", Long.MIN_VALUE}, {"real", 1.5f},
            {"double precision", -1e300}, {"numeric(20,4)", new BigDecimal("1234567890123456.7891")},
            {"varchar", "grün 'x' \\ \""}, {"text", ""}, {"bytea", new byte[] {0, -1, 92}},
            {"date", LocalDate.of(1999, 12, 31)}, {"time", LocalTime.of(23, 59, 58)},
            {"timestamp", LocalDateTime.of(2000, 1, 1, 0, 0, 0, 1000)},
            {"timestamptz", OffsetDateTime.of(2026, 3, 1, 12, 0, 0, 0, ZoneOffset.UTC)},
            {"uuid", UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")},
        };
    }

    static Object get(ResultSet rows, int column, Object like) throws SQLException {
        if (like instanceof byte[]) {
            return rows.getBytes(column);
        }
        return rows.getObject(column, like.getClass());
    }

    /** With each of them in text and, after five runs, in binary. */
    static void types_both_ways() throws Exception {
        for (String options : List.of("", "&prepareThreshold=-1", "&preferQueryMode=simple")) {
            try (Connection c = connect(options)) {
                for (Object[] value : values()) {
                    // In its simple mode the driver writes no bytes.
                    if (options.endsWith("simple") && value[1] instanceof byte[]) {
                        continue;
                    }
                    try (PreparedStatement s = c.prepareStatement("SELECT ?::" + value[0] + ", NULL::" + value[0])) {
                        for (int run = 0; run < 7; run++) {
                            s.setObject(1, value[1]);
                            try (ResultSet rows = s.executeQuery()) {
                                rows.next();
                                equal(get(rows, 1, value[1]), value[1]);
                                equal(rows.getObject(2), null);
                            }
                        }
                    } catch (SQLException | AssertionError e) {
                        throw new AssertionError(value[0] + options + ": " + e.getMessage());
                    }
                }
            }
        }
    }

    static void types_through_a_table() throws Exception {
        try (Connection c = connect("")) {
            StringJoiner columns = new StringJoiner(", "), marks = new StringJoiner(", ");
            int n = 0;
            for (Object[] value : values()) {
                columns.add("c" + ++n + " " + value[0]);
                marks.add("?");
            }
            execute(c, "CREATE TABLE jdbc_types (id int PRIMARY KEY, " + columns + ", a integer[], t text[])");
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_types VALUES (1, " + marks + ", ?, ?)")) {
                n = 0;
                for (Object[] value : values()) {
                    s.setObject(++n, value[1]);
                }
                s.setArray(++n, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                s.setArray(++n, c.createArrayOf("text", new String[] {"a", "b\"c"}));
                equal(s.executeUpdate(), 1);
            }
            try (PreparedStatement s = c.prepareStatement("SELECT * FROM jdbc_types")) {
                for (int run = 0; run < 7; run++) {
                    try (ResultSet rows = s.executeQuery()) {
                        rows.next();
                        n = 1;
                        for (Object[] value : values()) {
                            equal(get(rows, ++n, value[1]), value[1]);
                        }
                        equal(rows.getArray(++n).getArray(), new Integer[] {1, null, 3});
                        equal(rows.getArray(++n).getArray(), new String[] {"a", "b\"c"});
                    }
                }
            }
            execute(c, "DROP TABLE jdbc_types");
        }
    }

    static void metadata() throws Exception {
        try (Connection c = connect("")) {
            execute(c, "CREATE TABLE jdbc_meta (k bigint PRIMARY KEY, v varchar NOT NULL, n numeric(10,2), t timestamptz)");
            execute(c, "CREATE MATERIALIZED VIEW jdbc_view AS SELECT v, count(*) AS n FROM jdbc_meta GROUP BY v");
            DatabaseMetaData m = c.getMetaData();
            assert column(m.getSchemas(), "TABLE_SCHEM").contains("public");
            equal(column(m.getCatalogs(), "TABLE_CAT"), List.of("dev"));
            assert column(m.getTableTypes(), "TABLE_TYPE").contains("MATERIALIZED VIEW");
            try (ResultSet rows = m.getTables(null, "public", "jdbc%", new String[] {"TABLE", "MATERIALIZED VIEW"})) {
                rows.next();
                equal(rows.getString("TABLE_NAME") + " " + rows.getString("TABLE_TYPE"), "jdbc_view MATERIALIZED VIEW");
                rows.next();
                equal(rows.getString("TABLE_NAME") + " " + rows.getString("TABLE_TYPE"), "jdbc_meta TABLE");
                equal(rows.next(), false);
            }
            try (ResultSet rows = m.getColumns(null, "public", "jdbc_meta", "%")) {
                StringJoiner all = new StringJoiner("; ");
                while (rows.next()) {
                    all.add(rows.getString("COLUMN_NAME") + " " + rows.getInt("DATA_TYPE") + " " + rows.getString("TYPE_NAME")
                        + " " + rows.getInt("COLUMN_SIZE") + " " + rows.getString("IS_NULLABLE"));
                }
                equal(all.toString(), "k -5 int8 19 NO; v 12 text 2147483647 NO; n 2 numeric 10 YES; t 93 timestamptz 35 YES");
            }
            equal(column(m.getImportedKeys(null, "public", "jdbc_meta"), "PKTABLE_NAME"), List.of());
            equal(column(m.getExportedKeys(null, "public", "jdbc_meta"), "PKTABLE_NAME"), List.of());
            column(m.getTablePrivileges(null, "public", "jdbc_meta"), "PRIVILEGE");
            assert column(m.getTypeInfo(), "TYPE_NAME").contains("int8");
            column(m.getFunctions(null, null, "tumble%"), "FUNCTION_NAME");
            column(m.getProcedures(null, null, "nothing"), "PROCEDURE_NAME");
            column(m.getUDTs(null, null, "%", null), "TYPE_NAME");
            try (PreparedStatement s = c.prepareStatement("SELECT k, n, v FROM jdbc_meta WHERE k = ? AND v = ?")) {
                ParameterMetaData p = s.getParameterMetaData();
                equal(p.getParameterTypeName(1) + " " + p.getParameterTypeName(2), "int8 text");
                ResultSetMetaData r = s.getMetaData();
                equal(r.getColumnName(2) + " " + r.getColumnTypeName(2), "n numeric");
                equal(r.getTableName(1), "");
            }
            execute(c, "DROP MATERIALIZED VIEW jdbc_view");
            execute(c, "DROP TABLE jdbc_meta");
        }
    }

    static void keys_in_metadata() throws Exception {
        try (Connection c = connect("")) {
            execute(c, "CREATE TABLE keyed (a int, b int, c int, PRIMARY KEY (c, a))");
            execute(c, "CREATE INDEX keyed_by_b ON keyed (b DESC)");
            StringBuilder keys = new StringBuilder();
            try (ResultSet r = c.getMetaData().getPrimaryKeys(null, "public", "keyed")) {
                while (r.next()) keys.append(r.getString("COLUMN_NAME")).append(r.getInt("KEY_SEQ")).append(' ');
            }
            equal(keys.toString(), "c1 a2 ");
            StringBuilder indexes = new StringBuilder();
            try (ResultSet r = c.getMetaData().getIndexInfo(null, "public", "keyed", false, false)) {
                while (r.next()) indexes.append(r.getString("INDEX_NAME")).append('.').append(r.getString("COLUMN_NAME")).append(' ');
            }
            equal(indexes.toString(), "keyed_pkey.c keyed_pkey.a keyed_by_b.b ");
            execute(c, "DROP TABLE keyed");
        }
    }

    static void batches() throws Exception {
        try (Connection c = connect("")) {
            execute(c, "CREATE TABLE jdbc_many (k int PRIMARY KEY, v varchar)");
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_many VALUES (?, ?)")) {
                for (int i = 0; i < 500; i++) {
                    s.setInt(1, i);
                    s.setString(2, "v" + i);
                    s.addBatch();
                }
                equal(Arrays.stream(s.executeBatch()).sum(), 500);
            }
            try (Connection r = connect("&reWriteBatchedInserts=true");
                 PreparedStatement s = r.prepareStatement("INSERT INTO jdbc_many VALUES (?, ?)")) {
                for (int i = 500; i < 600; i++) {
                    s.setInt(1, i);
                    s.setNull(2, Types.VARCHAR);
                    s.addBatch();
                }
                s.executeBatch();
            }
            try (Statement s = c.createStatement()) {
                s.addBatch("UPDATE jdbc_many SET v = 'x' WHERE k = 1");
                s.addBatch("DELETE FROM jdbc_many WHERE k < 3");
                equal(s.executeBatch(), new int[] {1, 3});
                ResultSet rows = s.executeQuery("SELECT count(*) FROM jdbc_many");
                rows.next();
                equal(rows.getLong(1), 597L);
            }
            execute(c, "DROP TABLE jdbc_many");
        }
    }

    static void fetch_size_with_autocommit_off() throws Exception {
        try (Connection c = connect("")) {
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("SELECT x FROM generate_series(1, ?::int) AS g(x)")) {
                s.setInt(1, 5000);
                s.setFetchSize(100);
                long total = 0;
                try (ResultSet rows = s.executeQuery()) {
                    while (rows.next()) {
                        total += rows.getLong(1);
                    }
                }
                equal(total, 12502500L);
                s.setMaxRows(7);
                int count = 0;
                try (ResultSet rows = s.executeQuery()) {
                    while (rows.next()) {
                        count++;
                    }
                }
                equal(count, 7);
            }
            c.commit();
        }
    }

    static void transactions() throws Exception {
        try (Connection c = connect("")) {
            execute(c, "CREATE TABLE jdbc_tx (k int PRIMARY KEY)");
            c.setAutoCommit(false);
            execute(c, "INSERT INTO jdbc_tx VALUES (1)");
            Savepoint point = c.setSavepoint();
            execute(c, "INSERT INTO jdbc_tx VALUES (2)");
            c.releaseSavepoint(point);
            c.commit();
            raises("22012", () -> execute(c, "SELECT 1/0"));
            raises("25P02", () -> execute(c, "SELECT 1"));
            c.rollback();
            c.setAutoCommit(true);
            try (Connection saving = connect("&autosave=always")) {
                saving.setAutoCommit(false);
                raises("22012", () -> execute(saving, "SELECT 1/0"));
                execute(saving, "SELECT 1");
                saving.commit();
            }
            execute(c, "DROP TABLE jdbc_tx");
        }
    }

    static void errors_by_sqlstate() throws Exception {
        try (Connection c = connect("")) {
            raises("42601", () -> execute(c, "SELEC 1"));
            raises("42P01", () -> execute(c, "SELECT * FROM nothing_here"));
            raises("22P02", () -> execute(c, "SELECT 'x'::int"));
            raises("22012", () -> execute(c, "SELECT 1/0"));
            execute(c, "SELECT 1");
        }
    }

    static void cancel_and_timeouts() throws Exception {
        try (Connection c = connect(""); Statement s = c.createStatement()) {
            new Timer(true).schedule(new TimerTask() {
                public void run() {
                    try {
                        s.cancel();
                    } catch (SQLException e) {
                        e.printStackTrace();
                    }
                }
            }, 300);
            raises("57014", () -> s.execute("SELECT pg_sleep(30)"));
            s.setQueryTimeout(1);
            raises("57014", () -> s.execute("SELECT pg_sleep(30)"));
            s.setQueryTimeout(0);
            s.execute("SET statement_timeout = 200");
            raises("57014", () -> s.execute("SELECT pg_sleep(30)"));
        }
    }

    static void copy() throws Exception {
        try (Connection c = connect("")) {
            execute(c, "CREATE TABLE jdbc_copy (k int PRIMARY KEY, v varchar)");
            CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
            equal(copies.copyIn("COPY jdbc_copy FROM STDIN (FORMAT csv)", new StringReader("1,a\n2,\n")), 2L);
            java.io.StringWriter out = new java.io.StringWriter();
            equal(copies.copyOut("COPY (SELECT * FROM jdbc_copy ORDER BY k) TO STDOUT", out), 2L);
            equal(out.toString(), "1\ta\n2\t\\N\n");
            execute(c, "DROP TABLE jdbc_copy");
        }
    }

    static void reconnects_after_a_restart() throws Exception {
        try (Connection c = connect("")) {
            execute(c, "SELECT 1");
            try (Socket control = new Socket(System.getenv("PGHOST"), Integer.parseInt(System.getenv("WEIR_CONTROL")))) {
                control.getOutputStream().write("restart\n".getBytes());
                control.getInputStream().read();
            }
            equal(c.isValid(1), false);
        }
        try (Connection c = connect("")) {
            execute(c, "SELECT 1");
        }
    }

    public static void main(String[] arguments) {
        System.out.println("driver JDBC " + org.postgresql.util.DriverInfo.DRIVER_VERSION);
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("connects", Suite::connects);
        checks.put("types_both_ways", Suite::types_both_ways);
        checks.put("types_through_a_table", Suite::types_through_a_table);
        checks.put("metadata", Suite::metadata);
        checks.put("keys_in_metadata", Suite::keys_in_metadata);
        checks.put("batches", Suite::batches);
        checks.put("fetch_size_with_autocommit_off", Suite::fetch_size_with_autocommit_off);
        checks.put("transactions", Suite::transactions);
        checks.put("errors_by_sqlstate", Suite::errors_by_sqlstate);
        checks.put("cancel_and_timeouts", Suite::cancel_and_timeouts);
        checks.put("copy", Suite::copy);
        checks.put("reconnects_after_a_restart", Suite::reconnects_after_a_restart);
        boolean failed = false;
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            try {
                check.getValue().run();
                System.out.println("ok " + check.getKey());
            } catch (Exception | AssertionError e) {
                failed = true;
                System.out.println("FAIL " + check.getKey() + ": " + String.valueOf(e.getMessage()).replace("\n", " | "));
                e.printStackTrace();
            }
        }
        System.exit(failed ? 1 : 0);
    }
}

"""psycopg 3: sync, async and pipeline mode."""

import asyncio
import datetime as dt
import threading
import time
import uuid
from decimal import Decimal

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Json, Jsonb

from checks import check, equal, raises, restart, run

CONNECT = "dbname=dev user=root connect_timeout=10"
UTC = dt.timezone.utc

# A value of each type, as psycopg sends it and gets it back.
VALUES = [
    ("boolean", True),
    ("smallint", -32768),
    ("integer", 2147483647),
    ("bigint", -9223372036854775808),
    ("real", 1.5),
    ("double precision", -1e300),
    ("numeric(20,4)", Decimal("1234567890123456.7891")),
    ("varchar", "grün 'x' \\ \""),
    ("text", ""),
    ("bytea", b"\x00\xff\\'"),
    ("date", dt.date(1999, 12, 31)),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timestamp", dt.datetime(2000, 1, 1, 0, 0, 0, 1)),
    ("timestamptz", dt.datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
    ("interval", dt.timedelta(days=3, seconds=4, microseconds=5)),
    ("uuid", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    ("integer[]", [1, None, 3]),
    ("bigint[]", []),
    ("text[]", ["a", 'b"c', None, "d,e", ""]),
    ("numeric(10,2)[]", [Decimal("1.50")]),
    ("timestamp[]", [dt.datetime(2000, 1, 1)]),
    ("jsonb", {"a": [1, None, "x"]}),
    ("json", [1, 2]),
]


def connect(**options):
    return psycopg.connect(CONNECT, autocommit=True, **options)


@check
def connects_and_knows_the_server():
    with connect() as c:
        assert c.info.server_version >= 150000
        equal(c.info.encoding, "utf-8")
        equal(c.info.parameter_status("standard_conforming_strings"), "on")
        equal(c.execute("SELECT 1").fetchone(), (1,))


@check
def types_in_text_and_binary():
    with connect() as c:
        for kind, value in VALUES:
            sent = Jsonb(value) if kind == "jsonb" else Json(value) if kind == "json" else value
            for binary in (False, True):
                mark = "%b" if binary else "%t"
                with c.cursor(binary=binary) as cursor:
                    try:
                        got = cursor.execute(f"SELECT CAST({mark} AS {kind}), CAST(NULL AS {kind})", [sent]).fetchone()
                        equal(got, (value, None))
                    except Exception as e:
                        raise AssertionError(f"{kind}, binary={binary}: {e}")


@check
def types_through_a_table():
    with connect() as c:
        columns = ", ".join(f"c{i} {kind}" for i, (kind, _) in enumerate(VALUES))
        c.execute(f"CREATE TABLE psycopg_types (id int PRIMARY KEY, {columns})")
        sent = [Jsonb(v) if k == "jsonb" else Json(v) if k == "json" else v for k, v in VALUES]
        marks = ", ".join(["%s"] * len(sent))
        c.execute(f"INSERT INTO psycopg_types VALUES (1, {marks})", sent)
        c.execute("INSERT INTO psycopg_types (id) VALUES (%s)", [2])
        for binary in (False, True):
            rows = c.cursor(binary=binary).execute("SELECT * FROM psycopg_types ORDER BY id").fetchall()
            equal(list(rows[0][1:]), [v for _, v in VALUES])
            equal(set(rows[1][1:]), {None})
        c.execute("DROP TABLE psycopg_types")


@check
def prepared_statements():
    with connect(prepare_threshold=0) as c:
        for i in range(20):
            equal(c.execute("SELECT %s::int + 1", [i]).fetchone(), (i + 1,))
        c.execute("DEALLOCATE ALL")
        equal(c.execute("SELECT %s::int + 2", [1], prepare=True).fetchone(), (3,))


@check
def inferred_parameters():
    with connect() as c:
        c.execute("CREATE TABLE psycopg_in (k bigint PRIMARY KEY, v varchar, n numeric(10,2), t timestamptz)")
        now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        c.execute("INSERT INTO psycopg_in VALUES (%s, %s, %s, %s)", (1, "a", Decimal("1.25"), now))
        c.execute("UPDATE psycopg_in SET v = %s, n = n + %s WHERE k = %s", ("b", Decimal("1"), 1))
        equal(c.execute("SELECT * FROM psycopg_in WHERE k = %s AND t <= %s", (1, now)).fetchall(),
              [(1, "b", Decimal("2.25"), now)])
        equal(c.execute("SELECT k FROM psycopg_in WHERE k = ANY(%s)", ([1, 2],)).fetchall(), [(1,)])
        equal(c.execute("SELECT k FROM psycopg_in WHERE v LIKE %s LIMIT %s", ("b%", 5)).fetchall(), [(1,)])
        equal(c.execute("DELETE FROM psycopg_in WHERE k IN (%s, %s)", (1, 2)).rowcount, 1)
        c.execute("DROP TABLE psycopg_in")


@check
def batches():
    with connect() as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE psycopg_many (k int PRIMARY KEY, v varchar)")
        cursor.executemany("INSERT INTO psycopg_many VALUES (%s, %s)", [(i, str(i)) for i in range(500)])
        equal(cursor.rowcount, 500)
        equal(cursor.execute("SELECT count(*), sum(k) FROM psycopg_many").fetchone(), (500, 124750))
        cursor.executemany("SELECT %s::int", [(1,), (2,)], returning=True)
        equal(cursor.fetchone(), (1,))
        assert cursor.nextset()
        equal(cursor.fetchone(), (2,))
        cursor.execute("DROP TABLE psycopg_many")


@check
def pipeline_mode():
    with connect() as c:
        with c.pipeline() as p:
            cursors = [c.execute("SELECT %s::int", [i]) for i in range(200)]
            p.sync()
            equal([x.fetchone()[0] for x in cursors], list(range(200)))
        with c.pipeline() as p:
            good = c.execute("SELECT 1")
            p.sync()
            bad = c.execute("SELECT 1/0")
            skipped = c.execute("SELECT 2")
            raises("22012", psycopg.Error, p.sync)
            equal(good.fetchone(), (1,))
        equal(c.execute("SELECT 3").fetchone(), (3,))


@check
def scrollable_cursors():
    with psycopg.connect(CONNECT) as c:
        with c.cursor("both", scrollable=True) as cursor:
            cursor.execute("SELECT x FROM generate_series(1, 30000) AS g(x) ORDER BY x")
            equal([r[0] for r in cursor.fetchmany(3)], [1, 2, 3])
            cursor.scroll(-2)
            equal(cursor.fetchone(), (2,))
            cursor.scroll(29999, mode="absolute")
            equal(cursor.fetchall(), [(30000,)])
            cursor.scroll(0, mode="absolute")
            equal(cursor.fetchone(), (1,))
        with c.cursor("forward", scrollable=False) as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
            raises("55000", psycopg.Error, cursor.scroll, -1)
        c.rollback()


@check
def server_side_cursors():
    with psycopg.connect(CONNECT) as c:
        with c.cursor("many") as cursor:
            cursor.execute("SELECT x FROM generate_series(1, 10000) AS g(x)")
            equal(cursor.fetchone(), (1,))
            equal([r[0] for r in cursor.fetchmany(3)], [2, 3, 4])
            cursor.itersize = 1000
            equal(sum(1 for _ in cursor), 9996)
        with c.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY 1")
            c.commit()
            equal(cursor.fetchall(), [(1,), (2,)])


@check
def streamed_rows():
    with connect() as c:
        total = sum(r[0] for r in c.cursor().stream("SELECT x FROM generate_series(1, %s) AS g(x)", [1000]))
        equal(total, 500500)


@check
def transactions():
    with psycopg.connect(CONNECT) as c:
        c.execute("CREATE TABLE psycopg_tx (k int PRIMARY KEY)")
        c.commit()
        with c.transaction():
            c.execute("INSERT INTO psycopg_tx VALUES (1)")
            with c.transaction():
                c.execute("INSERT INTO psycopg_tx VALUES (2)")
        equal(c.execute("SELECT count(*) FROM psycopg_tx").fetchone(), (2,))
        raises("22012", psycopg.errors.DivisionByZero, c.execute, "SELECT 1/0")
        raises("25P02", psycopg.errors.InFailedSqlTransaction, c.execute, "SELECT 1")
        c.rollback()
        c.execute("DROP TABLE psycopg_tx")
        c.commit()
        c.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        c.read_only = True
        equal(c.execute("SELECT 1").fetchone(), (1,))
        c.rollback()


@check
def copy_text_csv_and_binary():
    with connect() as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE psycopg_copy (k int PRIMARY KEY, v text, t timestamp, a int[])")
        rows = [(1, "a\tb\n", dt.datetime(2020, 1, 1), [1, 2]), (2, None, None, None), (3, "", dt.datetime(1, 1, 1), [])]
        with cursor.copy("COPY psycopg_copy FROM STDIN") as copy:
            for row in rows[:2]:
                copy.write_row(row)
        with cursor.copy("COPY psycopg_copy FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text", "timestamp", "int4[]"])
            copy.write_row(rows[2])
        equal(cursor.execute("SELECT * FROM psycopg_copy ORDER BY k").fetchall(), rows)
        for kind in ("", " (FORMAT BINARY)"):
            with cursor.copy(f"COPY (SELECT * FROM psycopg_copy ORDER BY k) TO STDOUT{kind}") as copy:
                copy.set_types(["int4", "text", "timestamp", "int4[]"])
                equal(list(copy.rows()), rows)
        with cursor.copy("COPY psycopg_copy TO STDOUT (FORMAT csv, HEADER)") as copy:
            assert b"".join(copy).startswith(b"k,v,t,a\n")
        cursor.execute("DROP TABLE psycopg_copy")


@check
def errors_by_sqlstate():
    with connect() as c:
        for state, error, sql in [
            ("42601", psycopg.errors.SyntaxError, "SELEC 1"),
            ("42P01", psycopg.errors.UndefinedTable, "SELECT * FROM nothing_here"),
            ("42703", psycopg.errors.UndefinedColumn, "SELECT nothing_here FROM pg_class"),
            ("42883", psycopg.errors.UndefinedFunction, "SELECT nothing_here(1)"),
            ("22012", psycopg.errors.DivisionByZero, "SELECT 1/0"),
            ("22P02", psycopg.errors.InvalidTextRepresentation, "SELECT 'x'::int"),
            ("22003", psycopg.errors.NumericValueOutOfRange, "SELECT 2147483647::int + 1::int"),
        ]:
            raises(state, error, c.execute, sql)
        e = raises("42601", psycopg.Error, c.execute, "SELECT 1 +")
        assert e.diag.severity == "ERROR" and e.diag.message_primary


@check
def cancel():
    with connect() as c:
        threading.Timer(0.3, c.cancel_safe).start()
        raises("57014", psycopg.errors.QueryCanceled, c.execute,
               "SELECT count(*) FROM generate_series(1, 100000000000) AS g(x) WHERE x % 3 = 1")
        equal(c.execute("SELECT 1").fetchone(), (1,))


@check
def timeouts():
    with connect() as c:
        c.execute("SET statement_timeout = 200")
        raises("57014", psycopg.errors.QueryCanceled, c.execute, "SELECT pg_sleep(30)")
        c.execute("RESET statement_timeout")
        equal(c.execute("SELECT 1").fetchone(), (1,))
    with connect() as c:
        c.execute("SET idle_session_timeout = '100ms'")
        time.sleep(1)
        raises("57P05", psycopg.errors.IdleSessionTimeout, c.execute, "SELECT 1")
    with psycopg.connect(CONNECT) as c:
        c.execute("SET idle_in_transaction_session_timeout = '100ms'")
        time.sleep(1)
        raises("25P03", psycopg.errors.IdleInTransactionSessionTimeout, c.execute, "SELECT 1")


@check
def backends_cancelled_and_terminated():
    with connect() as c, connect() as other:
        pid = c.info.backend_pid
        equal(c.execute("SELECT pg_backend_pid()").fetchone(), (pid,))
        threading.Timer(0.3, lambda: other.execute("SELECT pg_cancel_backend(%s)", [pid])).start()
        raises("57014", psycopg.errors.QueryCanceled, c.execute, "SELECT pg_sleep(30)")
        row = other.execute("SELECT state, usename FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
        equal(row, ("idle", "root"))
        equal(other.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone(), (True,))
        raises("57P01", psycopg.errors.AdminShutdown, c.execute, "SELECT 1")


@check
def rows_as_dictionaries_and_descriptions():
    with connect(row_factory=dict_row) as c:
        cursor = c.execute("SELECT 1 AS a, 'x' AS b")
        equal([d.name for d in cursor.description], ["a", "b"])
        equal(cursor.fetchall(), [{"a": 1, "b": "x"}])


@check
def notices():
    with connect() as c:
        seen = []
        c.add_notice_handler(lambda d: seen.append(d.message_primary))
        c.execute("DROP TABLE IF EXISTS nothing_here")
        equal(len(seen), 1)


@check
async def async_connections():
    async with await psycopg.AsyncConnection.connect(CONNECT, autocommit=True) as c:
        cursor = await c.execute("SELECT %s::int", [5])
        equal(await cursor.fetchone(), (5,))
        async with c.pipeline():
            cursors = [await c.execute("SELECT %s::int", [i]) for i in range(50)]
        equal([(await x.fetchone())[0] for x in cursors], list(range(50)))
        task = asyncio.create_task(c.execute("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.3)
        await c.cancel_safe()
        try:
            await task
            raise AssertionError("not cancelled")
        except psycopg.errors.QueryCanceled:
            pass


@check
def generated_keys():
    with connect() as c:
        c.execute("CREATE TABLE pg3_keys (id SERIAL PRIMARY KEY, n INT)")
        equal(c.execute("SELECT pg_get_serial_sequence('pg3_keys', 'id')").fetchone(), ("public.pg3_keys_id_seq",))
    keys = []

    def insert():
        with connect() as c, c.pipeline():
            cursors = [c.execute("INSERT INTO pg3_keys (n) VALUES (%s) RETURNING id", (n,)) for n in range(20)]
            keys.extend(cursor.fetchone()[0] for cursor in cursors)

    threads = [threading.Thread(target=insert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(sorted(keys), list(range(1, 81)))
    with connect() as c:
        with c.cursor().copy("COPY pg3_keys (n) FROM STDIN") as copy:
            for n in range(20):
                copy.write_row((n,))
        equal(c.execute("SELECT count(DISTINCT id), max(id) FROM pg3_keys").fetchone(), (100, 100))
        equal(c.execute("SELECT last_value, is_called FROM pg3_keys_id_seq").fetchone(), (100, True))
        equal(c.execute("SELECT currval('pg3_keys_id_seq')").fetchone(), (100,))
        c.execute("DROP TABLE pg3_keys")
        raises("42P01", psycopg.errors.UndefinedTable, c.execute, "SELECT nextval('pg3_keys_id_seq')")


@check
def reconnects_after_a_restart():
    with connect() as c:
        c.execute("CREATE TABLE psycopg_kept (k int PRIMARY KEY)")
        c.execute("INSERT INTO psycopg_kept VALUES (7)")
        restart()
        try:
            c.execute("SELECT 1")
            raise AssertionError("the connection outlived the server")
        except psycopg.OperationalError:
            pass
    with connect() as c:
        equal(c.execute("SELECT * FROM psycopg_kept").fetchall(), [(7,)])
        c.execute("DROP TABLE psycopg_kept")


if __name__ == "__main__":
    run("psycopg", psycopg.__version__)

"""asyncpg: everything in binary, all types asked from the catalogue."""

import asyncio
import datetime as dt
import os
import uuid
from decimal import Decimal

import asyncpg

from checks import check, equal, restart, run

UTC = dt.timezone.utc

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
    ("jsonb", '{"a": [1, null]}'),
    ("json", "[1,2]"),
]


async def connect(**options):
    return await asyncpg.connect(host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user="root",
                                 database="dev", **options)


async def raises(state, awaitable):
    try:
        await awaitable
    except asyncpg.PostgresError as e:
        return equal(e.sqlstate, state)
    raise AssertionError(f"no error, wanted {state}")


@check
async def connects_and_knows_the_server():
    c = await connect()
    assert c.get_server_version().major >= 15
    equal(await c.fetchval("SELECT 1"), 1)
    equal(c.get_settings().client_encoding, "UTF8")
    await c.close()


@check
async def types_both_ways():
    c = await connect()
    for kind, value in VALUES:
        try:
            row = await c.fetchrow(f"SELECT $1::{kind} AS a, NULL::{kind} AS b", value)
            equal(tuple(row), (value, None))
        except Exception as e:
            raise AssertionError(f"{kind}: {e}")
    await c.close()


@check
async def types_through_a_table():
    c = await connect()
    columns = ", ".join(f"c{i} {kind}" for i, (kind, _) in enumerate(VALUES))
    await c.execute(f"CREATE TABLE asyncpg_types (id int PRIMARY KEY, {columns})")
    marks = ", ".join(f"${i + 2}" for i in range(len(VALUES)))
    await c.execute(f"INSERT INTO asyncpg_types VALUES ($1, {marks})", 1, *[v for _, v in VALUES])
    row = await c.fetchrow("SELECT * FROM asyncpg_types")
    equal(list(row)[1:], [v for _, v in VALUES])
    await c.execute("DROP TABLE asyncpg_types")
    await c.close()


@check
async def infinite_times():
    c = await connect()
    equal(await c.fetchval("SELECT 'infinity'::timestamp"), dt.datetime.max)
    equal(await c.fetchval("SELECT '-infinity'::timestamp"), dt.datetime.min)
    await c.close()


@check
async def prepared_statements():
    c = await connect()
    s = await c.prepare("SELECT $1::int + $2::int AS sum, $3 || 'x' AS t")
    equal([p.name for p in s.get_parameters()], ["int4", "int4", "text"])
    equal([(a.name, a.type.name) for a in s.get_attributes()], [("sum", "int4"), ("t", "text")])
    equal(tuple(await s.fetchrow(1, 2, "a")), (3, "ax"))
    equal(await s.fetchval(5, 6, "b"), 11)
    await c.close()


@check
async def inferred_parameters():
    c = await connect()
    await c.execute("CREATE TABLE asyncpg_in (k bigint PRIMARY KEY, v varchar, n numeric(10,2), t timestamptz)")
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    equal(await c.execute("INSERT INTO asyncpg_in VALUES ($1, $2, $3, $4)", 1, "a", Decimal("1.25"), now), "INSERT 0 1")
    equal(await c.execute("UPDATE asyncpg_in SET v = $1, n = n + $2 WHERE k = $3", "b", Decimal("1"), 1), "UPDATE 1")
    equal(await c.fetchval("SELECT n FROM asyncpg_in WHERE t <= $1 AND k = ANY($2)", now, [1, 2]), Decimal("2.25"))
    equal(await c.fetchval("SELECT k FROM asyncpg_in WHERE v LIKE $1 LIMIT $2 OFFSET $3", "b%", 5, 0), 1)
    equal(await c.fetch("SELECT k FROM asyncpg_in WHERE k BETWEEN $1 AND $2", 5, 6), [])
    equal(await c.execute("DELETE FROM asyncpg_in WHERE k = $1", 1), "DELETE 1")
    await c.execute("DROP TABLE asyncpg_in")
    await c.close()


@check
async def batches():
    c = await connect()
    await c.execute("CREATE TABLE asyncpg_many (k int PRIMARY KEY, v varchar)")
    await c.executemany("INSERT INTO asyncpg_many VALUES ($1, $2)", [(i, str(i)) for i in range(300)])
    equal(await c.fetchval("SELECT count(*) FROM asyncpg_many"), 300)
    await c.execute("DROP TABLE asyncpg_many")
    await c.close()


@check
async def cursors():
    c = await connect()
    async with c.transaction():
        total = 0
        async for row in c.cursor("SELECT x FROM generate_series(1, 5000) AS g(x)", prefetch=100):
            total += row["x"]
        equal(total, 12502500)
        cursor = await c.cursor("SELECT x FROM generate_series(1, 5000) AS g(x)")
        equal((await cursor.fetchrow())["x"], 1)
        equal([r["x"] for r in await cursor.fetch(2)], [2, 3])
    await c.close()


@check
async def transactions():
    c = await connect()
    await c.execute("CREATE TABLE asyncpg_tx (k int PRIMARY KEY)")
    async with c.transaction(isolation="serializable"):
        await c.execute("INSERT INTO asyncpg_tx VALUES (1)")
        async with c.transaction():
            await c.execute("INSERT INTO asyncpg_tx VALUES (2)")
    equal(await c.fetchval("SELECT count(*) FROM asyncpg_tx"), 2)
    transaction = c.transaction()
    await transaction.start()
    await raises("22012", c.fetchval("SELECT 1/0"))
    await raises("25P02", c.fetchval("SELECT 1"))
    await transaction.rollback()
    await c.execute("DROP TABLE asyncpg_tx")
    await c.close()


@check
async def copy():
    c = await connect()
    await c.execute("CREATE TABLE asyncpg_copy (k int PRIMARY KEY, v text, n numeric(10,2), t timestamptz, a text[])")
    rows = [(1, "a", Decimal("1.50"), dt.datetime(2026, 1, 1, tzinfo=UTC), ["x", None]), (2, None, None, None, None)]
    await c.copy_records_to_table("asyncpg_copy", records=rows)
    equal([tuple(r) for r in await c.fetch("SELECT * FROM asyncpg_copy ORDER BY k")], rows)
    out = []

    async def sink(data):
        out.append(bytes(data))

    await c.copy_from_query("SELECT k, v FROM asyncpg_copy WHERE k > $1 ORDER BY k", 0, output=sink, format="csv")
    equal(b"".join(out), b"1,a\n2,\n")
    await c.execute("DROP TABLE asyncpg_copy")
    await c.close()


@check
async def pools():
    async with asyncpg.create_pool(host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user="root",
                                   database="dev", min_size=2, max_size=4) as pool:
        equal(await asyncio.gather(*[pool.fetchval("SELECT $1::int", i) for i in range(40)]), list(range(40)))


@check
async def errors_by_sqlstate():
    c = await connect()
    await raises("42601", c.fetch("SELEC 1"))
    await raises("42P01", c.fetch("SELECT * FROM nothing_here"))
    await raises("22P02", c.fetch("SELECT 'x'::int"))
    equal(await c.fetchval("SELECT 1"), 1)
    await c.close()


@check
async def cancel_and_timeouts():
    c = await connect()
    task = asyncio.create_task(c.fetch("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.3)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    try:
        await c.fetch("SELECT pg_sleep(30)", timeout=0.3)
        raise AssertionError("no timeout")
    except asyncio.TimeoutError:
        pass
    equal(await c.fetchval("SELECT 1"), 1)
    await c.close()


@check
async def reconnects_after_a_restart():
    c = await connect()
    await asyncio.to_thread(restart)
    try:
        await c.fetchval("SELECT 1")
        raise AssertionError("the connection outlived the server")
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError):
        pass
    c = await connect()
    equal(await c.fetchval("SELECT 1"), 1)
    await c.close()


if __name__ == "__main__":
    run("asyncpg", asyncpg.__version__)

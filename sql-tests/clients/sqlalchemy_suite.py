"""SQLAlchemy 2: reflection, core, the unit of work; over psycopg and asyncpg."""

import datetime as dt
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from checks import HOST, PORT, check, equal, restart, run

URL = f"root@{HOST}:{PORT}/dev"
ENGINE = sa.create_engine(f"postgresql+psycopg://{URL}", isolation_level="AUTOCOMMIT")


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "sa_item"
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
    at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    tags: Mapped[list[str] | None] = mapped_column(sa.ARRAY(sa.Text))
    data: Mapped[bytes | None]


@check
def connects():
    with ENGINE.connect() as c:
        equal(c.scalar(sa.text("SELECT 1")), 1)
        assert c.dialect.server_version_info >= (15, 0)
        equal(c.dialect.default_schema_name, "public")


@check
def creates_and_reflects_tables():
    Base.metadata.create_all(ENGINE)
    Base.metadata.create_all(ENGINE)
    with ENGINE.connect() as c:
        c.execute(sa.text("CREATE MATERIALIZED VIEW sa_names AS SELECT name, count(*) AS n FROM sa_item GROUP BY name"))
        c.execute(sa.text("CREATE VIEW sa_view AS SELECT name FROM sa_item"))
    inspector = sa.inspect(ENGINE)
    assert "public" in inspector.get_schema_names()
    equal([t for t in sorted(inspector.get_table_names()) if t.startswith("sa_")],
          ["sa_identified", "sa_item", "sa_numbered", "sa_sequenced"])
    equal(inspector.get_view_names(), ["sa_view"])
    equal(inspector.get_materialized_view_names(), ["sa_names"])
    assert "SELECT name" in inspector.get_view_definition("sa_view")
    assert inspector.has_table("sa_item") and not inspector.has_table("sa_nothing")
    columns = inspector.get_columns("sa_item")
    equal([(c["name"], str(c["type"]), c["nullable"]) for c in columns], [
        ("id", "BIGINT", False), ("name", "TEXT", False), ("price", "NUMERIC(10, 2)", True),
        ("at", "TIMESTAMP", True), ("tags", "ARRAY", True), ("data", "BYTEA", True)])
    assert columns[3]["type"].timezone
    equal(inspector.get_foreign_keys("sa_item"), [])
    equal(inspector.get_check_constraints("sa_item"), [])
    equal([c["name"] for c in inspector.get_columns("sa_names")], ["name", "n"])
    inspector.get_table_comment("sa_item")
    inspector.get_sequence_names()
    inspector.get_enums()


@check
def keys_of_reflected_tables():
    with ENGINE.connect() as c:
        c.execute(sa.text("CREATE TABLE sa_keyed (a int, b int, c int, PRIMARY KEY (c, a))"))
        c.execute(sa.text("CREATE INDEX sa_by_b ON sa_keyed (b)"))
        c.execute(sa.text("COMMENT ON TABLE sa_keyed IS 'with a key'"))
    inspector = sa.inspect(ENGINE)
    key = inspector.get_pk_constraint("sa_keyed")
    equal((key["name"], key["constrained_columns"]), ("sa_keyed_pkey", ["c", "a"]))
    equal([(i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes("sa_keyed")],
          [("sa_by_b", ["b"], False)])
    equal(inspector.get_table_comment("sa_keyed"), {"text": "with a key"})
    with ENGINE.connect() as c:
        c.execute(sa.text("DROP TABLE sa_keyed"))


@check
def unit_of_work():
    at = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    with Session(ENGINE) as session:
        session.add_all([Item(id=i, name=f"n{i % 3}", price=Decimal(i), at=at, tags=["a", f"{i}"], data=b"\x01")
                         for i in range(50)])
        session.commit()
        item = session.get(Item, 7)
        equal((item.name, item.price, item.at, item.tags, item.data), ("n1", Decimal("7.00"), at, ["a", "7"], b"\x01"))
        item.price = Decimal("9.99")
        session.commit()
        equal(session.scalar(sa.select(Item.price).where(Item.id == 7)), Decimal("9.99"))
        session.delete(item)
        session.commit()
        equal(session.scalar(sa.select(sa.func.count()).select_from(Item)), 49)
        equal(len(session.scalars(sa.select(Item).where(Item.name.in_(["n0", "n2"])).limit(5)).all()), 5)
        equal(session.execute(sa.select(Item.name, sa.func.sum(Item.price)).group_by(Item.name)
                              .order_by(Item.name)).all()[0][0], "n0")


class Numbered(Base):
    __tablename__ = "sa_numbered"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Identified(Base):
    __tablename__ = "sa_identified"
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True, start=10, increment=5), primary_key=True)
    name: Mapped[str]


class Sequenced(Base):
    __tablename__ = "sa_sequenced"
    id: Mapped[int] = mapped_column(sa.Sequence("sa_ids", start=100), primary_key=True)
    name: Mapped[str]


@check
def generated_keys():
    Base.metadata.create_all(ENGINE)
    with Session(ENGINE) as session:
        for kind, keys in [(Numbered, [1, 2, 3]), (Identified, [10, 15, 20]), (Sequenced, [100, 101, 102])]:
            rows = [kind(name=f"n{i}") for i in range(3)]
            session.add_all(rows)
            session.flush()
            equal([row.id for row in rows], keys)
            session.commit()
            equal(session.get(kind, keys[1]).name, "n1")
            row = kind(name="alone")
            session.add(row)
            session.commit()
            assert row.id > keys[-1]
    with ENGINE.connect() as c:
        assert c.scalar(sa.Sequence("sa_ids")) == 104


@check
def reflects_generated_keys():
    inspector = sa.inspect(ENGINE)
    equal([s for s in inspector.get_sequence_names() if s.startswith("sa_")],
          ["sa_identified_id_seq", "sa_ids", "sa_numbered_id_seq"])
    assert inspector.has_sequence("sa_ids") and not inspector.has_sequence("sa_nothing")
    numbered = inspector.get_columns("sa_numbered")[0]
    equal((numbered["autoincrement"], numbered["default"]), (True, "nextval('sa_numbered_id_seq'::regclass)"))
    assert "identity" not in numbered
    identified = inspector.get_columns("sa_identified")[0]
    equal(identified["identity"], {"always": True, "start": 10, "increment": 5, "minvalue": 1,
                                   "maxvalue": 2**63 - 1, "cache": 1, "cycle": False})
    assert identified["autoincrement"] and identified["default"] is None
    table = sa.Table("sa_numbered", sa.MetaData(), autoload_with=ENGINE)
    with ENGINE.connect() as c:
        assert c.execute(sa.insert(table).values(name="reflected")).inserted_primary_key[0] > 4


@check
def transactions_as_the_default_engine_sends_them():
    engine = sa.create_engine(f"postgresql+psycopg://{URL}")
    with engine.begin() as c:
        c.execute(sa.insert(Item), [{"id": 100, "name": "x"}, {"id": 101, "name": "y"}])
        with c.begin_nested():
            c.execute(sa.update(Item).where(Item.id == 100).values(name="z"))
    with engine.connect() as c:
        equal(c.scalar(sa.select(Item.name).where(Item.id == 100)), "z")
        try:
            c.execute(sa.text("SELECT 1/0"))
            raise AssertionError("no error")
        except sa.exc.DataError as e:
            equal(e.orig.sqlstate, "22012")
        c.rollback()
        equal(c.scalar(sa.text("SELECT 1")), 1)


@check
def streamed_results():
    with sa.create_engine(f"postgresql+psycopg://{URL}").connect() as c:
        rows = c.execution_options(stream_results=True, max_row_buffer=100).execute(
            sa.text("SELECT x FROM generate_series(1, 3000) AS g(x)"))
        equal(sum(r.x for r in rows), 4501500)


@check
async def over_asyncpg():
    engine = create_async_engine(f"postgresql+asyncpg://{URL}")
    async with engine.begin() as c:
        equal(await c.scalar(sa.select(sa.func.count()).select_from(Item)), 51)
        tables = await c.run_sync(lambda sync: sa.inspect(sync).get_table_names())
        assert "sa_item" in tables
        await c.execute(sa.insert(Item), [{"id": 200, "name": "x", "price": Decimal("1.5")}])
    await engine.dispose()


@check
def reconnects_after_a_restart():
    engine = sa.create_engine(f"postgresql+psycopg://{URL}", pool_pre_ping=True)
    with engine.connect() as c:
        equal(c.scalar(sa.text("SELECT 1")), 1)
    restart()
    with engine.connect() as c:
        equal(c.scalar(sa.text("SELECT count(*) FROM sa_item")), 52)


@check
def drops():
    engine = sa.create_engine(f"postgresql+psycopg://{URL}", isolation_level="AUTOCOMMIT")
    with engine.connect() as c:
        c.execute(sa.text("DROP MATERIALIZED VIEW sa_names"))
        c.execute(sa.text("DROP VIEW sa_view"))
    Base.metadata.drop_all(engine)
    equal(sa.inspect(engine).has_table("sa_item"), False)


if __name__ == "__main__":
    run("SQLAlchemy", sa.__version__)

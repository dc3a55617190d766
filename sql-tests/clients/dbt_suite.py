"""dbt with its own adapter for PostgreSQL: a project of views, materialized views, tables and seeds, run twice."""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import tempfile

import psycopg2

from checks import CHECKS, HOST, PORT, check, equal, restart, run

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="weir-dbt-"))
DBT = pathlib.Path(os.environ["TOOLS"]) / "venv" / "bin" / "dbt"

FILES = {
    "dbt_project.yml": """
name: shop
version: "1.0"
profile: shop
models: {shop: {+materialized: view}}
""",
    "profiles.yml": f"""
shop:
  target: dev
  outputs:
    dev: {{type: postgres, host: {HOST}, port: {PORT}, user: root, password: "", dbname: dev, schema: public, threads: 2}}
""",
    "models/sources.yml": """
version: 2
sources:
  - {name: shop, schema: public, tables: [{name: sale}]}
models:
  - name: per_shop
    description: how much each shop sells
    columns:
      - {name: shop, tests: [not_null, unique]}
""",
    "models/large.sql": "select * from {{ source('shop', 'sale') }} where amount > 10",
    "models/per_shop.sql": """
{{ config(materialized='materialized_view', indexes=[{'columns': ['total']}]) }}
select shop, count(*) as n, sum(amount) as total from {{ ref('large') }} group by shop
""",
    "models/kept.sql": """
{{ config(materialized='table', indexes=[{'columns': ['shop']}]) }}
select shop, n, total from {{ ref('per_shop') }}
""",
    "models/large_so_far.sql": """
{{ config(materialized='incremental', unique_key='id', on_schema_change='append_new_columns') }}
select id, shop, amount from {{ source('shop', 'sale') }}
{% if is_incremental() %} where id >= (select max(id) from {{ this }}) {% endif %}
""",
    "models/appended.sql": """
{{ config(materialized='incremental', incremental_strategy='append') }}
select id, amount from {{ ref('large_so_far') }}
{% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}
""",
    "seeds/city.csv": "shop,city\n1,Oslo\n2,Rome\n",
    "snapshots/by_check.sql": """
{% snapshot by_check %}
{{ config(unique_key='id', strategy='check', check_cols=['amount'], target_schema='public') }}
select id, shop, amount from {{ source('shop', 'sale') }}
{% endsnapshot %}
""",
    "models/best.sql": "select shop from {{ ref('per_shop') }} where total > 50",
}


def sql(text):
    with psycopg2.connect(host=HOST, port=PORT, user="root", dbname="dev") as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else None


def dbt(*arguments):
    done = subprocess.run([DBT, "--no-use-colors", *arguments, "--profiles-dir", "."], cwd=FOLDER, capture_output=True,
                          text=True, timeout=300, env=os.environ | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"})
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@check
def connects():
    for name, text in FILES.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text)
    sql("CREATE TABLE sale (id bigint PRIMARY KEY, shop int, amount numeric(10,2))")
    sql("INSERT INTO sale VALUES (1, 1, 5), (2, 1, 20), (3, 2, 100)")
    assert "All checks passed" in dbt("debug")


@check
def seeds():
    assert "ERROR=0" in dbt("seed")
    equal(sql("SELECT shop, city FROM city ORDER BY shop"), [(1, "Oslo"), (2, "Rome")])


@check
def runs():
    assert "ERROR=0" in dbt("run")
    equal(sql("SELECT shop, n FROM kept ORDER BY shop"), [(1, 1), (2, 1)])
    equal(sql("SELECT shop, n FROM per_shop ORDER BY shop"), [(1, 1), (2, 1)])
    equal(sql("SELECT shop FROM best"), [(2,)])
    kinds = dict(sql("SELECT relname, relkind FROM pg_class WHERE relname IN ('large', 'per_shop', 'best')"))
    equal(kinds, {"large": "v", "per_shop": "m", "best": "v"})


@check
def views_follow():
    sql("INSERT INTO sale VALUES (4, 1, 200)")
    equal(sql("SELECT shop FROM best ORDER BY shop"), [(1,), (2,)])


@check
def tests_pass():
    assert "PASS=2" in dbt("test")


@check
def runs_again():
    assert "ERROR=0" in dbt("run")
    equal(sql("SELECT shop, n FROM per_shop ORDER BY shop"), [(1, 2), (2, 1)])
    equal(sql("SELECT shop, n FROM kept ORDER BY shop"), [(1, 2), (2, 1)])


@check
def increments():
    equal(sql("SELECT id, amount FROM large_so_far ORDER BY id"), [(1, 5), (2, 20), (3, 100), (4, 200)])
    sql("UPDATE sale SET amount = 7 WHERE id IN (1, 4)")
    sql("INSERT INTO sale VALUES (5, 2, 30)")
    assert "ERROR=0" in dbt("run", "--select", "large_so_far", "appended")
    # What is older than the last run's end is not looked at again, what has its key is replaced.
    equal(sql("SELECT id, amount FROM large_so_far ORDER BY id"), [(1, 5), (2, 20), (3, 100), (4, 7), (5, 30)])
    equal(sql("SELECT id, amount FROM appended ORDER BY id"), [(1, 5), (2, 20), (3, 100), (4, 200), (5, 30)])
    equal(sql("SELECT relname FROM pg_class WHERE relname LIKE '%dbt_tmp%'"), [])


@check
def increments_from_the_start():
    assert "ERROR=0" in dbt("run", "--full-refresh", "--select", "large_so_far")
    equal(sql("SELECT id, amount FROM large_so_far ORDER BY id"), [(1, 7), (2, 20), (3, 100), (4, 7), (5, 30)])


@check
def snapshots():
    assert "ERROR=0" in dbt("snapshot")
    now = sorted(sql("SELECT id, amount FROM sale"))
    equal(sql("SELECT id, amount FROM by_check WHERE dbt_valid_to IS NULL ORDER BY id"), now)
    sql("UPDATE sale SET amount = 8 WHERE id = 4")
    sql("INSERT INTO sale VALUES (6, 2, 60)")
    assert "ERROR=0" in dbt("snapshot")
    equal(sql("SELECT amount, dbt_valid_to IS NULL FROM by_check WHERE id = 4 ORDER BY dbt_valid_from"),
          [(7, False), (8, True)])
    equal(sql("SELECT count(*) FROM by_check"), [(len(now) + 2,)])
    assert "ERROR=0" in dbt("snapshot")
    equal(sql("SELECT count(*) FROM by_check"), [(len(now) + 2,)])


@check
def writes_its_catalog():
    dbt("docs", "generate")
    nodes = json.loads((FOLDER / "target" / "catalog.json").read_text())["nodes"]
    equal(nodes["model.shop.per_shop"]["metadata"]["type"], "MATERIALIZED VIEW")
    equal(list(nodes["model.shop.per_shop"]["columns"]), ["shop", "n", "total"])


if __name__ == "__main__":
    run("dbt-postgres", importlib.metadata.version("dbt-postgres"))

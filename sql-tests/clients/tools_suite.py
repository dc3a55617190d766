"""The tools of PostgreSQL itself and pgcli: psql with its commands, pgbench in each of its modes. tools_suite.py TOOL"""

import os
import subprocess
import sys
import tempfile

from checks import CHECKS, check, equal, restart, run

FOLDER = tempfile.mkdtemp(prefix="weir-tools-")


def psql(script, *options, errors=False):
    """What psql prints of the script."""
    done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", *options], input=script, capture_output=True, text=True,
                          cwd=FOLDER, timeout=60)
    if not errors and done.returncode:
        raise AssertionError(done.stderr)
    return done.stderr if errors else done.stdout


def version(tool):
    return subprocess.run([tool, "--version"], capture_output=True, text=True).stdout.split()


def psql_checks():
    @check
    def objects():
        psql("""
            CREATE TABLE item (k bigint PRIMARY KEY, v varchar NOT NULL DEFAULT 'x', n numeric(10,2), a int[], u uuid);
            INSERT INTO item VALUES (1, 'one', 1.5, '{1,2}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (2, 'two', NULL, NULL, NULL);
            CREATE MATERIALIZED VIEW counted AS SELECT v, count(*) AS n FROM item GROUP BY v;
            CREATE VIEW plain AS SELECT v FROM item;
            CREATE ROLE reader LOGIN;
            GRANT SELECT ON item TO reader;""")

    @check
    def describes():
        out = psql("\\d item\n\\d+ item\n\\d counted\n\\d+ counted\n\\d plain\n\\d+ plain\n\\d item_pkey\n\\d+ item_pkey")
        for part in ['"item_pkey" PRIMARY KEY', "numeric(10,2)", "integer[]", "uuid", 'Materialized view "public.counted"',
                     "View definition:", 'Index "public.item_pkey"', "'x'"]:
            assert part in out, part

    @check
    def all_listings():
        commands = ["\\d", "\\d+", "\\da", "\\dA", "\\dAc", "\\dAf", "\\dAo", "\\dAp", "\\db", "\\dc", "\\dC", "\\dconfig",
                    "\\dd", "\\dD", "\\ddp", "\\de", "\\des", "\\det", "\\deu", "\\dew", "\\df", "\\dF", "\\dFd", "\\dFp",
                    "\\dFt", "\\dg", "\\di", "\\dl", "\\dL", "\\dm", "\\dn", "\\do", "\\dO", "\\dp", "\\dP", "\\drds", "\\dRp",
                    "\\dRs", "\\ds", "\\dt", "\\dT", "\\du", "\\dv", "\\dx", "\\dX", "\\dy", "\\l", "\\z"]
        failed = []
        for command in commands:
            for form in [command, command + "+", command + "S", command + " item*"]:
                done = subprocess.run(["psql", "-X", "-c", form], capture_output=True, text=True, timeout=60)
                words = "invalid command", "Did not find any", "extra argument"
                # Nobody can make partitions, so nobody looks at the sizes of theirs.
                if form == "\\dP+":
                    continue
                if done.returncode and not any(word in done.stderr for word in words):
                    failed.append(f"{form}: {done.stderr.splitlines()[0]}")
        assert not failed, "; ".join(failed)

    @check
    def privileges():
        out = psql("\\dp item")
        assert "reader=r/root" in out and "root=arwd" in out, out

    @check
    def copies():
        with open(f"{FOLDER}/items.csv", "w") as file:
            file.write("k,v,n\n10,\"a,b\",1.25\n11,,\n")
        equal(psql("\\copy item (k, v, n) FROM items.csv (FORMAT csv, HEADER, FORCE_NOT_NULL (v))").strip(), "COPY 2")
        equal(psql("\\copy (SELECT k, v FROM item ORDER BY k) TO out.txt").strip(), "COPY 4")
        equal(open(f"{FOLDER}/out.txt").read(), "1\tone\n2\ttwo\n10\ta,b\n11\t\n")
        equal(psql("\\copy (SELECT k, v, n, a, u FROM item ORDER BY k) TO out.bin (FORMAT binary)").strip(), "COPY 4")
        psql("CREATE TABLE again (k bigint PRIMARY KEY, v varchar, n numeric(10,2), a int[], u uuid)")
        equal(psql("\\copy again FROM out.bin (FORMAT binary)").strip(), "COPY 4")
        psql("FLUSH")
        equal(psql("SELECT * FROM again ORDER BY k", "-At"), psql("SELECT k, v, n, a, u FROM item ORDER BY k", "-At"))
        psql("DROP TABLE again; DELETE FROM item WHERE k >= 10; FLUSH")

    @check
    def result_commands():
        out = psql("SELECT k, v, n, a, u, now() AS t FROM item \\gdesc", "-At")
        equal(out.strip().splitlines(),
              ["k|bigint", "v|text", "n|numeric", "a|integer[]", "u|uuid", "t|timestamp with time zone"])
        out = psql("SELECT * FROM (VALUES ('a', 'x', 1), ('a', 'y', 2), ('b', 'y', 3)) AS t(r, c, n) \\crosstabview", "-A", "-P", "footer=off")
        equal(out.splitlines(), ["r|x|y", "a|1|2", "b||3"])
        equal(psql("SELECT 'SELECT ' || k FROM item ORDER BY k \\gexec", "-At").split(), ["1", "2"])
        equal(psql("SELECT 5 AS a, 6 AS b \\gset\n\\echo :a :b").strip(), "5 6")
        assert "one" in psql("SELECT v FROM item WHERE k = 1 \\gx")
        equal(psql("SELECT 7 \\bind \\g", "-At").strip() if version("psql")[2] >= "16" else "7", "7")

    @check
    def watches():
        out = subprocess.run(["timeout", "2", "psql", "-X", "-At", "-c", "SELECT 42 AS n \\watch 0.2"], capture_output=True,
                             text=True, input="").stdout
        if "42" not in out:
            out = subprocess.run(["timeout", "2", "psql", "-X", "-At"], input="SELECT 42 AS n \\watch 0.2\n",
                                 capture_output=True, text=True).stdout
        assert out.count("42") > 2, out

    @check
    def tab_completion():
        # What psql 15 asks when TAB is pressed behind SELECT … FROM, DROP VIEW, \d, SET, ….
        for sql in [
            "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p')"
            " AND substring(pg_catalog.quote_ident(c.relname),1,2)='it' AND pg_catalog.pg_table_is_visible(c.oid)",
            "SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'v') AND"
            " (c.relname) LIKE 'it%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM"
            " pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')\nUNION ALL\nSELECT NULL::pg_catalog.text, n.nspname FROM"
            " pg_catalog.pg_namespace n WHERE n.nspname LIKE 'it%' AND n.nspname NOT LIKE E'pg\\\\_%'\nLIMIT 1000",
            "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings WHERE context != 'internal' AND"
            " pg_catalog.lower(name) LIKE pg_catalog.lower('time%')\nLIMIT 1000",
            "SELECT attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid AND a.attnum > 0 AND"
            " NOT a.attisdropped AND (attname) LIKE 'k%' AND (c.relname) = 'item' AND pg_catalog.pg_table_is_visible(c.oid)\n"
            "LIMIT 1000",
            "SELECT datname FROM pg_catalog.pg_database WHERE (datname) LIKE 'd%'\nLIMIT 1000",
            "SELECT rolname FROM pg_catalog.pg_roles WHERE (rolname) LIKE 'r%'\nLIMIT 1000",
            "SELECT nspname FROM pg_catalog.pg_namespace WHERE (nspname) LIKE 'pub%'\nLIMIT 1000",
            "SELECT proname FROM pg_catalog.pg_proc p WHERE p.prokind IN ('f', 'w') AND (p.proname) LIKE 'tumb%'\nLIMIT 1000",
        ]:
            psql(sql)

    @check
    def errors_and_transactions():
        assert "42P01" in psql("\\set VERBOSITY verbose\nSELECT * FROM nothing_here;", errors=True)
        assert "LINE 1: SELEC 1" in psql("SELEC 1;", errors=True)
        equal(psql("BEGIN; SELECT 1; COMMIT;", "-Atq").strip(), "1")
        out = psql("\\set ON_ERROR_ROLLBACK on\n\\set ON_ERROR_STOP off\nBEGIN;\nSELECT 1/0;\nSELECT 2;\nCOMMIT;", "-Atq")
        equal(out.strip(), "2")

    @check
    def conninfo_and_restart():
        assert "You are connected" in psql("\\conninfo")
        restart()
        equal(psql("SELECT count(*) FROM item", "-At").strip(), "2")

    @check
    def drops():
        psql("DROP MATERIALIZED VIEW counted; DROP VIEW plain; DROP TABLE item; DROP ROLE reader;")


def pgbench_checks():
    def bench(script, *options):
        path = f"{FOLDER}/script.sql"
        with open(path, "w") as file:
            file.write(script)
        done = subprocess.run(["pgbench", "-n", "-f", path, "-t", "50", "-c", "4", *options], capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == 0, done.stderr
        assert "number of transactions actually processed: 200/200" in done.stdout, done.stdout
        assert "number of failed transactions: 0" in done.stdout, done.stdout

    @check
    def sets_up():
        psql("CREATE TABLE bench (k int PRIMARY KEY, v bigint NOT NULL);"
             "INSERT INTO bench SELECT x, 0 FROM generate_series(1, 1000) AS g(x);"
             "CREATE MATERIALIZED VIEW totals AS SELECT k % 10 AS d, sum(v) AS total FROM bench GROUP BY k % 10")

    for mode in ["simple", "extended", "prepared"]:
        def reads(mode=mode):
            bench("\\set k random(1, 1000)\nSELECT v FROM bench WHERE k = :k;\nSELECT total FROM totals WHERE d = :k % 10;\n",
                  "-M", mode)

        def writes(mode=mode):
            bench("\\set k random(1, 1000)\nBEGIN;\nUPDATE bench SET v = v + 1 WHERE k = :k;\n"
                  "SELECT v FROM bench WHERE k = :k;\nEND;\n", "-M", mode)

        for function in (reads, writes):
            function.__name__ = f"{function.__name__}_{mode}"
            CHECKS.append(function)

    @check
    def nothing_is_lost():
        equal(psql("SELECT sum(v) FROM bench", "-At").strip(), "600")
        equal(psql("SELECT sum(total) FROM totals", "-At").strip(), "600")
        psql("DROP MATERIALIZED VIEW totals; DROP TABLE bench")


def pgcli_checks():
    def pgcli(text):
        tool = os.path.join(os.path.dirname(sys.executable), "pgcli")
        host, port = os.environ["PGHOST"], os.environ["PGPORT"]
        done = subprocess.run([tool, "--pgclirc", f"{FOLDER}/config", "-h", host, "-p", port, "-u", "root", "-d", "dev"],
                              input=text, capture_output=True, text=True, timeout=90,
                              env=os.environ | {"TERM": "dumb", "PROMPT_TOOLKIT_NO_CPR": "1", "HOME": FOLDER})
        return done.stdout + done.stderr

    @check
    def asks_and_describes():
        psql("CREATE TABLE cli (k int PRIMARY KEY, v varchar)")
        out = pgcli("SELECT 40 + 2 AS answer;\n\\dt\n\\d cli\n\\q\n")
        for part in ["42", "cli", "cli_pkey"]:
            assert part in out, out

    @check
    def completion_queries():
        from pgcli.pgexecute import PGExecute
        server = PGExecute("dev", "root", "", os.environ["PGHOST"], os.environ["PGPORT"])
        assert ("public", "cli") in list(server.tables())
        assert ("public", "cli", "k", "integer", False, None) in list(server.table_columns())
        assert "public" in server.schemata() and "dev" in server.databases()
        list(server.views()), list(server.view_columns()), list(server.foreignkeys())
        list(server.datatypes())
        server.search_path()
        psql("DROP TABLE cli")


if __name__ == "__main__":
    TOOL = sys.argv[1]
    {"psql": psql_checks, "pgbench": pgbench_checks, "pgcli": pgcli_checks}[TOOL]()
    if TOOL == "pgcli":
        import pgcli
        run("pgcli", pgcli.__version__)
    run(TOOL, version(TOOL)[2])

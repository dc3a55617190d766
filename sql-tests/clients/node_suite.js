// node-postgres, with its cursors and streams.

const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");
const QueryStream = require("pg-query-stream");
const net = require("net");
const assert = require("assert");

const checks = {};

async function connect() {
  const client = new Client();
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function raises(state, promise) {
  try {
    await promise;
  } catch (e) {
    assert.strictEqual(e.code, state, `${e.message}: ${e.code}, wanted ${state}`);
    return e;
  }
  throw new Error(`no error, wanted ${state}`);
}

function restart() {
  return new Promise((resolve, reject) => {
    const control = net.connect(process.env.WEIR_CONTROL, process.env.PGHOST, () => control.write("restart\n"));
    control.on("data", () => { control.end(); resolve(); });
    control.on("error", reject);
  });
}

checks.types_both_ways = async (c) => {
  const at = new Date(Date.UTC(2026, 2, 1, 12));
  const values = [
    ["boolean", true], ["smallint", -5], ["integer", 2147483647], ["bigint", "-9223372036854775808"], ["real", 1.5],
    ["double precision", -1e300], ["numeric(20,4)", "1234567890123456.7891"], ["varchar", "grün 'x' \\ \""], ["text", ""],
    ["bytea", Buffer.from([0, 255, 92])], ["timestamptz", at], ["uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    ["integer[]", [1, null, 3]], ["text[]", ["a", 'b"c', null, "d,e", ""]], ["jsonb", { a: [1, null] }], ["time", "23:59:59.999999"],
  ];
  for (const [kind, value] of values) {
    const { rows } = await c.query(`SELECT $1::${kind} AS a, NULL::${kind} AS b`, [value]);
    assert.deepStrictEqual(rows, [{ a: value, b: null }], kind);
  }
  const { rows } = await c.query({ text: "SELECT $1::bigint AS a, true AS b", values: [7], binary: true });
  assert.deepStrictEqual(rows, [{ a: "7", b: true }]);
};

checks.prepared_statements = async (c) => {
  for (let i = 0; i < 5; i++) {
    const { rows } = await c.query({ name: "add", text: "SELECT $1::int + $2::int AS n", values: [i, 1] });
    assert.strictEqual(rows[0].n, i + 1);
  }
};

checks.inferred_parameters = async (c) => {
  await c.query("CREATE TABLE node_in (k bigint PRIMARY KEY, v varchar, n numeric(10,2), t timestamptz, d date)");
  const at = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  await c.query("INSERT INTO node_in VALUES ($1, $2, $3, $4, $5)", [1, "a", 1.25, at, "2026-01-02"]);
  const updated = await c.query("UPDATE node_in SET v = $1, n = n + $2 WHERE k = $3", ["b", "1", 1]);
  assert.strictEqual(updated.rowCount, 1);
  const { rows } = await c.query("SELECT n, t FROM node_in WHERE k = $1 AND v LIKE $2 LIMIT $3", ["1", "b%", 1]);
  assert.deepStrictEqual(rows, [{ n: "2.25", t: at }]);
  assert.strictEqual((await c.query("SELECT k FROM node_in WHERE k = ANY($1)", [[1, 2]])).rowCount, 1);
  assert.strictEqual((await c.query("SELECT k FROM node_in WHERE k IN ($1, $2)", [1, 2])).rowCount, 1);
  await c.query("DROP TABLE node_in");
};

checks.several_statements_in_one_message = async (c) => {
  const results = await c.query("SELECT 1::int AS a; SELECT 2::int AS b");
  assert.deepStrictEqual(results.map((r) => r.rows), [[{ a: 1 }], [{ b: 2 }]]);
};

checks.cursors = async (c) => {
  const cursor = c.query(new Cursor("SELECT x FROM generate_series(1, $1::int) AS g(x)", [1000]));
  assert.deepStrictEqual((await cursor.read(3)).map((r) => Number(r.x)), [1, 2, 3]);
  assert.strictEqual((await cursor.read(5000)).length, 997);
  assert.strictEqual((await cursor.read(1)).length, 0);
  await cursor.close();
  const early = c.query(new Cursor("SELECT x FROM generate_series(1, 1000000) AS g(x)"));
  assert.strictEqual((await early.read(10)).length, 10);
  await early.close();
};

checks.streams = async (c) => {
  let total = 0;
  for await (const row of c.query(new QueryStream("SELECT x FROM generate_series(1, 5000) AS g(x)", [], { batchSize: 100 }))) {
    total += Number(row.x);
  }
  assert.strictEqual(total, 12502500);
};

checks.transactions = async (c) => {
  await c.query("CREATE TABLE node_tx (k int PRIMARY KEY)");
  await c.query("BEGIN");
  await c.query("INSERT INTO node_tx VALUES ($1)", [1]);
  await c.query("COMMIT");
  await c.query("BEGIN");
  await raises("22012", c.query("SELECT 1/0"));
  await raises("25P02", c.query("SELECT 1"));
  await c.query("ROLLBACK");
  assert.strictEqual((await c.query("SELECT count(*) AS n FROM node_tx")).rows[0].n, "1");
  await c.query("DROP TABLE node_tx");
};

checks.errors_by_sqlstate = async (c) => {
  for (const [state, sql] of [["42601", "SELEC 1"], ["42P01", "SELECT * FROM nothing_here"],
    ["22P02", "SELECT 'x'::int"], ["42883", "SELECT nothing_here(1)"]]) {
    await raises(state, c.query(sql));
    await raises(state, c.query(sql, []));
  }
  const e = await raises("22P02", c.query("SELECT $1::int", ["x"]));
  assert.strictEqual(e.severity, "ERROR");
};

checks.many_at_once_and_pools = async () => {
  const pool = new Pool({ max: 5 });
  const all = await Promise.all([...Array(60).keys()].map((i) => pool.query("SELECT $1::int AS n", [i])));
  assert.deepStrictEqual(all.map((r) => r.rows[0].n), [...Array(60).keys()]);
  await pool.end();
};

checks.cancel = async (c) => {
  const other = await connect();
  setTimeout(() => other.query("SELECT pg_cancel_backend($1)", [c.processID]), 300);
  await raises("57014", c.query("SELECT pg_sleep(30)"));
  await c.query("SET statement_timeout = 200");
  await raises("57014", c.query("SELECT pg_sleep(30)"));
  await c.query("RESET statement_timeout");
  await other.end();
};

checks.reconnects_after_a_restart = async () => {
  const c = await connect();
  await restart();
  await assert.rejects(c.query("SELECT 1"));
  const again = await connect();
  assert.strictEqual((await again.query("SELECT 1::int AS a")).rows[0].a, 1);
  await again.end();
};

(async () => {
  console.log(`driver node-postgres ${require("pg/package.json").version}`);
  let failed = false;
  for (const [name, run] of Object.entries(checks)) {
    const c = await connect();
    try {
      await run(c);
      console.log(`ok ${name}`);
    } catch (e) {
      failed = true;
      console.log(`FAIL ${name}: ${e.message.replace(/\n/g, " | ")}`);
      console.error(e);
    }
    await c.end().catch(() => {});
  }
  process.exit(failed ? 1 : 0);
})();

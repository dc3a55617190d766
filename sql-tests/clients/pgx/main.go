// pgx, in its native form: statements prepared and cached, batches, COPY in binary, cancel by context.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgtype"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var background = context.Background()

func connect() (*pgx.Conn, error) { return pgx.Connect(background, "sslmode=disable") }

func equal(got, wanted interface{}) error {
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("got %v, wanted %v", got, wanted)
	}
	return nil
}

func raises(state string, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return fmt.Errorf("got %v, wanted %s", err, state)
	}
	return equal(pg.Code, state)
}

func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func exec(c *pgx.Conn, sql string, arguments ...interface{}) error {
	_, err := c.Exec(background, sql, arguments...)
	return err
}

func typesBothWays(c *pgx.Conn) error {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	values := []struct {
		kind  string
		value interface{}
	}{
		{"boolean", true}, {"smallint", int16(-5)}, {"integer", int32(2147483647)}, {"bigint", int64(math.MinInt64)},
		{"real", float32(1.5)}, {"double precision", -1e300}, {"varchar", "grün 'x' \\ \""}, {"text", ""},
		{"bytea", []byte{0, 255, 92}}, {"timestamptz", at}, {"timestamp", at}, {"date", at.Truncate(24 * time.Hour)},
		{"integer[]", []int32{1, 2}}, {"text[]", []string{"a", "b\"c"}},
	}
	for _, v := range values {
		got := reflect.New(reflect.TypeOf(v.value))
		err := c.QueryRow(background, "SELECT $1::"+v.kind, v.value).Scan(got.Interface())
		if err == nil {
			value := got.Elem().Interface()
			if t, ok := value.(time.Time); ok {
				value = t.UTC()
			}
			err = equal(value, v.value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", v.kind, err)
		}
	}
	var number pgtype.Numeric
	var id pgtype.UUID
	return all(
		c.QueryRow(background, "SELECT $1::numeric(20,4), $2::uuid", "1234567890123456.7891",
			"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").Scan(&number, &id),
		equal(fmt.Sprint(number.Int, number.Exp), "12345678901234567891 -4"), equal(id.Bytes[0], byte(0xa0)))
}

func inferredParameters(c *pgx.Conn) error {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var n string
	return all(
		exec(c, "CREATE TABLE pgx_in (k bigint PRIMARY KEY, v varchar, n numeric(10,2), t timestamptz)"),
		exec(c, "INSERT INTO pgx_in VALUES ($1, $2, $3, $4)", 1, "a", "1.25", at),
		exec(c, "UPDATE pgx_in SET v = $1 WHERE k = $2", "b", 1),
		c.QueryRow(background, "SELECT n::text FROM pgx_in WHERE k = ANY($1) AND t = $2 LIMIT $3", []int64{1, 2}, at, 1).Scan(&n),
		equal(n, "1.25"),
		exec(c, "DROP TABLE pgx_in"))
}

func batches(c *pgx.Conn) error {
	if err := exec(c, "CREATE TABLE pgx_many (k int PRIMARY KEY)"); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for i := 0; i < 100; i++ {
		batch.Queue("INSERT INTO pgx_many VALUES ($1)", i)
	}
	batch.Queue("SELECT count(*) FROM pgx_many")
	results := c.SendBatch(background, batch)
	for i := 0; i < 100; i++ {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	var count int64
	err := results.QueryRow().Scan(&count)
	return all(err, results.Close(), equal(count, int64(100)), exec(c, "DROP TABLE pgx_many"))
}

func copyFrom(c *pgx.Conn) error {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := exec(c, "CREATE TABLE pgx_copy (k int PRIMARY KEY, v text, t timestamptz, a int[])"); err != nil {
		return err
	}
	rows := [][]interface{}{{int32(1), "a", at, []int32{1, 2}}, {int32(2), nil, nil, nil}}
	n, err := c.CopyFrom(background, pgx.Identifier{"pgx_copy"}, []string{"k", "v", "t", "a"}, pgx.CopyFromRows(rows))
	var total int64
	return all(err, equal(n, int64(2)),
		c.QueryRow(background, "SELECT sum(k) FROM pgx_copy").Scan(&total), equal(total, int64(3)),
		exec(c, "DROP TABLE pgx_copy"))
}

func transactions(c *pgx.Conn) error {
	if err := exec(c, "CREATE TABLE pgx_tx (k int PRIMARY KEY)"); err != nil {
		return err
	}
	err := c.BeginTxFunc(background, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		_, err := tx.Exec(background, "INSERT INTO pgx_tx VALUES (1)")
		return err
	})
	if err != nil {
		return err
	}
	tx, err := c.Begin(background)
	if err != nil {
		return err
	}
	_, divided := tx.Exec(background, "SELECT 1/0")
	_, failed := tx.Exec(background, "SELECT 1")
	return all(raises("22012", divided), raises("25P02", failed), tx.Rollback(background), exec(c, "DROP TABLE pgx_tx"))
}

func errorsBySqlstate(c *pgx.Conn) error {
	return all(raises("42601", exec(c, "SELEC 1")), raises("42P01", exec(c, "SELECT * FROM nothing_here")),
		raises("22P02", exec(c, "SELECT 'x'::int")), exec(c, "SELECT 1"))
}

func cancel(*pgx.Conn) error {
	c, err := connect()
	if err != nil {
		return err
	}
	short, stop := context.WithTimeout(background, 300*time.Millisecond)
	defer stop()
	_, err = c.Exec(short, "SELECT pg_sleep(30)")
	if err == nil || !pgconn.Timeout(err) {
		return fmt.Errorf("got %v, wanted a timeout", err)
	}
	c, err = connect()
	if err != nil {
		return err
	}
	defer c.Close(background)
	time.AfterFunc(300*time.Millisecond, func() { c.PgConn().CancelRequest(background) })
	return raises("57014", exec(c, "SELECT pg_sleep(30)"))
}

func pools(*pgx.Conn) error {
	pool, err := pgxpool.Connect(background, "sslmode=disable pool_max_conns=4")
	if err != nil {
		return err
	}
	defer pool.Close()
	done := make(chan error)
	for i := 0; i < 40; i++ {
		go func(i int) {
			var got int
			err := pool.QueryRow(background, "SELECT $1::int", i).Scan(&got)
			done <- all(err, equal(got, i))
		}(i)
	}
	for i := 0; i < 40; i++ {
		err = all(err, <-done)
	}
	return err
}

func reconnects(*pgx.Conn) error {
	c, err := connect()
	if err != nil {
		return err
	}
	control, err := net.Dial("tcp", os.Getenv("PGHOST")+":"+os.Getenv("WEIR_CONTROL"))
	if err != nil {
		return err
	}
	fmt.Fprintln(control, "restart")
	control.Read(make([]byte, 8))
	control.Close()
	if exec(c, "SELECT 1") == nil {
		return errors.New("the connection outlived the server")
	}
	again, err := connect()
	if err != nil {
		return err
	}
	return all(exec(again, "SELECT 1"), again.Close(background))
}

func main() {
	fmt.Println("driver pgx", os.Getenv("PGX_VERSION"))
	failed := false
	for _, check := range []struct {
		name string
		run  func(*pgx.Conn) error
	}{
		{"types_both_ways", typesBothWays}, {"inferred_parameters", inferredParameters}, {"batches", batches},
		{"copy_in_binary", copyFrom}, {"transactions", transactions}, {"errors_by_sqlstate", errorsBySqlstate},
		{"cancel", cancel}, {"pools", pools}, {"reconnects_after_a_restart", reconnects},
	} {
		c, err := connect()
		if err == nil {
			err = check.run(c)
			c.Close(background)
		}
		if err != nil {
			failed = true
			fmt.Printf("FAIL %s: %s\n", check.name, strings.ReplaceAll(err.Error(), "\n", " | "))
			continue
		}
		fmt.Printf("ok %s\n", check.name)
	}
	if failed {
		os.Exit(1)
	}
}

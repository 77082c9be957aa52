// SPDX-License-Identifier: PostgreSQL

// The features of the driver matrix through Go's database/sql and lib/pq; the connection comes from
// libpq's environment variables.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/lib/pq"
)

const reads, writes, times = 40, 100, 30

var table = os.Getenv("DRIVER_TABLE")
var background = context.Background()

func report(feature string, ok bool, detail string) {
	line, _ := json.Marshal(map[string]interface{}{"feature": feature, "ok": ok, "detail": detail})
	fmt.Println(string(line))
}

type failure struct{ text string }

func fail(format string, values ...interface{}) {
	text := fmt.Sprintf(format, values...)
	for depth := 1; depth < 5; depth++ {
		if _, _, line, ok := runtime.Caller(depth); ok {
			text += fmt.Sprintf(" :%d", line)
		}
	}
	panic(failure{text})
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func feature(name string, run func()) {
	defer func() {
		switch problem := recover().(type) {
		case nil:
			report(name, true, "")
		case failure:
			report(name, false, problem.text)
		default:
			report(name, false, fmt.Sprint(problem))
		}
	}()
	run()
}

func expect(got, wanted interface{}) {
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		fail("%.300v, not %.300v", got, wanted)
	}
}

func expectState(err error, state string) {
	var pqError *pq.Error
	if !errors.As(err, &pqError) || string(pqError.Code) != state {
		fail("%v, not %s", err, state)
	}
}

// One connection, as the others have it: the pool of database/sql would spread over several.
func connect(dsn string) *sql.DB {
	db, err := sql.Open("postgres", dsn)
	must(err)
	db.SetMaxOpenConns(1)
	return db
}

type querier interface {
	QueryRowContext(context.Context, string, ...interface{}) *sql.Row
	ExecContext(context.Context, string, ...interface{}) (sql.Result, error)
}

func ask(db querier, text string, values ...interface{}) string {
	var value string
	must(db.QueryRowContext(background, text, values...).Scan(&value))
	return value
}

func run(db querier, text string, values ...interface{}) {
	_, err := db.ExecContext(background, text, values...)
	must(err)
}

func failing(db querier, text string, values ...interface{}) error {
	var value string
	return db.QueryRowContext(background, text, values...).Scan(&value)
}

func testConnect() {
	db := connect("")
	defer db.Close()
	expect(ask(db, "select 1"), "1")
	wrong := connect("password=wrong")
	defer wrong.Close()
	expectState(wrong.Ping(), "28P01")
}

func testAutocommit() {
	db := connect("")
	defer db.Close()
	run(db, "insert into "+table+" values ($1, $2)", 1, "one")
	expect(ask(db, "select v from "+table+" where id = $1", 1), "one")
	result, err := db.Exec("delete from " + table)
	must(err)
	count, _ := result.RowsAffected()
	expect(count, 1)
	expect(ask(db, "select count(*) from "+table), "0")
}

func testTransactions() {
	db := connect("")
	defer db.Close()
	put := "insert into " + table + " values ($1, $2)"
	t, err := db.Begin()
	must(err)
	run(t, put, 10, "kept")
	must(t.Commit())
	t, err = db.Begin()
	must(err)
	run(t, put, 11, "dropped")
	must(t.Rollback())
	t, err = db.BeginTx(background, &sql.TxOptions{Isolation: sql.LevelSerializable})
	must(err)
	run(t, put, 12, "kept")
	run(t, "savepoint s")
	run(t, put, 13, "dropped")
	run(t, "rollback to s")
	run(t, put, 14, "kept")
	must(t.Commit())
	expect(ask(db, "select string_agg(id::text, ',' order by id) from "+table+
		" where id between 10 and 19"), "10,12,14")
	t, err = db.BeginTx(background, &sql.TxOptions{ReadOnly: true})
	must(err)
	expect(ask(t, "select count(*) from "+table), "3")
	must(t.Commit())
}

func testPrepared() {
	db := connect("")
	defer db.Close()
	plus, err := db.Prepare("select $1::int + 1")
	must(err)
	put, err := db.Prepare("insert into " + table + " values ($1, $2)")
	must(err)
	for i := 0; i < times; i++ {
		var sum int
		must(plus.QueryRow(i).Scan(&sum))
		expect(sum, i+1)
		_, err = put.Exec(100+i, "prepared")
		must(err)
		if i%10 == 0 {
			t, err := db.Begin()
			must(err)
			must(t.Stmt(plus).QueryRow(i).Scan(&sum))
			expect(sum, i+1)
			must(t.Commit())
		}
	}
	must(plus.Close())
	must(put.Close())
	expect(ask(db, "select count(*) from "+table+" where v = $1", "prepared"), times)
}

// Many statements in one string is the nearest that it has.
func testPipeline() {
	db := connect("")
	defer db.Close()
	var text strings.Builder
	for i := 0; i < 300; i++ {
		fmt.Fprintf(&text, "insert into %s values (%d, 'batch');", table, 1000+i)
	}
	run(db, text.String())
	_, err := db.Exec("insert into " + table + " values (2000, 'batch'); select 1/0")
	expectState(err, "22012")
	expect(ask(db, "select count(*) from "+table+" where v = 'batch'"), "300")
}

// It copies in only.
func testCopy() {
	db := connect("")
	defer db.Close()
	copyIn := func(rows [][]interface{}) error {
		t, err := db.Begin()
		must(err)
		defer t.Rollback()
		copying, err := t.Prepare(pq.CopyIn(table, "id", "v"))
		must(err)
		for _, row := range rows {
			if _, err = copying.Exec(row...); err != nil {
				return err
			}
		}
		if _, err = copying.Exec(); err != nil {
			return err
		}
		must(copying.Close())
		return t.Commit()
	}
	rows := make([][]interface{}, 5000)
	for i := range rows {
		rows[i] = []interface{}{10000 + i, "copied"}
	}
	must(copyIn(rows))
	expect(ask(db, "select count(*) from "+table+" where v = 'copied'"), "5000")
	expectState(copyIn([][]interface{}{{"no number", "x"}}), "22P02")
	expect(ask(db, "select 1"), "1")
}

func testCancel() {
	db := connect("")
	defer db.Close()
	for i := 0; i < 3; i++ {
		limited, cancel := context.WithTimeout(background, 300*time.Millisecond)
		_, err := db.ExecContext(limited, "select pg_sleep(30)")
		cancel()
		expectState(err, "57014")
		expect(ask(db, "select 1"), "1")
	}
}

func testNotify() {
	db := connect("")
	defer db.Close()
	listener := pq.NewListener("", time.Second, time.Minute, nil)
	defer listener.Close()
	must(listener.Listen(table))
	run(db, "notify "+table+", 'hello'")
	select {
	case heard := <-listener.Notify:
		expect(heard.Extra, "hello")
	case <-time.After(10 * time.Second):
		fail("nothing heard")
	}
	must(listener.Ping())
}

func testLarge() {
	db := connect("")
	defer db.Close()
	big := strings.Repeat("abcdefghijklmnopqrstuvwxyz", 4*1024*1024/26)
	run(db, "insert into "+table+" values (50000, $1)", big)
	expect(ask(db, "select v from "+table+" where id = 50000") == big, true)
}

func testErrors() {
	db := connect("")
	defer db.Close()
	expectState(failing(db, "selec 1"), "42601")
	expectState(failing(db, "select * from no_such_table where a = $1", 1), "42P01")
	expectState(failing(db, "insert into "+table+" values ($1, 'again') returning v", 10), "23505")
	expect(ask(db, "select 1"), "1")
	t, err := db.Begin()
	must(err)
	expectState(failing(t, "select 1/$1::int", 0), "22012")
	expectState(failing(t, "select 1"), "25P02")
	must(t.Rollback())
	expect(ask(db, "select 1"), "1")
}

// A FATAL error is a bad connection to it; database/sql connects again by itself.
func testReconnect() {
	db := connect("")
	defer db.Close()
	t, err := db.Begin()
	must(err)
	err = failing(t, "select pg_terminate_backend(pg_backend_pid())")
	expect(errors.Is(err, driver.ErrBadConn), true)
	t.Rollback()
	for i := 0; i < 5; i++ {
		expect(ask(db, "select $1::int", i), i)
	}
}

func role(db *sql.DB) string {
	var node, role, verdict, reason string
	var lag sql.NullString
	must(db.QueryRow("show switchgear.last_route").Scan(&node, &role, &verdict, &reason, &lag))
	return role
}

func testSplit() {
	db := connect("")
	defer db.Close()
	replica := 0
	for i := 0; i < reads; i++ {
		ask(db, "select count(*) from "+table+" where id > $1", 0)
		if role(db) == "replica" {
			replica++
		}
	}
	if replica < reads/4 {
		fail("%d of %d reads on replicas", replica, reads)
	}
	expect(ask(db, "insert into "+table+" values (60000, 'x') returning pg_is_in_recovery()"), "false")
}

func testReadYourWrites() {
	db := connect("")
	defer db.Close()
	run(db, "insert into "+table+" values (70000, '-1')")
	for i := 0; i < writes; i++ {
		run(db, "update "+table+" set v = $1 where id = 70000", fmt.Sprint(i))
		expect(ask(db, "select v from "+table+" where id = $1", 70000), i)
	}
}

func main() {
	report("version", true, "lib/pq ("+runtime.Version()+")")
	feature("connect", testConnect)
	feature("autocommit", testAutocommit)
	feature("transactions", testTransactions)
	feature("prepared", testPrepared)
	feature("pipeline", testPipeline)
	feature("copy", testCopy)
	feature("cancel", testCancel)
	feature("notify", testNotify)
	feature("large", testLarge)
	feature("errors", testErrors)
	feature("reconnect", testReconnect)
	time.Sleep(500 * time.Millisecond) // replicas show what the features before it did
	feature("split", testSplit)
	feature("read_your_writes", testReadYourWrites)
}

//go:build cgo

package main

import (
	"errors"
	"fmt"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// duck is one in-memory database with one connection. It is used by one
// goroutine at a time.
type duck struct {
	db   duckdb.Database
	conn duckdb.Connection
}

// duckError is what DuckDB says about a statement.
type duckError struct {
	kind duckdb.ErrorType
	text string
}

func (e *duckError) Error() string { return e.text }

// home is the database that holds relations whose names have no catalog.
const home = "home" + mark

// openDuck opens a database that loads and fetches nothing by itself.
func openDuck() (*duck, error) {
	var cfg duckdb.Config
	if duckdb.CreateConfig(&cfg) == duckdb.StateError {
		return nil, errors.New("duckdb: no configuration")
	}
	defer duckdb.DestroyConfig(&cfg)
	for _, kv := range [][2]string{
		{"threads", "1"}, // the calling one: no thread that confine does not know
		{"memory_limit", "256MB"},
		{"autoload_known_extensions", "false"},
		{"autoinstall_known_extensions", "false"},
		{"allow_community_extensions", "false"},
		{"allow_persistent_secrets", "false"},
		{"temp_directory", ""},
		{"max_temp_directory_size", "0KB"},
	} {
		if duckdb.SetConfig(cfg, kv[0], kv[1]) == duckdb.StateError {
			return nil, fmt.Errorf("duckdb: setting %s is not accepted", kv[0])
		}
	}
	d := &duck{}
	var msg string
	if duckdb.OpenExt(":memory:", &d.db, cfg, &msg) == duckdb.StateError {
		return nil, fmt.Errorf("duckdb: open: %s", msg)
	}
	if duckdb.Connect(d.db, &d.conn) == duckdb.StateError {
		return nil, errors.New("duckdb: connect")
	}
	// The first database is called "memory", which a catalog may be called too.
	return d, d.exec("ATTACH ':memory:' AS "+quote(home), "USE "+quote(home), "DETACH memory", "SET TimeZone = 'UTC'")
}

func (d *duck) close() {
	duckdb.Disconnect(&d.conn)
	duckdb.Close(&d.db)
}

// exec runs statements of ours and drops their results.
func (d *duck) exec(sqls ...string) error {
	for _, sql := range sqls {
		var r duckdb.Result
		state := duckdb.Query(d.conn, sql, &r)
		err := &duckError{duckdb.ResultErrorType(&r), duckdb.ResultError(&r)}
		duckdb.DestroyResult(&r)
		if state == duckdb.StateError {
			return err
		}
	}
	return nil
}

// prepared is one statement, ready to run.
type prepared struct{ stmt duckdb.PreparedStatement }

// prepare makes ready the only statement of sql.
func (d *duck) prepare(sql string) (*prepared, error) {
	var all duckdb.ExtractedStatements
	n := duckdb.ExtractStatements(d.conn, sql, &all)
	defer duckdb.DestroyExtracted(&all)
	if n == 0 {
		return nil, &duckError{duckdb.ErrorTypeParser, duckdb.ExtractStatementsError(all)}
	}
	if n != 1 {
		return nil, errSeveral
	}
	p := &prepared{}
	if duckdb.PrepareExtractedStatement(d.conn, all, 0, &p.stmt) == duckdb.StateError {
		err := &duckError{duckdb.ErrorTypeInvalid, duckdb.PrepareError(p.stmt)}
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *prepared) close() { duckdb.DestroyPrepare(&p.stmt) }

func (p *prepared) isSelect() bool {
	return duckdb.PreparedStatementType(p.stmt) == duckdb.StatementTypeSelect
}

// columns are the names of the result's columns.
func (p *prepared) columns() []string {
	names := make([]string, duckdb.PreparedStatementColumnCount(p.stmt))
	for i := range names {
		names[i] = duckdb.PreparedStatementColumnName(p.stmt, duckdb.IdxT(i))
	}
	return names
}

// bind sets the parameters in order. Numbers come as int64 or float64.
func (p *prepared) bind(args []any) error {
	if n := int(duckdb.NParams(p.stmt)); n != len(args) {
		return invalid("The statement has %d parameters, and %d arguments were given.", n, len(args))
	}
	for i, a := range args {
		at := duckdb.IdxT(i + 1)
		var state duckdb.State
		switch a := a.(type) {
		case nil:
			state = duckdb.BindNull(p.stmt, at)
		case bool:
			state = duckdb.BindBoolean(p.stmt, at, a)
		case int64:
			state = duckdb.BindInt64(p.stmt, at, a)
		case float64:
			state = duckdb.BindDouble(p.stmt, at, a)
		case string:
			state = duckdb.BindVarcharLength(p.stmt, at, a, duckdb.IdxT(len(a)))
		default:
			return invalid("Argument %d has type %T; use null, a boolean, a number or a string.", i+1, a)
		}
		if state == duckdb.StateError {
			return invalid("Argument %d does not fit its parameter: %s", i+1, duckdb.PrepareError(p.stmt))
		}
	}
	return nil
}

// run starts the statement; rows are computed as they are fetched.
func (p *prepared) run() (*result, error) {
	r := &result{}
	if duckdb.ExecutePreparedStreaming(p.stmt, &r.res) == duckdb.StateError {
		err := &duckError{duckdb.ResultErrorType(&r.res), duckdb.ResultError(&r.res)}
		r.close()
		return nil, err
	}
	return r, nil
}

// result is a running query.
type result struct{ res duckdb.Result }

func (r *result) close() { duckdb.DestroyResult(&r.res) }

// next fetches a chunk of rows; the caller destroys it. It returns false at
// the end.
func (r *result) next() (duckdb.DataChunk, bool, error) {
	c := duckdb.FetchChunk(r.res)
	if c.Ptr == nil {
		if msg := duckdb.ResultError(&r.res); msg != "" {
			return c, false, &duckError{duckdb.ResultErrorType(&r.res), msg}
		}
		return c, false, nil
	}
	return c, duckdb.DataChunkGetSize(c) > 0, nil
}

// text runs a query of ours with one string as parameter and one string as
// answer.
func (d *duck) text(sql, arg string) (string, error) {
	p, err := d.prepare(sql)
	if err != nil {
		return "", err
	}
	defer p.close()
	if err := p.bind([]any{arg}); err != nil {
		return "", err
	}
	r, err := p.run()
	if err != nil {
		return "", err
	}
	defer r.close()
	c, ok, err := r.next()
	if err != nil {
		return "", err
	}
	defer duckdb.DestroyDataChunk(&c)
	if !ok {
		return "", fmt.Errorf("duckdb: %s: no answer", sql)
	}
	v := duckdb.DataChunkGetVector(c, 0)
	s := (*duckdb.StringT)(unsafe.Pointer(duckdb.VectorGetData(v)))
	return duckdb.StringTData(s), nil
}

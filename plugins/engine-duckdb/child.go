//go:build cgo

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// childArg as the only argument makes the program a child: requests on
// descriptor 3, answers on 4.
const childArg = "query-child"

// child is one process that runs one query, or parses statements.
type child struct {
	duck  *duck
	rules *rules
	out   *bufio.Writer
}

// childMain opens the database before there is a request, and waits. The
// process ends with its request pipe: so does a child whose parent died.
func childMain() int {
	in, out := os.NewFile(3, "requests"), os.NewFile(4, "answers")
	c := &child{rules: newRules(), out: bufio.NewWriterSize(out, 64<<10)}
	if _, err := in.Stat(); err != nil {
		fmt.Fprintln(os.Stderr, "this is a part of the plugin; the plugin starts it")
		return 2
	}
	// The first to go when memory gets short. Not every system lets it.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)

	var err error
	if c.duck, err = openDuck(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// The parser is slow the first time.
	if _, err := c.duck.text(serialize, "SELECT 1"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = c.send(frameReady, ready{Version: duckdb.LibraryVersion(), Confine: confine.Probe()})
	if err == nil {
		err = c.serve(bufio.NewReader(in))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const serialize = "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR"

// serve answers requests: any number of inspections, or one query.
func (c *child) serve(in *bufio.Reader) error {
	narrowed := false
	for {
		typ, payload, err := readFrame(in, maxRequest)
		if err != nil {
			return err
		}
		switch typ {
		case frameInspect:
			if len(payload) == 0 {
				return errors.New("request without a mode")
			}
			if !narrowed {
				narrowed = true
				if err := c.narrow(confine.Policy{MaxMemory: 512 << 20, AllowUnconfined: payload[0] == 'l'}, nil); err != nil {
					return err
				}
			}
			st, err := c.inspect(string(payload[1:]))
			if err != nil {
				err = c.send(frameError, c.failure(err, nil))
			} else {
				err = c.send(frameStatement, st)
			}
			if err != nil {
				return err
			}
		case frameQuery:
			go func() { // the parent hangs up: nobody waits any more
				_, _ = in.ReadByte()
				os.Exit(0)
			}()
			var q request
			if err := json.Unmarshal(payload, &q); err != nil {
				return fmt.Errorf("request: %w", err)
			}
			return c.answer(q)
		default:
			return fmt.Errorf("request of unknown type %q", typ)
		}
	}
}

func (c *child) send(typ byte, v any) error {
	if err := writeJSON(c.out, typ, v); err != nil {
		return err
	}
	return c.out.Flush()
}

func (c *child) inspect(sql string) (engine.Statement, error) {
	kind, p, err := c.parse(sql)
	if err != nil {
		return engine.Statement{}, err
	}
	return engine.Statement{Kind: kind, Names: p.names()}, nil
}

func (c *child) parse(sql string) (string, *parsed, error) {
	if len(sql) > maxSQL {
		return "", nil, invalid("The SQL is %d bytes long; at most %d are possible.", len(sql), maxSQL)
	}
	if strings.ContainsRune(sql, 0) {
		return "", nil, invalid("The SQL holds a zero byte; remove it.")
	}
	tree, err := c.duck.text(serialize, sql)
	if err != nil {
		return "", nil, err
	}
	return c.rules.parse(sql, tree)
}

func (c *child) answer(q request) error {
	rs, names, err := readRelations(q.Relations)
	if err == nil {
		var truncated bool
		if truncated, err = c.query(q, rs, names); err == nil {
			return c.send(frameDone, done{truncated})
		}
	}
	return c.send(frameError, c.failure(err, rs))
}

// query narrows the process to the files of rs, and only then opens them.
func (c *child) query(q request, rs []relation, names []name) (truncated bool, err error) {
	if err := c.enclose(q, rs); err != nil {
		return false, err
	}
	sql, err := c.checked(q, names)
	if err != nil {
		return false, err
	}
	if err := c.offer(q, rs); err != nil {
		return false, err
	}
	return c.run(q, sql)
}

// enclose narrows the process to the files of rs.
func (c *child) enclose(q request, rs []relation) error {
	for _, r := range rs {
		for _, f := range r.Files {
			if fi, err := os.Stat(f.Path); err != nil || !fi.Mode().IsRegular() {
				return &viewError{r.name, fmt.Errorf("file %s: %w", f.Path, errors.Join(err, errors.New("not a readable file")))}
			}
		}
	}
	return c.narrow(confine.Policy{ReadFiles: paths(rs), MaxMemory: q.MaxMemory, AllowUnconfined: q.Loose}, &q)
}

// checked is the statement as it is run, over nothing but the relations names.
func (c *child) checked(q request, names []name) (string, error) {
	if q.Unchecked {
		return q.SQL, nil
	}
	_, p, err := c.parse(q.SQL)
	if err != nil {
		return "", err
	}
	return p.resolve(names)
}

// offer makes the views of rs, and bars everything else.
func (c *child) offer(q request, rs []relation) error {
	if err := c.duck.exec(fmt.Sprintf("SET memory_limit = '%dB'", q.MaxMemory*3/4), "SET parquet_metadata_cache = true"); err != nil {
		return err
	}
	if err := c.duck.views(rs); err != nil {
		return err
	}
	return c.duck.lock(paths(rs))
}

// run runs sql and sends its rows.
func (c *child) run(q request, sql string) (truncated bool, err error) {
	stmt, err := c.duck.prepare(sql)
	if err != nil {
		return false, err
	}
	defer stmt.close()
	if !stmt.isSelect() && !q.Unchecked {
		return false, notSelect(firstWord(q.SQL))
	}
	if err := stmt.bind(values(q.Args)); err != nil {
		return false, err
	}
	res, err := stmt.run()
	if err != nil {
		return false, err
	}
	defer res.close()
	return c.stream(res, q.MaxRows, q.MaxBytes)
}

// lock sets DuckDB's own bars, the second line behind those of the kernel.
func (d *duck) lock(files []string) error {
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = literal(f)
	}
	return d.exec("SET allowed_paths = ["+strings.Join(list, ", ")+"]", "SET enable_external_access = false", "SET lock_configuration = true")
}

// narrow gives up everything but the files of p. DuckDB has opened none yet.
func (c *child) narrow(p confine.Policy, q *request) error {
	if p.MaxMemory > 0 {
		p.MaxMemory += dataSize()
	}
	p.MaxOpenFiles = 256 + 4*len(p.ReadFiles) // a union opens a file more than once
	p.MaxFileSize = 1
	if q != nil {
		p.MaxCPU = seconds(q.MaxCPU)
	}
	_, err := confine.Apply(p)
	return err
}

// usualData is what a child has mapped when its database is open: more than
// was ever seen.
const usualData = 256 << 20

// dataSize is the memory that RLIMIT_DATA counts so far, in bytes. A plugin
// may not see /proc; the usual size has to do then.
func dataSize() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return usualData
	}
	_, rest, _ := strings.Cut(string(b), "\nVmData:")
	line, _, _ := strings.Cut(rest, "\n")
	kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	if err != nil {
		return usualData
	}
	return kb << 10
}

const batchBytes = 64 << 10

// stream sends the columns, then rows in batches, until a limit is reached.
func (c *child) stream(res *result, maxRows, maxBytes int) (truncated bool, err error) {
	cols, types, err := res.columns()
	if err != nil {
		return false, err
	}
	if err := c.send(frameColumns, cols); err != nil {
		return false, err
	}
	var batch []byte
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := writeFrame(c.out, frameRows, batch)
		batch = batch[:0]
		return errors.Join(err, c.out.Flush())
	}
	r := row{max: maxBytes}
	rows, bytes := 0, 0
	for {
		chunk, ok, err := res.next()
		if err != nil {
			return false, err
		}
		if !ok {
			return false, flush()
		}
		readers := make([]*column, len(types))
		for i, t := range types {
			readers[i] = newColumn(t, duckdb.DataChunkGetVector(chunk, duckdb.IdxT(i)))
		}
		for i := range uint64(duckdb.DataChunkGetSize(chunk)) {
			if rows == maxRows {
				return true, flush()
			}
			r.encode(readers, i)
			if bytes += len(r.buf); bytes > maxBytes {
				if rows == 0 {
					return false, invalid("One row of the result is larger than %d bytes; select fewer columns, or only parts of long values.", maxBytes)
				}
				return true, flush()
			}
			if len(batch)+len(r.buf) >= batchBytes {
				if err := flush(); err != nil {
					return false, err
				}
			}
			batch = append(append(batch, r.buf...), '\n')
			rows++
		}
		duckdb.DestroyDataChunk(&chunk)
	}
}

// columns describes the result.
func (r *result) columns() ([]engine.Column, []*sqlType, error) {
	n := duckdb.ColumnCount(&r.res)
	cols, types := make([]engine.Column, n), make([]*sqlType, n)
	for i := range n {
		cols[i].Name = duckdb.ColumnName(&r.res, i)
		types[i] = readType(duckdb.ColumnLogicalType(&r.res, i))
		if types[i] == nil {
			return nil, nil, invalid("Column %q has a type that cannot be shown; cast it, for example to VARCHAR.", cols[i].Name)
		}
		cols[i].Type = types[i].name
	}
	return cols, types, nil
}

// failure says err for the client, and for the log where it is not the
// client's affair.
func (c *child) failure(err error, rs []relation) failure {
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		return failure{Error: e}
	}
	if e, ok := errors.AsType[*viewError](err); ok {
		return failure{
			Error: apierror.New(apierror.Unavailable, "Table %s cannot be read: one of its files is missing, damaged, or not what the table's format says. Its owner can mend it.", e.name),
			Log:   clean(e.err.Error()),
		}
	}
	e, ok := errors.AsType[*duckError](err)
	if !ok {
		return failure{Error: apierror.New(apierror.Unavailable, "The query engine could not start the query; try again."), Log: err.Error()}
	}
	msg := clean(e.text)
	for _, r := range rs {
		for _, f := range r.Files {
			msg = strings.ReplaceAll(msg, f.Path, "a file of "+r.name.String())
		}
	}
	switch {
	case e.kind == duckdb.ErrorTypeOutOfMemory || strings.HasPrefix(msg, "Out of Memory"):
		return failure{Error: outOfMemory(), Log: msg}
	case e.kind == duckdb.ErrorTypeInternal || e.kind == duckdb.ErrorTypeFatal || strings.HasPrefix(msg, "INTERNAL Error") || strings.HasPrefix(msg, "FATAL Error"):
		return failure{Error: apierror.New(apierror.Invalid, "The engine failed on this statement by a fault of its own; write it in another way."), Log: msg}
	case strings.HasPrefix(msg, "IO Error") || strings.HasPrefix(msg, "Permission Error"):
		// Its text names paths.
		return failure{Error: apierror.New(apierror.Invalid, "The statement tried to reach a file or setting outside of the declared tables, or a file of a table is damaged."), Log: msg}
	}
	return failure{Error: apierror.New(apierror.Invalid, "%s", msg)}
}

func outOfMemory() *apierror.Error {
	return apierror.New(apierror.Invalid, "The query needs more memory than one query may use; filter or aggregate earlier, or select less.")
}

package gateway

import (
	"context"
	"errors"

	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/core/tables"
)

// Data is what the commands that read tables need: a running gateway's control
// socket, or a gateway opened over the data when none runs. Either way they
// work as the operator, see access.Service.Operator.
type Data interface {
	// SQL runs one SELECT. What is wrong with it is in the Reply.
	SQL(ctx context.Context, s sqlapi.Statement) (*sqlapi.Reply, error)
	// Tables describes the tables that the gateway writes.
	Tables(ctx context.Context) ([]tables.Info, error)
	// FlushTables puts all rows that were written until now into the tables.
	FlushTables(ctx context.Context) error
}

var (
	_ Data = (*Gateway)(nil)
	_ Data = (*Running)(nil)
)

// SQL implements Data.
func (g *Gateway) SQL(ctx context.Context, s sqlapi.Statement) (*sqlapi.Reply, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	gen, err := g.use()
	if err != nil {
		return nil, err
	}
	defer gen.leave()
	r, err := sqlapi.Run(ctx, gen.catalog.As(g.access.Operator()), s)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return sqlapi.Answer(r, err), nil
}

// Tables implements Data.
func (g *Gateway) Tables(ctx context.Context) ([]tables.Info, error) {
	if g.tables == nil {
		return nil, errNoTables
	}
	return g.tables.Info(ctx)
}

// FlushTables implements Data.
func (g *Gateway) FlushTables(ctx context.Context) error {
	if g.tables == nil {
		return errNoTables
	}
	return g.tables.Flush(ctx)
}

var errNoTables = errors.New("this gateway writes no tables")

// SQL implements Data.
func (m *Running) SQL(ctx context.Context, s sqlapi.Statement) (*sqlapi.Reply, error) {
	v := &sqlapi.Reply{}
	return v, m.do(ctx, "POST", "/sql", s, v)
}

// Tables implements Data.
func (m *Running) Tables(ctx context.Context) ([]tables.Info, error) {
	var v []tables.Info
	return v, m.do(ctx, "GET", "/tables", nil, &v)
}

// FlushTables implements Data.
func (m *Running) FlushTables(ctx context.Context) error {
	return m.do(ctx, "POST", "/tables/flush", nil, &struct{}{})
}

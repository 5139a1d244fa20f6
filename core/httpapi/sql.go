package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// warehouse is the only one there is: clients of the vendor's API look for one
// before their first statement. Statements may name any.
const warehouse = "sallyport"

// sqlSend is how long a client may take to read a result.
const sqlSend = 2 * time.Minute

// sqlRoutes are those of the Statement Execution API and of warehouses. The
// vendor's SDK writes a slash at the end of the first.
func (a *API) sqlRoutes() []Route {
	const statements, warehouses = "/api/2.0/sql/statements", "/api/2.0/sql/warehouses"
	rs := []Route{
		{Method: "POST", Path: statements, serve: a.sqlStatement},
		{Method: "POST", Path: statements + "/{$}", serve: a.sqlStatement},
		{Method: "GET", Path: statements + "/{id}", serve: a.sqlGone},
		{Method: "GET", Path: statements + "/{id}/result/chunks/{chunk}", serve: a.sqlGone},
		{Method: "POST", Path: statements + "/{id}/cancel", serve: a.sqlGone},
		{Method: "GET", Path: warehouses, serve: a.sqlWarehouses},
		{Method: "GET", Path: warehouses + "/{id}", serve: a.sqlWarehouse},
	}
	for i := range rs {
		rs[i].Scope = access.ScopeUnityCatalog
	}
	return rs
}

// sqlStatement runs one SELECT with the caller's rights and answers with its
// result. What is wrong with the SQL, or with the caller's right to its tables,
// is a statement that failed; what is wrong with the request is an error.
func (a *API) sqlStatement(w http.ResponseWriter, r *http.Request, c call) error {
	body, sh, err := a.readShare(w, r, c.principal)
	if err != nil {
		return err
	}
	defer sh.release()
	var s sqlapi.Statement
	if err := json.Unmarshal(body, &s); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return apierror.At(apierror.Invalid, e.Field, "The field %s must not be a JSON %s.", e.Field, e.Value)
		}
		return apierror.New(apierror.Invalid, "The request body is not a JSON object with a field statement.")
	}
	if err := s.Validate(); err != nil {
		return err
	}
	s.Reserve = func(bytes int64) error {
		if sh.bytes+bytes > a.budget.one {
			return apierror.New(apierror.TooLarge, "The result is larger than the gateway may hold. Ask for fewer rows or columns, or set byte_limit.")
		}
		return sh.grow(r.Context(), sh.bytes+bytes)
	}
	result, err := sqlapi.Run(r.Context(), c.Catalog.As(c.principal), s)
	switch code := apierror.CodeOf(err); {
	case err == nil:
	case r.Context().Err() != nil, code == apierror.RateLimited, code == apierror.Unauthenticated:
		return err
	case code == apierror.Internal, code == apierror.Unavailable:
		a.log.Error("statement failed", "request", requestID(r.Context()), "code", string(code), "error", err.Error())
	}
	rc := http.NewResponseController(w)
	rc.SetWriteDeadline(time.Now().Add(sqlSend)) // who reads slowly holds what others need
	defer rc.SetWriteDeadline(time.Time{})
	writeJSON(w, http.StatusOK, sqlapi.Answer(result, err))
	return nil
}

// sqlGone answers for results that a client comes back for.
func (a *API) sqlGone(_ http.ResponseWriter, r *http.Request, _ call) error {
	return apierror.New(apierror.NotFound, "There is no statement %s: results are given at once, with the answer to POST /api/2.0/sql/statements, and none is kept.", clip(r.PathValue("id")))
}

func warehouseObject() map[string]any {
	return map[string]any{"id": warehouse, "name": warehouse, "state": "RUNNING", "cluster_size": "2X-Small", "warehouse_type": "PRO", "num_clusters": 1}
}

func (a *API) sqlWarehouses(w http.ResponseWriter, _ *http.Request, _ call) error {
	writeJSON(w, http.StatusOK, map[string]any{"warehouses": []any{warehouseObject()}})
	return nil
}

func (a *API) sqlWarehouse(w http.ResponseWriter, r *http.Request, _ call) error {
	if id := r.PathValue("id"); id != warehouse {
		return apierror.New(apierror.NotFound, "There is no warehouse %s; the only one is %s.", clip(id), warehouse)
	}
	writeJSON(w, http.StatusOK, warehouseObject())
	return nil
}

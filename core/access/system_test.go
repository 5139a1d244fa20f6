package access

import (
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// What is in the catalog system is read by administrators and those with a
// grant, and changed by nobody.
func TestSystemIsOnlyRead(t *testing.T) {
	t.Parallel()
	usage, schema := Securable{Table, "system.ai_gateway.usage"}, "schema system.ai_gateway"
	cfg := Config{
		Users: []User{
			{Name: "alice", Groups: []string{"analysts"}}, {Name: "bob"}, {Name: "all"}, {Name: "top"}, {Name: "owner"}, {Name: "half"},
			{Name: "root", Admin: true},
		},
		Grants: []Grant{
			grant("analysts", schema, "USE SCHEMA", "SELECT"),
			grant("all", schema, "ALL PRIVILEGES"),
			grant("top", "metastore", "USE SCHEMA", "SELECT", "MODIFY", "MANAGE", "CREATE TABLE", "ALL PRIVILEGES"),
			grant("half", "table "+usage.Name, "SELECT"),
		},
	}
	s := snapshotOf(t, cfg, Object{Securable: usage, Owner: "owner"}, Object{Securable: Securable{Table, "main.s.t"}}, Object{Securable: ModelNamed("m")})
	tests := []struct {
		who  string
		p    Privilege
		on   Securable
		want bool
	}{
		{"root", Select, usage, true},
		{"alice", Select, usage, true},
		{"all", Select, usage, true},
		{"top", Select, usage, true},
		{"bob", Select, usage, false},
		{"half", Select, usage, false},  // without USE SCHEMA
		{"owner", Select, usage, false}, // as with any table
		{"root", Modify, usage, false},
		{"all", Modify, usage, false},
		{"top", Modify, usage, false},
		{"owner", Modify, usage, false},
		{"top", Manage, usage, false},
		{"root", ApplyTag, usage, false},
		{"root", CreateTable, Securable{Schema, "system.ai_gateway"}, false},
		{"top", CreateTable, Securable{Schema, "system.ai_gateway"}, false},
		{"root", CreateSchema, Securable{Catalog, "system"}, false},
		{"root", Manage, ModelNamed("m"), false},
		{"root", Execute, ModelNamed("m"), true},
		{"root", CanQuery, ModelNamed("m"), true},
		{"top", Modify, Securable{Table, "main.s.t"}, true},
		{"root", Modify, Securable{Table, "main.s.t"}, true},
		{"root", UseCatalog, Securable{Catalog, "system"}, true},
		{"bob", UseCatalog, Securable{Catalog, "system"}, true},
		{"bob", UseSchema, Securable{Schema, "system.ai_gateway"}, false},
	}
	for _, tt := range tests {
		v := s.check(s.members[tt.who], tt.p, tt.on)
		if got := v.n == 0 && v.exists; got != tt.want {
			t.Errorf("%s: %s on %s = %v, want %v", tt.who, tt.p, tt.on, got, tt.want)
		}
	}
	if s.explicit(s.members["top"], Modify, usage) {
		t.Error("MODIFY on the metastore counts as an explicit grant on a table of the gateway")
	}
	if !s.explicit(s.members["top"], Modify, Securable{Table, "main.s.t"}) {
		t.Error("MODIFY on the metastore does not count on an ordinary table")
	}

	const never = "Permission denied for table system.ai_gateway.usage: what is in the catalog system belongs to the gateway and is only read; nobody can have MODIFY on it."
	const grants = "Permission denied for table system.ai_gateway.usage: it does not exist, or bob lacks USE SCHEMA on schema system.ai_gateway and SELECT on table system.ai_gateway.usage. " +
		"An administrator (root) can add under access.grants in the gateway's configuration: {to: bob, privileges: [USE SCHEMA], on: schema system.ai_gateway}, {to: bob, privileges: [SELECT], on: table system.ai_gateway.usage}."
	for _, tt := range []struct {
		who  string
		p    Privilege
		want string
	}{{"root", Modify, never}, {"bob", Modify, never}, {"bob", Select, grants}} {
		m := s.members[tt.who]
		err := s.refuse(m, tt.p, usage, s.check(m, tt.p, usage))
		if !apierror.Is(err, apierror.Denied) || err.Error() != tt.want {
			t.Errorf("%s: %s is refused with %v, want %s", tt.who, tt.p, err, tt.want)
		}
	}
}

func TestGrantsToChangeSystemAreErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		on, privilege string
		bad           bool
	}{
		{"table system.ai_gateway.usage", "MODIFY", true},
		{"schema system.ai_gateway", "MODIFY", true},
		{"catalog system", "MODIFY", true},
		{"catalog SYSTEM", "MODIFY", true},
		{"catalog system", "CREATE SCHEMA", true},
		{"schema system.ai", "CREATE MODEL", true},
		{"model databricks-demo", "MANAGE", true},
		{"schema system.ai_gateway", "EXTERNAL USE SCHEMA", true},
		{"table system.ai_gateway.usage", "SELECT", false},
		{"schema system.ai_gateway", "ALL PRIVILEGES", false},
		{"catalog system", "BROWSE", false},
		{"model databricks-demo", "EXECUTE", false},
		{"model databricks-demo", "CAN QUERY", false},
		{"schema system.ai", "EXECUTE", false},
		{"metastore", "MODIFY", false},
		{"catalog systems", "MODIFY", false},
		{"table main.system.t", "MODIFY", false},
	}
	for _, tt := range tests {
		err := Config{Users: []User{{Name: "alice"}}, Grants: []Grant{grant("alice", "catalog main", "BROWSE"), grant("alice", tt.on, tt.privilege)}}.Validate()
		switch {
		case (err != nil) != tt.bad:
			t.Errorf("%s on %s: %v, want an error: %v", tt.privilege, tt.on, err, tt.bad)
		case tt.bad && (!strings.Contains(err.Error(), "access.grants[1].privileges: nobody can have "+tt.privilege+" on ") || !strings.Contains(err.Error(), "SELECT")):
			t.Errorf("%s on %s: %v, want the path, the privilege and those that can be had", tt.privilege, tt.on, err)
		}
	}
}

// Who works at the machine itself is an administrator, whom no token speaks for
// when the configuration names none.
func TestOperator(t *testing.T) {
	t.Parallel()
	usage := Securable{Table, "system.ai_gateway.usage"}
	for _, tt := range []struct {
		name, want string
		kind       Kind
		cfg        Config
	}{
		{"the first by name", "ann", KindUser, Config{Users: []User{{Name: "bob", Admin: true}, {Name: "ann", Admin: true}, {Name: "aaron"}}}},
		{"no administrator", "operator", KindOperator, Config{Users: []User{{Name: "operator"}}}},
		{"a program", "operator", KindOperator, Config{ServicePrincipals: []ServicePrincipal{{Name: "etl", Admin: true}}}},
		{"nobody", "operator", KindOperator, Config{}},
	} {
		s := newService(t, tt.cfg, nil)
		if err := s.SetObjects("test", []Object{{Securable: usage}, {Securable: Securable{Table, "main.s.t"}}}); err != nil {
			t.Fatal(err)
		}
		p := s.Operator()
		if p.Name != tt.want || p.Kind != tt.kind || !p.HasScope(ScopeUnityCatalog) {
			t.Errorf("%s: Operator() = %+v, want %s, a %s", tt.name, p, tt.want, tt.kind)
		}
		if err := s.Check(p, Select, usage); err != nil {
			t.Errorf("%s: SELECT: %v", tt.name, err)
		}
		if err := s.Check(p, Modify, Securable{Table, "main.s.t"}); err != nil {
			t.Errorf("%s: MODIFY: %v", tt.name, err)
		}
		if err := s.Check(p, Modify, usage); !apierror.Is(err, apierror.Denied) {
			t.Errorf("%s: MODIFY on a table of the gateway: %v, want denied", tt.name, err)
		}
		if other, err := s.Lookup("operator", nil, ""); err == nil && s.Allowed(other, Select, usage) {
			t.Errorf("%s: somebody called operator has the operator's rights", tt.name)
		}
	}
}

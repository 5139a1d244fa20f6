package access

import (
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestParsePrivilege(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want Privilege
		hint string // part of the error; "" when it is a privilege
	}{
		{in: "SELECT", want: Select},
		{in: "select", want: Select},
		{in: "USE CATALOG", want: UseCatalog},
		{in: "USE_CATALOG", want: UseCatalog},
		{in: "use-catalog", want: UseCatalog},
		{in: "  Use   Schema ", want: UseSchema},
		{in: "ALL_PRIVILEGES", want: AllPrivileges},
		{in: "all privileges", want: AllPrivileges},
		{in: "ALL", want: AllPrivileges},
		{in: "CAN_RUN", want: CanRun},
		{in: "Can Query", want: CanQuery},
		{in: "CREATE_MANAGED_STORAGE", want: CreateManagedStorage},
		{in: "use_tool", want: UseTool},
		{in: "USE TOOLS", hint: "Did you mean USE TOOL?"},
		{in: "SELCT", hint: "Did you mean SELECT?"},
		{in: "use_catalogue", hint: "Did you mean USE CATALOG?"},
		{in: "", hint: "There is no privilege"},
		{in: "NO PRIVILEGE", hint: "There is no privilege"},
		{in: "DROP TABLES; --", hint: "There is no privilege"},
	}
	for _, tt := range tests {
		got, err := ParsePrivilege(tt.in)
		if got != tt.want {
			t.Errorf("ParsePrivilege(%q) = %v, want %v", tt.in, got, tt.want)
		}
		if (err == nil) != (tt.hint == "") || err != nil && !strings.Contains(err.Error(), tt.hint) {
			t.Errorf("ParsePrivilege(%q) error %v, want one with %q", tt.in, err, tt.hint)
		}
	}
	for p := AllPrivileges; p < privilegeCount; p++ {
		if got, err := ParsePrivilege(p.String()); err != nil || got != p {
			t.Errorf("ParsePrivilege(%q) = %v, %v, want itself", p, got, err)
		}
	}
}

func TestParseSecurable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want Securable
		bad  string
	}{
		{in: "table main.sales.reviews", want: Securable{Table, "main.sales.reviews"}},
		{in: "TABLE Main.`Sales`.Reviews", want: Securable{Table, "main.sales.reviews"}},
		{in: "view main.sales.reviews", want: Securable{Table, "main.sales.reviews"}},
		{in: "table main.`my sales`.reviews", want: Securable{Table, "main.my sales.reviews"}},
		{in: "catalog main", want: Securable{Catalog, "main"}},
		{in: "schema system.ai", want: Securable{Schema, "system.ai"}},
		{in: "metastore", want: Securable{Kind: Metastore}},
		{in: "model databricks-gpt-5-2", want: Securable{Model, "system.ai.databricks-gpt-5-2"}},
		{in: "model gpt-5.2", want: Securable{Model, "system.ai.gpt-5.2"}},
		{in: "model system.ai.databricks-gpt-5-2", want: Securable{Model, "system.ai.databricks-gpt-5-2"}},
		{in: "model main.ml.scorer", want: Securable{Model, "main.ml.scorer"}},
		{in: "genie space 01ef", want: Securable{GenieSpace, "01ef"}},
		{in: "genie_space 01EF", want: Securable{GenieSpace, "01ef"}},
		{in: "vector search index a.b.c", want: Securable{VectorSearchIndex, "a.b.c"}},
		{in: "connection github", want: Securable{Connection, "github"}},
		{in: "tool weather", want: Securable{Tool, "weather"}},
		{in: "Tool Type My_Weather-2", want: Securable{Tool, "my_weather-2"}},
		{in: "tool", bad: "no name of a tool"},
		{in: "tool a.b", bad: "no name of a tool"},
		{in: "tol weather", bad: "Did you mean tool?"},
		{in: "", bad: "kind and its name"},
		{in: "table", bad: "no name of a table"},
		{in: "table reviews", bad: "catalog.schema.table"},
		{in: "table main.sales", bad: "catalog.schema.table"},
		{in: "table a.b.c.d", bad: "catalog.schema.table"},
		{in: "table main..reviews", bad: "no name of a table"},
		{in: "table main.sales.`reviews", bad: "no name of a table"},
		{in: "table main.sales.rev iews", bad: "no name of a table"},
		{in: "catalog main.sales", bad: "form catalog"},
		{in: "schema main", bad: "catalog.schema"},
		{in: "tabel main.sales.reviews", bad: "Did you mean table?"},
		{in: "planet mars", bad: "no kind of object"},
	}
	for _, tt := range tests {
		got, err := ParseSecurable(tt.in)
		if got != tt.want {
			t.Errorf("ParseSecurable(%q) = %+v, want %+v", tt.in, got, tt.want)
		}
		if (err == nil) != (tt.bad == "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("ParseSecurable(%q) error %v, want one with %q", tt.in, err, tt.bad)
		}
		if err != nil && !apierror.Is(err, apierror.Invalid) {
			t.Errorf("ParseSecurable(%q) code %s, want invalid", tt.in, apierror.CodeOf(err))
		}
	}
}

// What a refusal tells people to run must read back as the same object.
func FuzzGrantStatementReadsBack(f *testing.F) {
	for _, s := range []string{"table main.sales.reviews", "model gpt-5.2", "genie space 01EF", "schema `a b`.c", "metastore", "catalog İ", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSecurable(in)
		if err != nil {
			if !apierror.Is(err, apierror.Invalid) {
				t.Errorf("ParseSecurable(%q) = %v, want an invalid error", in, err)
			}
			return
		}
		if plain(s.Name) != s.Name {
			return // shown quoted, for its strange letters
		}
		if again, err := ParseSecurable(s.Kind + " " + quoteName(s)); err != nil || again != s {
			t.Errorf("ParseSecurable(%q) = %+v, written as %q, which reads as %+v, %v", in, s, quoteName(s), again, err)
		}
	})
}

// snapshotOf builds a snapshot as a Service would.
func snapshotOf(t testing.TB, cfg Config, objects ...Object) *snapshot {
	t.Helper()
	ids, creds, err := load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{}
	if err := s.rebuild(ids, creds, map[string][]Object{"test": objects}); err != nil {
		t.Fatal(err)
	}
	return s.snap.Load()
}

func grant(to, on string, privileges ...string) Grant {
	return Grant{To: to, On: on, Privileges: privileges}
}

func TestRulesOfUnityCatalog(t *testing.T) {
	t.Parallel()
	reviews := Securable{Table, "main.sales.reviews"}
	objects := []Object{
		{Securable: reviews},
		{Securable: Securable{Table, "main.sales.owned"}, Owner: "alice"},
		{Securable: Securable{Table, "main.sales.teams"}, Owner: "staff"},
		{Securable: Securable{Schema, "main.hers"}, Owner: "alice"},
		{Securable: Securable{Table, "main.hers.t"}},
		{Securable: ModelNamed("gpt-5.2")},
		{Securable: Securable{Function, "main.sales.f"}},
		{Securable: Securable{Volume, "main.sales.v"}},
		{Securable: Securable{GenieSpace, "01ef"}},
		{Securable: Securable{Connection, "github"}},
		{Securable: Securable{Tool, "weather"}},
		{Securable: Securable{Tool, "owned"}, Owner: "staff"},
	}
	use := grant("alice", "catalog main", "USE CATALOG", "USE SCHEMA")
	tests := []struct {
		name   string
		grants []Grant
		priv   Privilege
		on     Securable
		want   bool
	}{
		{"nothing granted", nil, Select, reviews, false},
		{"all three", []Grant{use, grant("alice", "table main.sales.reviews", "SELECT")}, Select, reviews, true},
		{"SELECT alone", []Grant{grant("alice", "table main.sales.reviews", "SELECT")}, Select, reviews, false},
		{"without USE SCHEMA", []Grant{grant("alice", "catalog main", "USE CATALOG", "SELECT")}, Select, reviews, false},
		{"without USE CATALOG", []Grant{grant("alice", "catalog main", "USE SCHEMA", "SELECT")}, Select, reviews, false},
		{"inherited from the schema", []Grant{use, grant("alice", "schema main.sales", "SELECT")}, Select, reviews, true},
		{"inherited from the catalog", []Grant{grant("alice", "catalog main", "USE CATALOG", "USE SCHEMA", "SELECT")}, Select, reviews, true},
		{"inherited from the metastore", []Grant{grant("alice", "metastore", "USE CATALOG", "USE SCHEMA", "SELECT")}, Select, reviews, true},
		{"of a sibling", []Grant{use, grant("alice", "table main.sales.other", "SELECT")}, Select, reviews, false},
		{"of another schema", []Grant{use, grant("alice", "schema main.hers", "SELECT")}, Select, reviews, false},
		{"of somebody else", []Grant{use, grant("bob", "table main.sales.reviews", "SELECT")}, Select, reviews, false},
		{"through a group", []Grant{use, grant("analysts", "table main.sales.reviews", "SELECT")}, Select, reviews, true},
		{"through a group in a group", []Grant{use, grant("staff", "table main.sales.reviews", "SELECT")}, Select, reviews, true},
		{"through everybody", []Grant{use, grant("account users", "table main.sales.reviews", "SELECT")}, Select, reviews, true},
		{"through a group she is not in", []Grant{use, grant("board", "table main.sales.reviews", "SELECT")}, Select, reviews, false},
		{"MODIFY is not SELECT", []Grant{use, grant("alice", "table main.sales.reviews", "MODIFY")}, Select, reviews, false},
		{"MANAGE is not SELECT", []Grant{use, grant("alice", "table main.sales.reviews", "MANAGE")}, Select, reviews, false},
		{"ALL PRIVILEGES is SELECT", []Grant{use, grant("alice", "table main.sales.reviews", "ALL PRIVILEGES")}, Select, reviews, true},
		{"ALL PRIVILEGES on the catalog is the way too", []Grant{grant("alice", "catalog main", "ALL PRIVILEGES")}, Select, reviews, true},
		{"ALL PRIVILEGES on the table is not the way", []Grant{grant("alice", "table main.sales.reviews", "ALL PRIVILEGES")}, Select, reviews, false},
		{"ALL PRIVILEGES is not MANAGE", []Grant{use, grant("alice", "table main.sales.reviews", "ALL PRIVILEGES")}, Manage, reviews, false},
		{"owner", []Grant{use}, Modify, Securable{Table, "main.sales.owned"}, true},
		{"owner without the way", nil, Select, Securable{Table, "main.sales.owned"}, false},
		{"owner through a group", []Grant{use}, Select, Securable{Table, "main.sales.teams"}, true},
		{"ownership of a schema is not inherited", []Grant{grant("alice", "catalog main", "USE CATALOG")}, Select, Securable{Table, "main.hers.t"}, false},
		{"owner of a schema may use it", []Grant{grant("alice", "catalog main", "USE CATALOG"), grant("alice", "table main.hers.t", "SELECT")}, Select, Securable{Table, "main.hers.t"}, true},
		{"absent table, right on the schema", []Grant{use, grant("alice", "schema main.sales", "SELECT")}, Select, Securable{Table, "main.sales.absent"}, false},
		{"grant on an absent table", []Grant{use, grant("alice", "table main.sales.absent", "SELECT")}, Select, Securable{Table, "main.sales.absent"}, false},
		{"unknown kind", []Grant{grant("alice", "metastore", "ALL PRIVILEGES")}, CanView, Securable{"planet", "mars"}, false},
		{"no privilege at all", []Grant{use}, None, Securable{Table, "main.sales.owned"}, false},
		{"privilege out of range", []Grant{use}, Privilege(200), Securable{Table, "main.sales.owned"}, false},
		{"model without grant", nil, Execute, ModelNamed("gpt-5.2"), false},
		{"model by its flat name", []Grant{grant("alice", "model gpt-5.2", "EXECUTE")}, Execute, ModelNamed("gpt-5.2"), true},
		{"model by CAN QUERY", []Grant{grant("alice", "model system.ai.gpt-5.2", "CAN_QUERY")}, Execute, ModelNamed("system.ai.GPT-5.2"), true},
		{"asked as CAN QUERY", []Grant{grant("alice", "model gpt-5.2", "EXECUTE")}, CanQuery, ModelNamed("gpt-5.2"), true},
		{"model by the schema", []Grant{grant("alice", "schema system.ai", "EXECUTE")}, Execute, ModelNamed("gpt-5.2"), true},
		{"everybody may use system.ai", nil, UseSchema, Securable{Schema, "system.ai"}, true},
		{"everybody may use system", nil, UseCatalog, Securable{Catalog, "system"}, true},
		{"nobody may use the rest of system", nil, UseSchema, Securable{Schema, "system.billing"}, false},
		{"function", []Grant{use, grant("alice", "function main.sales.f", "EXECUTE")}, Execute, Securable{Function, "main.sales.f"}, true},
		{"volume", []Grant{use, grant("alice", "schema main.sales", "READ VOLUME")}, ReadVolume, Securable{Volume, "main.sales.v"}, true},
		{"volume, writing", []Grant{use, grant("alice", "schema main.sales", "READ VOLUME")}, WriteVolume, Securable{Volume, "main.sales.v"}, false},
		{"genie space", []Grant{grant("alice", "genie space 01EF", "CAN RUN")}, CanRun, Securable{GenieSpace, "01ef"}, true},
		{"a level includes the lower", []Grant{grant("alice", "genie space 01EF", "CAN MANAGE")}, CanView, Securable{GenieSpace, "01ef"}, true},
		{"and not the higher", []Grant{grant("alice", "genie space 01EF", "CAN RUN")}, CanManage, Securable{GenieSpace, "01ef"}, false},
		{"connection", []Grant{grant("alice", "connection GitHub", "USE_CONNECTION")}, UseConnection, Securable{Connection, "github"}, true},
		{"tool", []Grant{grant("alice", "tool weather", "USE TOOL")}, UseTool, Securable{Tool, "weather"}, true},
		{"tool without grant", []Grant{grant("alice", "tool owned", "USE TOOL")}, UseTool, Securable{Tool, "weather"}, false},
		{"every tool", []Grant{grant("analysts", "metastore", "USE TOOL")}, UseTool, Securable{Tool, "weather"}, true},
		{"tool by ALL PRIVILEGES", []Grant{grant("alice", "tool weather", "ALL PRIVILEGES")}, UseTool, Securable{Tool, "weather"}, true},
		{"owner of a tool", nil, UseTool, Securable{Tool, "owned"}, true},
		{"grant on a tool that is not there", []Grant{grant("alice", "tool whether", "USE TOOL")}, UseTool, Securable{Tool, "whether"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := snapshotOf(t, Config{
				Users:  []User{{Name: "alice", Groups: []string{"analysts"}}, {Name: "bob", Groups: []string{"board"}}, {Name: "root", Admin: true}},
				Groups: []Group{{"analysts", []string{"staff"}}},
				Grants: tt.grants,
			}, objects...)
			v := s.check(s.members["alice"], tt.priv, tt.on)
			if got := v.n == 0 && v.exists; got != tt.want {
				t.Errorf("%s on %s = %v, want %v", tt.priv, tt.on, got, tt.want)
			}
			if v := s.check(s.members["root"], tt.priv, tt.on); v.n != 0 {
				t.Errorf("%s on %s: the administrator lacks something", tt.priv, tt.on)
			}
		})
	}
}

func TestExplicitTellsABlanketGrant(t *testing.T) {
	t.Parallel()
	on := Securable{Table, "main.sales.reviews"}
	tests := []struct {
		name string
		g    Grant
		want bool
	}{
		{"by name", grant("alice", "table main.sales.reviews", "SELECT"), true},
		{"by name, above", grant("alice", "catalog main", "SELECT"), true},
		{"by ALL PRIVILEGES", grant("alice", "table main.sales.reviews", "ALL PRIVILEGES"), false},
	}
	for _, tt := range tests {
		s := snapshotOf(t, Config{Users: []User{{Name: "alice"}}, Grants: []Grant{tt.g}}, Object{Securable: on, Owner: "alice"})
		if got := s.explicit(s.members["alice"], Select, on); got != tt.want {
			t.Errorf("%s: explicit = %v, want %v", tt.name, got, tt.want)
		}
	}
}

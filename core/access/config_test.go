package access

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestConfigOfTheContractLoads(t *testing.T) {
	t.Parallel()
	const text = `
users: [{name: alice@example.com, groups: [analysts]}, {name: root@example.com, admin: true}]
service_principals: [{name: etl, secret: {env: ETL_SECRET}}]
tokens:
  - {principal: alice@example.com, token: {env: ALICE_TOKEN}, scopes: [all]}
grants:
  - {to: analysts, privileges: [USE CATALOG, USE SCHEMA], on: catalog main}
  - {to: analysts, privileges: [SELECT], on: table main.sales.reviews}
  - {to: analysts, privileges: [EXECUTE], on: schema system.ai}
`
	var cfg Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Errorf("Validate() = %v, want nothing: no secret is read for it", err)
	}
	if len(cfg.Users) != 2 || len(cfg.Grants) != 3 || cfg.Tokens[0].Token.Source() != "env ALICE_TOKEN" || cfg.ServicePrincipals[0].Secret.Source() != "env ETL_SECRET" {
		t.Errorf("cfg = %+v, want all of the text", cfg)
	}
	s := newService(t, cfg, nil)
	got := strings.Join(s.Unmatched(), "\n")
	for _, want := range []string{
		"access.service_principals[0].secret: secret: environment variable ETL_SECRET is not set, so etl cannot log in with it",
		"access.tokens[0].token: secret: environment variable ALICE_TOKEN is not set, so this token of alice@example.com does not work",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("Unmatched() lacks %q:\n%s", want, got)
		}
	}
	_, _, err := s.ClientCredentials(t.Context(), "etl", "")
	wantCode(t, "a secret that cannot be read", err, apierror.Unauthenticated)
	_, err = s.Authenticate(t.Context(), "")
	wantCode(t, "a token that cannot be read", err, apierror.Unauthenticated)
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	alice := User{Name: "alice", Groups: []string{"analysts"}}
	token := secret.Of("a-token-of-the-file")
	tests := []struct {
		name string
		cfg  Config
		want []string // parts of the error; none when it is good
	}{
		{name: "empty"},
		{name: "as documented", cfg: Config{
			Users:             []User{alice, {Name: "root", Admin: true}},
			ServicePrincipals: []ServicePrincipal{{Name: "etl", Secret: token}},
			Tokens:            []FixedToken{{Principal: "alice", Token: token, Scopes: []string{"all"}}},
			Grants: []Grant{
				{To: "analysts", Privileges: []string{"USE CATALOG", "USE SCHEMA"}, On: "catalog main"},
				{To: "analysts", Privileges: []string{"SELECT"}, On: "table main.sales.reviews"},
				{To: "analysts", Privileges: []string{"EXECUTE"}, On: "schema system.ai"},
				{To: "account users", Privileges: []string{"CAN_QUERY"}, On: "model demo"},
			},
		}},
		{name: "name twice", cfg: Config{Users: []User{alice, alice}}, want: []string{`access.users[1]: the name "alice" is taken`}},
		{name: "user and program", cfg: Config{Users: []User{alice}, ServicePrincipals: []ServicePrincipal{{Name: "alice"}}}, want: []string{"access.service_principals[0]"}},
		{name: "user and group", cfg: Config{Users: []User{alice, {Name: "bob", Groups: []string{"alice"}}}}, want: []string{`"alice" is a user or service principal, not a group`}},
		{name: "no name", cfg: Config{Users: []User{{}}}, want: []string{"access.users[0]: needs a name"}},
		{name: "built-in group", cfg: Config{Groups: []Group{{Name: AccountUsers}}}, want: []string{"is taken"}},
		{name: "group twice", cfg: Config{Groups: []Group{{Name: "g"}, {Name: "g"}}}, want: []string{"access.groups[1]"}},
		{name: "cycle", cfg: Config{Groups: []Group{{"a", []string{"b"}}, {"b", []string{"c"}}, {"c", []string{"a"}}}}, want: []string{"contain each other", "a in b in c in a"}},
		{name: "group in itself", cfg: Config{Groups: []Group{{"a", []string{"a"}}}}, want: []string{"contain each other"}},
		{name: "unknown grantee", cfg: Config{Users: []User{alice}, Grants: []Grant{{To: "analyst", Privileges: []string{"SELECT"}, On: "catalog main"}}},
			want: []string{"access.grants[0].to", "Did you mean analysts?"}},
		{name: "unknown kind", cfg: Config{Users: []User{alice}, Grants: []Grant{{To: "alice", Privileges: []string{"SELECT"}, On: "tabel a.b.c"}}},
			want: []string{"access.grants[0].on", "Did you mean table?"}},
		{name: "unknown privilege", cfg: Config{Users: []User{alice}, Grants: []Grant{{To: "alice", Privileges: []string{"SELECT", "SELET"}, On: "table a.b.c"}}},
			want: []string{"access.grants[0].privileges", "Did you mean SELECT?"}},
		{name: "no privilege", cfg: Config{Users: []User{alice}, Grants: []Grant{{To: "alice", On: "table a.b.c"}}}, want: []string{"names no privilege"}},
		{name: "privilege without meaning", cfg: Config{Users: []User{alice}, Grants: []Grant{{To: "alice", Privileges: []string{"USE CATALOG"}, On: "table a.b.c"}}},
			want: []string{"USE CATALOG has no meaning on table a.b.c; it applies to: catalog"}},
		{name: "can query on a schema", cfg: Config{Users: []User{alice}, Grants: []Grant{{To: "alice", Privileges: []string{"CAN QUERY"}, On: "schema system.ai"}}},
			want: []string{"CAN QUERY has no meaning on schema system.ai"}},
		{name: "token of nobody", cfg: Config{Users: []User{alice}, Tokens: []FixedToken{{Principal: "alise", Token: token}}},
			want: []string{"access.tokens[0]", "Did you mean alice?"}},
		{name: "token of a group", cfg: Config{Users: []User{alice}, Tokens: []FixedToken{{Principal: "analysts", Token: token}}}, want: []string{"access.tokens[0]"}},
		{name: "no token", cfg: Config{Users: []User{alice}, Tokens: []FixedToken{{Principal: "alice"}}}, want: []string{"needs a token"}},
		{name: "unknown scope", cfg: Config{Users: []User{alice}, Tokens: []FixedToken{{Principal: "alice", Token: token, Scopes: []string{"geenie"}}}},
			want: []string{"Did you mean genie?", "model-serving"}},
		{name: "all errors at once", cfg: Config{Users: []User{alice, alice}, Grants: []Grant{{To: "x", Privileges: []string{"y"}, On: "catalog z"}}},
			want: []string{"users[1]", "grants[0].to", "grants[0].privileges"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.cfg.Validate()
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("Validate() = %v, want an error with %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Validate() = %v, want it to hold %q", err, want)
				}
			}
		})
	}
}

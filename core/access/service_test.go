package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func openStore(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newService(t testing.TB, cfg Config, db *store.DB) *Service {
	t.Helper()
	if db == nil {
		db = openStore(t, filepath.Join(t.TempDir(), "state.db"))
	}
	s, err := New(cfg, db, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

const (
	aliceToken = "canary-alice-fixed-token"
	etlSecret  = "canary-etl-client-secret"
)

func people() Config {
	return Config{
		Users:             []User{{Name: "alice", Groups: []string{"analysts"}}, {Name: "bob"}, {Name: "root", Admin: true}},
		ServicePrincipals: []ServicePrincipal{{Name: "etl", Secret: secret.Of(etlSecret)}, {Name: "mute"}},
		Tokens:            []FixedToken{{Principal: "alice", Token: secret.Of(aliceToken), Scopes: []string{"unity-catalog", "ai-gateway"}}},
		Grants: []Grant{
			grant("analysts", "catalog main", "USE CATALOG", "USE SCHEMA"),
			grant("analysts", "table main.sales.reviews", "SELECT"),
		},
	}
}

var reviews = Securable{Table, "main.sales.reviews"}

// wantCode fails unless err has that code, and its message holds every part.
func wantCode(t *testing.T, what string, err error, code apierror.Code, parts ...string) {
	t.Helper()
	if got := apierror.CodeOf(err); got != code {
		t.Fatalf("%s: error %v has code %q, want %q", what, err, got, code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: error %q lacks %q", what, err, p)
		}
	}
}

func TestCheckSaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	if err := s.SetObjects("test", []Object{{Securable: reviews}, {Securable: Securable{Table, "main.sales.orders"}, Owner: "root"}, {Securable: ModelNamed("databricks-demo")}}); err != nil {
		t.Fatal(err)
	}
	who := func(name string) *Principal {
		p, err := s.Lookup(name, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := s.Check(who("alice"), Select, reviews); err != nil {
		t.Errorf("granted: %v", err)
	}
	tests := []struct {
		name string
		p    *Principal
		priv Privilege
		on   Securable
		code apierror.Code
		want string
	}{
		{"hidden", who("alice"), Select, Securable{Table, "main.sales.orders"}, apierror.Denied,
			"Permission denied for table main.sales.orders: it does not exist, or alice lacks SELECT on table main.sales.orders. " +
				"An administrator (root) can add under access.grants in the gateway's configuration: {to: alice, privileges: [SELECT], on: table main.sales.orders}."},
		{"absent", who("alice"), Select, Securable{Table, "main.sales.absent"}, apierror.Denied,
			"Permission denied for table main.sales.absent: it does not exist, or alice lacks SELECT on table main.sales.absent. " +
				"An administrator (root) can add under access.grants in the gateway's configuration: {to: alice, privileges: [SELECT], on: table main.sales.absent}."},
		{"the way too", who("bob"), Select, reviews, apierror.Denied,
			"Permission denied for table main.sales.reviews: it does not exist, or bob lacks USE CATALOG on catalog main and USE SCHEMA on schema main.sales and SELECT on table main.sales.reviews. " +
				"An administrator (root) can add under access.grants in the gateway's configuration: {to: bob, privileges: [USE CATALOG], on: catalog main}, " +
				"{to: bob, privileges: [USE SCHEMA], on: schema main.sales}, {to: bob, privileges: [SELECT], on: table main.sales.reviews}."},
		{"model", who("bob"), CanQuery, ModelNamed("databricks-demo"), apierror.Denied,
			"Permission denied for model system.ai.databricks-demo: it does not exist, or bob lacks EXECUTE on model system.ai.databricks-demo. " +
				"An administrator (root) can add under access.grants in the gateway's configuration: {to: bob, privileges: [EXECUTE], on: model system.ai.databricks-demo}."},
		{"absent, administrator", who("root"), Select, Securable{Table, "main.sales.review"}, apierror.NotFound,
			"There is no table main.sales.review. Did you mean main.sales.reviews?"},
		{"hostile name", who("alice"), Select, Securable{Table, "main.sales.\x1b[31m\n"}, apierror.Denied,
			"Permission denied for \"table main.sales.\\x1b[31m\\n\": it does not exist, or alice lacks SELECT on \"table main.sales.\\x1b[31m\\n\". " +
				"An administrator (root) can add under access.grants in the gateway's configuration: {to: alice, privileges: [SELECT], on: \"table main.sales.\\x1b[31m\\n\"}."},
		{"nobody", nil, Select, reviews, apierror.Unauthenticated, "The caller is no user or service principal of this gateway any more."},
		{"somebody else", &Principal{Name: "mallory", Kind: KindUser, Admin: true}, Select, reviews, apierror.Unauthenticated,
			"The caller is no user or service principal of this gateway any more."},
		{"a claim to be an administrator", &Principal{Name: "bob", Kind: KindUser, Admin: true}, Select, Securable{GenieSpace, "1"}, apierror.Denied,
			"Permission denied for genie space 1: it does not exist, or bob lacks SELECT on genie space 1. An administrator (root) can add under access.grants in the gateway's configuration: {to: bob, privileges: [SELECT], on: genie space 1}."},
	}
	for _, tt := range tests {
		err := s.Check(tt.p, tt.priv, tt.on)
		if err == nil || err.Error() != tt.want || apierror.CodeOf(err) != tt.code {
			t.Errorf("%s: %s %v\nwant %s %s", tt.name, apierror.CodeOf(err), err, tt.code, tt.want)
		}
		if s.Allowed(tt.p, tt.priv, tt.on) {
			t.Errorf("%s: Allowed, want not", tt.name)
		}
	}
}

// The entry that a refusal recommends is one that the configuration takes, and
// it names the object that was refused.
func TestTheRecommendedEntryReadsAsTheGrant(t *testing.T) {
	t.Parallel()
	objects := []Securable{
		reviews, {Table, "main.sales.my-table"}, {Table, "main.sales.verkäufe"}, {Schema, "main.sales"}, {Catalog, "main"}, ModelNamed("databricks-gpt-5.2"),
		{Kind: Metastore}, {VectorSearchIndex, "main.sales.two words"}, {GenieSpace, "01ef"}, {Table, "main.sales.a#b: c, d}"}, {Table, `main.sales."q"`},
	}
	for _, on := range objects {
		for _, to := range []string{"bob@example.com", "account users", "null", "On", "5", "a: b", "- x", "o'neil", `"q"`, "\x1b[31m", "müller", "#1", "*", "tail "} {
			var got Grant
			text := entryFor(Select, on, to)
			if err := yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict()); err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			read, err := ParseSecurable(got.On)
			if err != nil || read != on || got.To != to || !slices.Equal(got.Privileges, []string{"SELECT"}) {
				t.Errorf("%s reads as %+v on %v, %v", text, got, read, err)
			}
		}
	}
}

func TestCheckScope(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	tests := []struct {
		have []string
		want string
		ok   bool
	}{
		{[]string{"genie"}, "genie", true},
		{[]string{"all"}, "genie", true},
		{[]string{"all-apis"}, "vector-search", true},
		{[]string{"genie"}, "", true},
		{[]string{"genie", "apps"}, "ai-gateway", false},
		{nil, "ai-gateway", false},
	}
	for _, tt := range tests {
		err := s.CheckScope(&Principal{Name: "alice", Scopes: tt.have}, tt.want)
		if (err == nil) != tt.ok {
			t.Errorf("CheckScope(%v, %q) = %v, want ok=%v", tt.have, tt.want, err, tt.ok)
		}
		if err != nil {
			wantCode(t, "CheckScope", err, apierror.Denied, "Invalid scope, required scopes: "+tt.want)
		}
	}
	wantCode(t, "nobody", s.CheckScope(nil, "genie"), apierror.Denied, "required scopes: genie")
}

func TestReloadSwapsOrLeavesAlone(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	ctx := t.Context()
	if err := s.SetObjects("test", []Object{{Securable: reviews, Owner: "analysts"}}); err != nil {
		t.Fatal(err)
	}
	p, err := s.Authenticate(ctx, aliceToken)
	if err != nil {
		t.Fatal(err)
	}
	works := func(when string) {
		t.Helper()
		if err := s.Check(p, Select, reviews); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if _, err := s.Authenticate(ctx, aliceToken); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	works("at first")
	bad := []Config{
		{Users: []User{{Name: "alice"}, {Name: "alice"}}},
		{Users: []User{{Name: "x"}}, Tokens: []FixedToken{{Principal: "x", Token: secret.Of("twice")}, {Principal: "x", Token: secret.Of("twice")}}},
	}
	for i, cfg := range bad {
		if err := reload(s, cfg); err == nil {
			t.Errorf("Reload %d succeeded, want an error", i)
		}
		works(fmt.Sprint("after the failed reload ", i))
	}
	for _, objs := range [][]Object{
		{{Securable: reviews}, {Securable: reviews}},
		{{Securable: reviews, Parent: Securable{Schema, "main.other"}}},
	} {
		if err := s.SetObjects("test", objs); err == nil {
			t.Errorf("SetObjects(%v) succeeded, want an error", objs)
		}
		works("after failed SetObjects")
	}
	if err := s.SetObjects("other", []Object{{Securable: reviews}}); err == nil || !strings.Contains(err.Error(), "announced twice, by other and test") {
		t.Errorf("a second announcer gives %v", err)
	}
	cfg := people()
	cfg.Grants = cfg.Grants[:1]
	cfg.Tokens = nil
	cfg.Users[0].Groups = nil
	cfg.Users[1].Groups = []string{"analysts"}
	if err := reload(s, cfg); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "a principal of before", s.Check(p, Select, reviews), apierror.Denied)
	_, err = s.Authenticate(ctx, aliceToken)
	wantCode(t, "a token of before", err, apierror.Unauthenticated)
}

func TestRevokedGrantsActAtOnceWhileChecksRun(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	objs := []Object{{Securable: reviews}}
	if err := s.SetObjects("test", objs); err != nil {
		t.Fatal(err)
	}
	p, err := s.Authenticate(t.Context(), aliceToken)
	if err != nil {
		t.Fatal(err)
	}
	without := people()
	without.Grants = nil
	var revoked atomic.Bool // set after a reload has returned, cleared before the next begins
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				before := revoked.Load()
				ok := s.Allowed(p, Select, reviews)
				if before && revoked.Load() && ok {
					t.Error("allowed after the revocation")
					return
				}
			}
		})
	}
	for range 50 {
		if err := reload(s, without); err != nil {
			t.Error(err)
		}
		revoked.Store(true)
		for range 100 {
			if s.Allowed(p, Select, reviews) {
				t.Error("allowed after the revocation")
			}
		}
		revoked.Store(false)
		if err := reload(s, people()); err != nil {
			t.Error(err)
		}
		if !s.Allowed(p, Select, reviews) {
			t.Error("denied after the grant")
		}
	}
	stop()
	wg.Wait()
}

func TestUnmatchedGrantsAndOwnersAreReported(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	if got := s.Unmatched(); len(got) != 2 || !strings.Contains(got[1], "access.grants[1]: there is no table main.sales.reviews yet") {
		t.Errorf("Unmatched() = %q, want both grants", got)
	}
	if err := s.SetObjects("test", []Object{{Securable: reviews}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Unmatched(); len(got) != 0 {
		t.Errorf("Unmatched() = %q, want none: the catalog is implied by its table", got)
	}
	if err := s.SetObjects("test", []Object{{Securable: reviews, Owner: "alise"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Unmatched(); len(got) != 1 || !strings.Contains(got[0], `table main.sales.reviews: its owner "alise" is no user, service principal or group. Did you mean alice?`) {
		t.Errorf("Unmatched() = %q, want the owner", got)
	}
}

// Neither errors nor logs nor the database, nor anything that prints a value
// of this package, may show a token or a client secret.
func TestNoSecretIsEverPrinted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openStore(t, filepath.Join(dir, "state.db"))
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := people()
	s, err := New(cfg, db, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	personal, info, err := s.CreateToken(ctx, NewToken{Principal: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	access, _, err := s.ClientCredentials(ctx, "etl", etlSecret)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Authenticate(ctx, personal)
	if err != nil {
		t.Fatal(err)
	}
	_, wrong := s.Authenticate(ctx, personal+"x")
	_, _, wrongSecret := s.ClientCredentials(ctx, "etl", etlSecret+"x")
	twice := cfg
	twice.Tokens = append(slices.Clone(cfg.Tokens), cfg.Tokens...)
	for _, x := range []any{cfg, &cfg, info, p, s.snap.Load(), s.creds, wrong, wrongSecret, reload(s, twice)} {
		fmt.Fprintf(&out, "%v\n%+v\n%#v\n%s\n", x, x, x, x)
		log.Info("value", "x", x)
		if b, err := json.Marshal(x); err == nil {
			out.Write(b)
		}
	}
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, canary := range []string{aliceToken, etlSecret, personal, access, personal[4:], access[4:], "canary"} {
		if i := bytes.Index(out.Bytes(), []byte(canary)); i >= 0 {
			t.Errorf("%q was printed: …%s…", canary, out.Bytes()[max(0, i-100):i+len(canary)])
		}
	}
	if !bytes.Contains(out.Bytes(), []byte(info.ID)) {
		t.Error("the token's id is not in the output: the test looks at the wrong things")
	}
}

func TestNamedGroups(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ groups, want []string }{
		{nil, nil},
		{[]string{AccountUsers}, []string{}},
		{[]string{AccountUsers, "analysts"}, []string{"analysts"}},
		{[]string{"a", AccountUsers, "b"}, []string{"a", "b"}},
		{[]string{"a", "b"}, []string{"a", "b"}},
	} {
		if got := (&Principal{Groups: tt.groups}).NamedGroups(); !slices.Equal(got, tt.want) {
			t.Errorf("NamedGroups of %v = %v, want %v", tt.groups, got, tt.want)
		}
	}
}

// reload stages cfg and commits it.
func reload(s *Service, cfg Config) error {
	if err := s.Stage(cfg); err != nil {
		return err
	}
	return s.Commit()
}

func TestStagedChange(t *testing.T) {
	s := newService(t, people(), nil)
	table := Securable{Kind: Table, Name: "main.later.things"}
	admin := &Principal{Name: "root", Kind: KindUser, Scopes: []string{ScopeAll}}
	for _, commit := range []bool{false, true} {
		if err := s.Stage(people()); err != nil {
			t.Fatal(err)
		}
		if err := s.SetObjects("later", []Object{{Securable: table}}); err != nil {
			t.Fatal(err)
		}
		if s.Allowed(admin, Select, table) {
			t.Error("an object counts before Commit")
		}
		if !commit {
			s.Discard()
			if err := s.Commit(); err == nil {
				t.Error("Commit after Discard gave no error")
			}
			continue
		}
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
		if !s.Allowed(admin, Select, table) {
			t.Error("an object does not count after Commit")
		}
	}
}

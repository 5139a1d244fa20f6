package access

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	ctx := t.Context()
	token, info, err := s.CreateToken(ctx, NewToken{Principal: "alice", Comment: "laptop", Scopes: []string{"Genie", "genie"}})
	if err != nil {
		t.Fatal(err)
	}
	forever, _, err := s.CreateToken(ctx, NewToken{Principal: "etl", Lifetime: -1})
	if err != nil {
		t.Fatal(err)
	}
	access, life, err := s.ClientCredentials(ctx, "etl", etlSecret)
	if err != nil {
		t.Fatal(err)
	}
	if life != time.Hour {
		t.Errorf("lifetime of an access token = %v, want 1h", life)
	}
	tests := []struct {
		name, token string
		want        *Principal
	}{
		{"fixed", aliceToken, &Principal{Name: "alice", Kind: KindUser, Groups: []string{AccountUsers, "analysts"}, Scopes: []string{"ai-gateway", "unity-catalog"}, TokenID: "access.tokens[0]"}},
		{"personal", token, &Principal{Name: "alice", Kind: KindUser, Groups: []string{AccountUsers, "analysts"}, Scopes: []string{"genie"}, TokenID: info.ID}},
		{"for ever", forever, &Principal{Name: "etl", Kind: KindServicePrincipal, Groups: []string{AccountUsers}, Scopes: []string{"all"}}},
		{"client credentials", access, &Principal{Name: "etl", Kind: KindServicePrincipal, Groups: []string{AccountUsers}, Scopes: []string{"all-apis"}}},
		{"none", "", nil},
		{"unknown", "dapi0123", nil},
		{"unknown of another form", "sk-nonsense", nil},
		{"cut", token[:len(token)-1], nil},
		{"longer", token + "0", nil},
		{"other case", strings.ToUpper(token), nil},
		{"its hash", fmt.Sprintf("%x", hashToken(token)), nil},
		{"huge", "dapi" + strings.Repeat("0", 1<<20), nil},
		{"control characters", "dapi\x00'; DROP TABLE token; --", nil},
	}
	for _, tt := range tests {
		for _, round := range []string{"first", "cached"} {
			got, err := s.Authenticate(ctx, tt.token)
			s.cache.Wait()
			if tt.want == nil {
				wantCode(t, tt.name, err, apierror.Unauthenticated)
				if len(tt.token) > 4 && strings.Contains(err.Error(), tt.token) {
					t.Errorf("%s: the error holds the token", tt.name)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", tt.name, round, err)
				continue
			}
			want := *tt.want
			if want.TokenID == "" {
				want.TokenID = got.TokenID
			}
			if fmt.Sprint(*got) != fmt.Sprint(want) {
				t.Errorf("%s, %s: principal %+v, want %+v", tt.name, round, *got, want)
			}
		}
	}
	if !strings.HasPrefix(token, "dapi") || len(token) != 4+64 {
		t.Errorf("a personal token has %d letters and begins with %q, want dapi and 64 digits", len(token), token[:4])
	}
}

func TestClientCredentialsAreRefusedAlike(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	var first string
	for _, c := range [][2]string{{"etl", "wrong"}, {"etl", ""}, {"nobody", etlSecret}, {"mute", ""}, {"mute", etlSecret}, {"alice", aliceToken}, {"", ""}} {
		_, _, err := s.ClientCredentials(t.Context(), c[0], c[1])
		wantCode(t, fmt.Sprint(c), err, apierror.Unauthenticated)
		if first == "" {
			first = err.Error()
		}
		if err.Error() != first {
			t.Errorf("%v: %q, want the same words as for the others: %q", c, err, first)
		}
	}
	_, _, err := s.ClientCredentials(t.Context(), "etl", etlSecret, "everything")
	wantCode(t, "unknown scope", err, apierror.Invalid, "everything")
}

func TestTokensAreListedAndRevoked(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	ctx := t.Context()
	one, oneInfo, err := s.CreateToken(ctx, NewToken{Principal: "alice", Comment: "one", Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateToken(ctx, NewToken{Principal: "bob", Lifetime: -1}); err != nil {
		t.Fatal(err)
	}
	all, err := s.ListTokens(ctx, "")
	if err != nil || len(all) != 2 || all[0].Principal != "bob" || !all[0].Expires.IsZero() {
		t.Fatalf("ListTokens = %+v, %v, want bob's and alice's, the newest first", all, err)
	}
	hers, err := s.ListTokens(ctx, "alice")
	if err != nil || len(hers) != 1 || hers[0].ID != oneInfo.ID || hers[0].Comment != "one" || !hers[0].LastUsed.IsZero() {
		t.Fatalf("ListTokens(alice) = %+v, %v, want one", hers, err)
	}
	if got := hers[0].Expires.Sub(hers[0].Created); got != time.Hour {
		t.Errorf("lifetime %v, want 1h", got)
	}
	if _, err := s.Authenticate(ctx, one); err != nil {
		t.Fatal(err)
	}
	if err := s.flushUse(ctx); err != nil {
		t.Fatal(err)
	}
	if hers, err = s.ListTokens(ctx, "alice"); err != nil || len(hers) != 1 || hers[0].LastUsed.IsZero() || hers[0].LastUsed.Minute() != 0 {
		t.Errorf("after use: %+v, %v, want a last use to the hour", hers, err)
	}
	if err := s.RevokeToken(ctx, oneInfo.ID); err != nil {
		t.Fatal(err)
	}
	_, err = s.Authenticate(ctx, one)
	wantCode(t, "after RevokeToken", err, apierror.Unauthenticated)
	wantCode(t, "second RevokeToken", s.RevokeToken(ctx, oneInfo.ID), apierror.NotFound)
	for _, n := range []NewToken{{Principal: "alise"}, {Principal: "analysts"}, {Principal: "alice", Scopes: []string{"x"}}, {Principal: "alice", Comment: strings.Repeat("x", 300)}} {
		_, _, err := s.CreateToken(ctx, n)
		wantCode(t, fmt.Sprintf("CreateToken(%+v)", n), err, apierror.Invalid)
	}
}

func TestAccessTokensAreBounded(t *testing.T) {
	t.Parallel()
	s := newService(t, people(), nil)
	ctx := t.Context()
	if err := s.db.Update(ctx, func(tx *store.Tx) error {
		for i := range maxAccessTokens {
			if _, err := tx.Exec(ctx, `INSERT INTO token (id, hash, kind, principal, comment, scopes, created, expires, last_used) VALUES (?, ?, ?, 'etl', '', 'all', ?, 0, 0)`,
				fmt.Sprint("old", i), fmt.Sprint("old", i), kindAccess, i); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	token, _, err := s.ClientCredentials(ctx, "etl", etlSecret)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.ListTokens(ctx, "etl")
	if err != nil || len(list) != maxAccessTokens {
		t.Fatalf("%d tokens, %v, want %d", len(list), err, maxAccessTokens)
	}
	if slices.ContainsFunc(list, func(t TokenInfo) bool { return t.ID == "old0" }) {
		t.Error("the oldest token is still there")
	}
	if _, err := s.Authenticate(ctx, token); err != nil {
		t.Errorf("the newest token: %v", err)
	}
}

func TestTokensSurviveARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	db := openStore(t, path)
	s, err := New(people(), db, quiet())
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := s.ClientCredentials(t.Context(), "etl", etlSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if p, err := newService(t, people(), openStore(t, path)).Authenticate(t.Context(), token); err != nil || p.Name != "etl" {
		t.Errorf("after a restart: %v, %v, want etl", p, err)
	}
	cfg := people()
	cfg.ServicePrincipals = nil
	_, err = newService(t, cfg, openStore(t, path)).Authenticate(t.Context(), token)
	wantCode(t, "principal gone from the configuration", err, apierror.Unauthenticated, "etl")
}

func TestTimePasses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := openStore(t, filepath.Join(dir, "state.db"))
		s := newService(t, people(), db)
		ctx := t.Context()
		short, _, err := s.CreateToken(ctx, NewToken{Principal: "alice", Lifetime: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		access, life, err := s.ClientCredentials(ctx, "etl", etlSecret)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is cached
			for _, token := range []string{short, access} {
				if _, err := s.Authenticate(ctx, token); err != nil {
					t.Fatal(err)
				}
			}
			s.cache.Wait()
		}
		time.Sleep(time.Minute)
		_, err = s.Authenticate(ctx, short)
		wantCode(t, "personal token after its lifetime", err, apierror.Unauthenticated, "expired at")
		if _, err := s.Authenticate(ctx, access); err != nil {
			t.Errorf("access token after a minute: %v", err)
		}
		age := func(d time.Duration) { // as if that much time had gone by, without the polls in between
			t.Helper()
			if err := db.Update(ctx, func(tx *store.Tx) error {
				if _, err := tx.Exec(ctx, `UPDATE token SET expires = expires - ?`, d.Milliseconds()); err != nil {
					return err
				}
				return tx.Bump(ctx, topic)
			}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pollEvery)
			synctest.Wait()
		}
		age(life - time.Minute)
		_, err = s.Authenticate(ctx, access)
		wantCode(t, "access token after its lifetime", err, apierror.Unauthenticated)
		time.Sleep(2 * tidyEvery)
		synctest.Wait()
		if got := countTokens(t, db); got != 1 {
			t.Errorf("%d tokens are kept after an hour, want the personal one alone", got)
		}
		age(keepExpired)
		time.Sleep(2 * tidyEvery)
		synctest.Wait()
		if got := countTokens(t, db); got != 0 {
			t.Errorf("%d tokens are kept after a month, want none", got)
		}
	})
}

func countTokens(t *testing.T, db *store.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM token`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A token is used without pause while another process at the same store
// revokes it: from one second after the revocation on, no use may succeed.
func TestRevocationByAnotherProcessActsWithinASecond(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	synctest.Test(t, func(t *testing.T) {
		s, other := newService(t, people(), openStore(t, path)), newService(t, people(), openStore(t, path))
		ctx := t.Context()
		token, info, err := other.CreateToken(ctx, NewToken{Principal: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		var revoked atomic.Pointer[time.Time]
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					at, started := revoked.Load(), time.Now()
					_, err := s.Authenticate(ctx, token)
					switch {
					case err == nil && at != nil && started.Sub(*at) >= time.Second:
						t.Errorf("accepted %v after the revocation", started.Sub(*at))
						return
					case err != nil && revoked.Load() == nil:
						t.Errorf("refused before the revocation: %v", err)
						return
					case err != nil:
						return
					}
					accepted.Add(1)
					time.Sleep(3 * time.Millisecond)
				}
			})
		}
		time.Sleep(2 * time.Second)
		now := time.Now()
		revoked.Store(&now) // before, so that a refusal is never early
		if err := other.RevokeToken(ctx, info.ID); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if accepted.Load() < 1000 {
			t.Errorf("the token was accepted %d times before, too few to say anything", accepted.Load())
		}
	})
}

func TestAStoreThatDoesNotAnswerEndsTrustInTheCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := openStore(t, filepath.Join(dir, "state.db"))
		s := newService(t, people(), db)
		token, _, err := s.CreateToken(t.Context(), NewToken{Principal: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		s.cache.Wait()
		if err := s.flushUse(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.Close()
		if _, err := s.Authenticate(t.Context(), token); err != nil {
			t.Errorf("at once: %v, want the remembered answer", err)
		}
		time.Sleep(time.Second)
		_, err = s.Authenticate(t.Context(), token)
		wantCode(t, "a second later", err, apierror.Unavailable)
		if _, err := s.Authenticate(t.Context(), aliceToken); err != nil {
			t.Errorf("token of the file: %v, want it to work without the store", err)
		}
	})
}

// The same life of a token on every database engine: SQLite always, and the
// Postgres of SALLYPORT_TEST_POSTGRES when that names one.
func TestTokensOnEveryEngine(t *testing.T) {
	dsns := map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "state.db")}
	if pg := os.Getenv("SALLYPORT_TEST_POSTGRES"); pg != "" {
		dsns["postgres"] = ownSchema(t, pg)
	}
	for name, dsn := range dsns {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			open := func() *Service {
				db, err := store.Open(ctx, dsn, quiet())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close() })
				return newService(t, people(), db)
			}
			here, there := open(), open()
			if err := here.db.Update(ctx, func(tx *store.Tx) error {
				_, err := tx.Exec(ctx, `DELETE FROM token`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			personal, info, err := here.CreateToken(ctx, NewToken{Principal: "alice", Comment: "ünïcode", Scopes: []string{"genie"}})
			if err != nil {
				t.Fatal(err)
			}
			access, _, err := there.ClientCredentials(ctx, "etl", etlSecret)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []*Service{here, there} {
				for token, want := range map[string]string{personal: "alice", access: "etl"} {
					if p, err := s.Authenticate(ctx, token); err != nil || p.Name != want {
						t.Errorf("Authenticate = %v, %v, want %s", p, err, want)
					}
				}
				if err := s.tidy(ctx); err != nil {
					t.Error(err)
				}
			}
			for who, want := range map[string]int{"": 2, "alice": 1, "etl": 1, "bob": 0} {
				if got, err := there.ListTokens(ctx, who); err != nil || len(got) != want {
					t.Errorf("ListTokens(%q) = %v, %v, want %d", who, got, err, want)
				}
			}
			if err := there.RevokeToken(ctx, info.ID); err != nil {
				t.Fatal(err)
			}
			if err := here.poll(ctx); err != nil {
				t.Fatal(err)
			}
			_, err = here.Authenticate(ctx, personal)
			wantCode(t, "revoked elsewhere", err, apierror.Unauthenticated)
		})
	}
}

// ownSchema makes an empty schema in the Postgres database dsn names, so that
// the tests of other packages are not in the way.
func ownSchema(t *testing.T, dsn string) string {
	t.Helper()
	db, err := store.Open(t.Context(), dsn, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec(t.Context(), `DROP SCHEMA IF EXISTS sallyport_access_test CASCADE`); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `CREATE SCHEMA sallyport_access_test`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", "sallyport_access_test")
	u.RawQuery = q.Encode()
	return u.String()
}

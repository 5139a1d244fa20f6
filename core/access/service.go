// Package access says who is calling and what they may do: tokens, users,
// service principals, groups, scopes, and grants under Unity Catalog's rules.
// What is not granted is denied, and nothing it answers tells a caller whether
// an object exists that they may not see.
package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Service answers for one gateway. It is safe for use by many goroutines.
type Service struct {
	db  *store.DB
	log *slog.Logger

	snap  atomic.Pointer[snapshot]
	epoch atomic.Uint64 // goes up whenever a cached authentication may be wrong

	mu      sync.Mutex // serializes changes of the snapshot
	ids     *identities
	creds   credentials
	objects map[string][]Object
	staged  *staged // a change under way; nil for none

	cache   *ristretto.Cache[uint64, *cached]
	polled  atomic.Int64 // when the store was last heard, as a duration since start
	start   time.Time
	pollMu  sync.Mutex
	rev     int64
	used    lastUse
	stop    context.CancelFunc
	stopped chan struct{}
}

// New checks cfg, reads its secrets (see Unmatched) and starts following the store for tokens
// that other processes revoke. Close the Service; db stays open.
func New(cfg Config, db *store.DB, log *slog.Logger) (*Service, error) {
	if db == nil {
		return nil, errors.New("access: needs a store")
	}
	ids, creds, err := load(cfg)
	if err != nil {
		return nil, err
	}
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, *cached]{
		NumCounters: 10 * cachedTokens, MaxCost: cachedTokens, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("access: cache: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{
		db: db, log: log, ids: ids, creds: creds, objects: map[string][]Object{}, cache: cache,
		start: time.Now(), stop: cancel, stopped: make(chan struct{}),
	}
	if err = s.rebuild(ids, creds, s.objects); err == nil {
		err = s.poll(ctx)
	}
	if err != nil {
		cancel()
		cache.Close()
		return nil, err
	}
	go s.follow(ctx)
	return s, nil
}

// Close ends the following of the store and writes down when tokens were last
// used.
func (s *Service) Close() error {
	s.stop()
	<-s.stopped
	s.cache.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return s.flushUse(ctx)
}

// staged is a change that does not count yet.
type staged struct {
	ids     *identities
	creds   credentials
	objects map[string][]Object
}

// Stage begins a change to cfg: cfg, and the objects that are announced from
// now on, count when Commit is called, all at once. Callers take turns.
func (s *Service) Stage(cfg Config) error {
	ids, creds, err := load(cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged = &staged{ids, creds, maps.Clone(s.objects)}
	return nil
}

// Commit ends what Stage began. When it fails nothing changes.
func (s *Service) Commit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.staged
	s.staged = nil
	if next == nil {
		return errors.New("access: nothing was staged")
	}
	return s.rebuild(next.ids, next.creds, next.objects)
}

// Discard gives up what Stage began, if anything.
func (s *Service) Discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged = nil
}

// SetObjects announces all objects of source, such as "catalog" or "router",
// in the place of those it announced before. Objects that they lie in need not
// be announced. When it fails nothing changes. Between Stage and Commit it only
// notes them.
func (s *Service) SetObjects(source string, objs []Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staged != nil {
		s.staged.objects[source] = slices.Clone(objs)
		return nil
	}
	next := maps.Clone(s.objects)
	next[source] = slices.Clone(objs)
	return s.rebuild(s.ids, s.creds, next)
}

// rebuild makes a new snapshot and swaps it in. The caller holds mu, or is New.
func (s *Service) rebuild(ids *identities, creds credentials, objects map[string][]Object) error {
	var all []Object
	from := map[Securable]string{}
	for _, source := range slices.Sorted(maps.Keys(objects)) {
		for _, o := range objects[source] {
			if other, twice := from[o.Securable]; twice {
				return fmt.Errorf("access: %s is announced twice, by %s and %s", o.Securable, other, source)
			}
			from[o.Securable] = source
			all = append(all, o)
		}
	}
	for _, o := range all { // and what they lie in
		for p := o.parent(); p.Kind == Schema || p.Kind == Catalog; p = p.parent() {
			if _, ok := from[p]; ok {
				break
			}
			from[p] = ""
			all = append(all, Object{Securable: p})
		}
	}
	snap, err := build(ids, all)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	creds.attach(snap)
	s.ids, s.creds, s.objects = ids, creds, objects
	s.snap.Store(snap)
	s.epoch.Add(1)
	return nil
}

// Unmatched lists what has no effect: grants whose object does not exist,
// owners who do not, and secrets that cannot be read. Each is a sentence for
// the operator.
func (s *Service) Unmatched() []string { return s.snap.Load().blanks }

// Lookup returns the principal called name with scopes, for work that goes on
// without its request: a run in the background keeps the name and the scopes
// and asks again at each step. A name that is gone gives
// apierror.Unauthenticated.
func (s *Service) Lookup(name string, scopes []string, tokenID string) (*Principal, error) {
	p := s.snap.Load().principal(name, scopes, tokenID)
	if p == nil {
		return nil, apierror.New(apierror.Unauthenticated, "%s is no user or service principal of this gateway any more.", plain(name))
	}
	return p, nil
}

// Operator is the principal for what is done at the machine itself, by the
// user who runs the gateway: the first administrator among the users, by name,
// or, when there is none, an administrator without a name in the configuration,
// whom no token speaks for.
func (s *Service) Operator() *Principal {
	snap := s.snap.Load()
	for _, name := range snap.admins {
		if snap.members[name].kind == KindUser {
			return snap.principal(name, []string{ScopeAll}, "")
		}
	}
	return &Principal{Name: operator.name, Kind: KindOperator, Admin: true, Groups: operator.groups, Scopes: []string{ScopeAll}}
}

// operator has the rights of a Principal of KindOperator.
var operator = &member{name: "operator", kind: KindOperator, admin: true, groups: []string{AccountUsers}}

func (s *snapshot) principal(name string, scopes []string, tokenID string) *Principal {
	m := s.members[name]
	if m == nil {
		return nil
	}
	return &Principal{Name: m.name, Kind: m.kind, Admin: m.admin, Groups: m.groups, Scopes: scopes, TokenID: tokenID}
}

// Allowed reports whether p has priv on on; see Check.
func (s *Service) Allowed(p *Principal, priv Privilege, on Securable) bool {
	snap := s.snap.Load()
	m := snap.memberOf(p)
	if m == nil {
		return false
	}
	v := snap.check(m, priv, on)
	return v.n == 0 && v.exists
}

// Explicit reports whether priv was granted to p, or a group of p's, by its
// own name on on or on what it lies in: not through ALL PRIVILEGES, ownership
// or administration. Telemetry ingestion asks for grants of that kind.
func (s *Service) Explicit(p *Principal, priv Privilege, on Securable) bool {
	snap := s.snap.Load()
	m := snap.memberOf(p)
	return m != nil && snap.explicit(m, priv, on)
}

// Check returns nil if p has priv on on, together with USE CATALOG and USE
// SCHEMA on the way. Otherwise it is apierror.Denied, which names the object,
// what is missing and who can help, in the same words whether the object is
// hidden from p or absent. Only a caller who would be allowed to see the
// object, an administrator for one, gets apierror.NotFound for an absent one.
func (s *Service) Check(p *Principal, priv Privilege, on Securable) error {
	snap := s.snap.Load()
	m := snap.memberOf(p)
	if m == nil {
		return apierror.New(apierror.Unauthenticated, "The caller is no user or service principal of this gateway any more.")
	}
	v := snap.check(m, priv, on)
	if v.n == 0 && v.exists {
		return nil
	}
	return snap.refuse(m, priv, on, v)
}

func (s *snapshot) memberOf(p *Principal) *member {
	if p == nil {
		return nil
	}
	if p.Kind == KindOperator {
		return operator
	}
	m := s.members[p.Name]
	if m == nil || m.kind != p.Kind {
		return nil
	}
	return m
}

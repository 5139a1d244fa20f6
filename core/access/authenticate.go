package access

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

const (
	// cachedTokens is how many tokens of the store are remembered.
	cachedTokens = 10_000
	// cachedFor bounds how long one is, so that its last use is noticed.
	cachedFor = 10 * time.Minute
	// pollEvery is how often the store is asked whether tokens changed.
	pollEvery = 250 * time.Millisecond
	// trustFor is how long the last answer is good. Together with the poll it
	// keeps the promise that a revocation acts within a second: a store that
	// does not answer is asked again at each request.
	trustFor = 700 * time.Millisecond
	// tidyEvery is how often expired tokens are deleted and uses noted.
	tidyEvery = time.Minute
	// keepExpired is how long an expired personal token is kept, so that its
	// user is told that it expired.
	keepExpired = 30 * 24 * time.Hour
	// useStep is how coarse the last use of a token is.
	useStep = time.Hour
	// maxToken is the longest text that is looked at, in bytes.
	maxToken = 4096
)

// cached is the outcome of a look-up, good for one epoch.
type cached struct {
	hash    tokenHash
	p       *Principal
	expires time.Time
	epoch   uint64
}

// Authenticate finds out whose token it is. It returns apierror.Unauthenticated
// for a token that is missing, unknown, revoked or expired, and
// apierror.Unavailable when the store cannot be asked.
func (s *Service) Authenticate(ctx context.Context, token string) (*Principal, error) {
	if token == "" {
		return nil, apierror.New(apierror.Unauthenticated, "No access token was sent. Send the header \"Authorization: Bearer TOKEN\"; `sallyport token create` makes a token.")
	}
	if len(token) > maxToken {
		return nil, unknownToken()
	}
	epoch := s.epoch.Load() // before anything is read
	h := hashToken(token)
	if p, ok := s.snap.Load().fixed[h]; ok {
		return p, nil
	}
	if !strings.HasPrefix(token, tokenPrefix) && !strings.HasPrefix(token, accessPrefix) {
		return nil, unknownToken() // none of the store's
	}
	key := binary.LittleEndian.Uint64(h[:])
	if time.Since(s.start)-time.Duration(s.polled.Load()) < trustFor {
		if c, ok := s.cache.Get(key); ok && c.epoch == epoch && c.hash.equal(h) && (c.expires.IsZero() || time.Now().Before(c.expires)) {
			return c.p, nil
		}
	}
	c, err := s.lookup(ctx, h)
	if err != nil {
		return nil, err
	}
	c.epoch = epoch
	s.cache.SetWithTTL(key, c, 1, cachedFor)
	return c.p, nil
}

func unknownToken() error {
	return apierror.New(apierror.Unauthenticated, "Invalid access token. It may be misspelt, revoked or expired; `sallyport token create` makes a new one.")
}

func (s *Service) lookup(ctx context.Context, h tokenHash) (*cached, error) {
	var (
		id, text, name, sc string
		expires, used      int64
	)
	err := s.db.QueryRow(ctx, `SELECT id, hash, principal, scopes, expires, last_used FROM token WHERE hash = ?`, hex.EncodeToString(h[:])).
		Scan(&id, &text, &name, &sc, &expires, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, unknownToken()
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, apierror.Wrap(apierror.Canceled, err, "The request was canceled.")
		}
		return nil, apierror.Wrap(apierror.Unavailable, fmt.Errorf("access: look up token: %w", err), "The gateway cannot check access tokens now. Try again in a moment.")
	}
	c := &cached{hash: h, expires: fromMillis(expires)}
	if stored, err := hex.DecodeString(text); err != nil || len(stored) != len(h) || !h.equal(tokenHash(stored)) {
		return nil, unknownToken()
	}
	now := time.Now()
	if expires != 0 && !now.Before(c.expires) {
		return nil, apierror.New(apierror.Unauthenticated, "The access token expired at %s. `sallyport token create` makes a new one.", c.expires.UTC().Format(time.RFC3339))
	}
	if c.p = s.snap.Load().principal(name, strings.Fields(sc), id); c.p == nil {
		return nil, apierror.New(apierror.Unauthenticated, "The access token belongs to %s, who is no user or service principal of this gateway any more.", plain(name))
	}
	if now.Truncate(useStep).UnixMilli() > used {
		s.used.note(id, now.Truncate(useStep).UnixMilli())
	}
	return c, nil
}

// follow keeps an eye on the store until ctx ends.
func (s *Service) follow(ctx context.Context) {
	defer close(s.stopped)
	poll, tidy := time.NewTicker(pollEvery), time.NewTicker(tidyEvery)
	defer poll.Stop()
	defer tidy.Stop()
	failing := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			err = s.poll(ctx)
		case <-tidy.C:
			err = s.tidy(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failing { // say it once, not four times a second
			if failing = err != nil; failing {
				s.log.Error("state database does not answer; every token is looked up", "error", err)
			} else {
				s.log.Info("state database answers again")
			}
		}
	}
}

// poll asks the store whether tokens changed.
func (s *Service) poll(ctx context.Context) error {
	s.pollMu.Lock()
	defer s.pollMu.Unlock()
	asked := time.Since(s.start)
	rev, err := s.db.Revision(ctx, topic)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	if rev != s.rev {
		s.rev = rev
		s.epoch.Add(1)
	}
	s.polled.Store(int64(asked))
	return nil
}

// tidy deletes what expired and notes uses.
func (s *Service) tidy(ctx context.Context) error {
	now := time.Now()
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM token WHERE expires > 0 AND ((kind = ? AND expires <= ?) OR expires <= ?)`,
			kindAccess, millis(now), millis(now.Add(-keepExpired)))
		return err
	})
	if err != nil {
		return fmt.Errorf("access: delete expired tokens: %w", err)
	}
	return s.flushUse(ctx)
}

// lastUse collects when tokens were used, to be written once a minute.
type lastUse struct {
	mu sync.Mutex
	at map[string]int64
}

func (l *lastUse) note(id string, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = map[string]int64{}
	}
	if len(l.at) < cachedTokens { // more in a minute go unnoted this time
		l.at[id] = at
	}
}

func (l *lastUse) take() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.at
	l.at = nil
	return at
}

func (s *Service) flushUse(ctx context.Context) error {
	at := s.used.take()
	if len(at) == 0 {
		return nil
	}
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		for id, t := range at {
			if _, err := tx.Exec(ctx, `UPDATE token SET last_used = ? WHERE id = ? AND last_used < ?`, t, id, t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("access: note last use: %w", err)
	}
	return nil
}

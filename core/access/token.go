package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

const (
	// tokenPrefix begins a personal access token; see RATIONALE.md.
	tokenPrefix = "dapi"
	// accessPrefix begins a token of the client-credentials flow.
	accessPrefix = "sat_"

	kindPersonal = "personal"
	kindAccess   = "access"

	// topic is what the store's revision of tokens is called.
	topic = "access"

	// AccessTokenLifetime is how long a token of the client-credentials flow
	// works. Source: the original's expires_in.
	AccessTokenLifetime = time.Hour
	// DefaultLifetime is how long a personal access token works when nobody
	// says.
	DefaultLifetime = 90 * 24 * time.Hour
	// maxAccessTokens is how many live access tokens one service principal
	// keeps; making more ends the oldest.
	maxAccessTokens = 1000
	// maxComment bounds the comment of a token, in bytes.
	maxComment = 256
)

// tokenHash is the SHA-256 of a token: all that is kept of it. A token has 256
// random bits, so a slow hash would add nothing.
type tokenHash [sha256.Size]byte

func hashToken(token string) tokenHash { return sha256.Sum256([]byte(token)) }

func (h tokenHash) equal(o tokenHash) bool { return subtle.ConstantTimeCompare(h[:], o[:]) == 1 }

func newToken(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	if prefix == tokenPrefix {
		return prefix + hex.EncodeToString(b[:])
	}
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// credentials are the secrets of a configuration, hashed.
type credentials struct {
	fixed   []fixedToken
	secrets map[string]tokenHash
	blanks  []string // about secrets that cannot be read
}

type fixedToken struct {
	hash      tokenHash
	principal string
	scopes    []string
	id        string
}

// load checks cfg and reads its secrets. One that cannot be read does not
// work, which is said, and keeps nothing else from working: a person who makes
// a token on the command line has not the environment of the service.
func load(cfg Config) (*identities, credentials, error) {
	ids, err := compile(cfg)
	if err != nil {
		return nil, credentials{}, err
	}
	c := credentials{secrets: map[string]tokenHash{}}
	for i, sp := range cfg.ServicePrincipals {
		if err := sp.Secret.Resolve(); err != nil {
			c.blanks = append(c.blanks, fmt.Sprintf("access.service_principals[%d].secret: %v, so %s cannot log in with it", i, err, sp.Name))
		} else if !sp.Secret.IsZero() {
			c.secrets[sp.Name] = hashToken(sp.Secret.Reveal())
		}
	}
	var errs []error
	seen := map[tokenHash]int{}
	for i, t := range cfg.Tokens {
		path := fmt.Sprintf("access.tokens[%d]", i)
		if err := t.Token.Resolve(); err != nil {
			c.blanks = append(c.blanks, fmt.Sprintf("%s.token: %v, so this token of %s does not work", path, err, t.Principal))
			continue
		}
		h := hashToken(t.Token.Reveal())
		if j, twice := seen[h]; twice {
			errs = append(errs, fmt.Errorf("%s.token: is the same as access.tokens[%d].token", path, j))
			continue
		}
		seen[h] = i
		sc, err := parseScopes(t.Scopes)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.scopes: %w", path, err))
		}
		c.fixed = append(c.fixed, fixedToken{h, t.Principal, sc, path})
	}
	return ids, c, errors.Join(errs...)
}

func (c credentials) attach(s *snapshot) {
	s.secrets = c.secrets
	s.blanks = append(slices.Clip(c.blanks), s.blanks...)
	s.fixed = make(map[tokenHash]*Principal, len(c.fixed))
	for _, t := range c.fixed {
		s.fixed[t.hash] = s.principal(t.principal, t.scopes, t.id)
	}
}

// NewToken is the wish for a personal access token.
type NewToken struct {
	Principal string        // a user or service principal
	Comment   string        // what it is for; at most 256 bytes
	Lifetime  time.Duration // 0 means DefaultLifetime; negative means for ever
	Scopes    []string      // none means all
}

// TokenInfo is what is known of a token, without the token.
type TokenInfo struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"` // personal, or access for the client-credentials flow
	Principal string    `json:"principal"`
	Comment   string    `json:"comment,omitempty"`
	Scopes    []string  `json:"scopes"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"`   // zero: never
	LastUsed  time.Time `json:"last_used,omitzero"` // to the hour; zero: never
}

// CreateToken makes a personal access token. It is shown once: only its hash
// is kept.
func (s *Service) CreateToken(ctx context.Context, n NewToken) (token string, info TokenInfo, err error) {
	snap := s.snap.Load()
	if snap.members[n.Principal] == nil {
		var names []string
		for name := range snap.members {
			names = append(names, name)
		}
		slices.Sort(names)
		return "", info, apierror.At(apierror.Invalid, "principal", "There is no user or service principal %s.%s", show(n.Principal), didYouMean(n.Principal, names))
	}
	if len(n.Comment) > maxComment {
		return "", info, apierror.At(apierror.Invalid, "comment", "The comment of a token has at most %d bytes.", maxComment)
	}
	sc, err := parseScopes(n.Scopes)
	if err != nil {
		return "", info, err
	}
	life := n.Lifetime
	if life == 0 {
		life = DefaultLifetime
	}
	token = newToken(tokenPrefix)
	info, err = s.insert(ctx, token, kindPersonal, n.Principal, n.Comment, sc, life)
	if err != nil {
		return "", TokenInfo{}, err
	}
	return token, info, nil
}

// ClientCredentials is the OAuth client-credentials flow: a service principal
// shows its name and secret and gets a token that works for expires. The token
// is in the store, so it outlives a restart. A wrong id and a wrong secret
// give the same apierror.Unauthenticated. No scopes means all-apis.
func (s *Service) ClientCredentials(ctx context.Context, id, secret string, scopes ...string) (token string, expires time.Duration, err error) {
	snap := s.snap.Load()
	want, known := snap.secrets[id]
	if right := want.equal(hashToken(secret)); !right || !known {
		return "", 0, apierror.New(apierror.Unauthenticated, "The client id or the client secret is wrong. The client id is the name of a service principal of the configuration that has a secret.")
	}
	if len(scopes) == 0 {
		scopes = []string{ScopeAllAPIs}
	}
	sc, err := parseScopes(scopes)
	if err != nil {
		return "", 0, err
	}
	token = newToken(accessPrefix)
	if _, err := s.insert(ctx, token, kindAccess, id, "", sc, AccessTokenLifetime); err != nil {
		return "", 0, err
	}
	return token, AccessTokenLifetime, nil
}

func (s *Service) insert(ctx context.Context, token, kind, principal, comment string, scopes []string, life time.Duration) (TokenInfo, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return TokenInfo{}, fmt.Errorf("access: token id: %w", err)
	}
	h := hashToken(token)
	info := TokenInfo{ID: id.String(), Kind: kind, Principal: principal, Comment: comment, Scopes: scopes, Created: time.Now().Truncate(time.Millisecond)}
	if life > 0 {
		info.Expires = info.Created.Add(life)
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO token (id, hash, kind, principal, comment, scopes, created, expires, last_used) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)`,
			info.ID, hex.EncodeToString(h[:]), kind, principal, comment, strings.Join(scopes, " "), millis(info.Created), millis(info.Expires))
		if err != nil || kind != kindAccess {
			return err
		}
		ended, err := tx.Exec(ctx, `DELETE FROM token WHERE kind = ? AND principal = ? AND id NOT IN
			(SELECT id FROM token WHERE kind = ? AND principal = ? ORDER BY created DESC, id DESC LIMIT ?)`,
			kindAccess, principal, kindAccess, principal, maxAccessTokens)
		if err != nil || ended == 0 {
			return err
		}
		return tx.Bump(ctx, topic)
	})
	if err != nil {
		return TokenInfo{}, fmt.Errorf("access: keep token: %w", err)
	}
	return info, nil
}

// ListTokens lists the tokens in the store, of one principal or, for "", of
// all; the newest first, at most 10,000. Tokens of the configuration file are
// not in it.
func (s *Service) ListTokens(ctx context.Context, principal string) ([]TokenInfo, error) {
	rows, err := s.db.Query(ctx, `SELECT id, kind, principal, comment, scopes, created, expires, last_used FROM token
		WHERE (? = '' OR principal = ?) AND (expires = 0 OR expires > ?) ORDER BY created DESC, id DESC LIMIT 10000`,
		principal, principal, millis(time.Now()))
	if err != nil {
		return nil, fmt.Errorf("access: list tokens: %w", err)
	}
	defer rows.Close()
	var out []TokenInfo
	for rows.Next() {
		var (
			t                      TokenInfo
			sc                     string
			created, expires, used int64
		)
		if err := rows.Scan(&t.ID, &t.Kind, &t.Principal, &t.Comment, &sc, &created, &expires, &used); err != nil {
			return nil, fmt.Errorf("access: list tokens: %w", err)
		}
		t.Scopes, t.Created, t.Expires, t.LastUsed = strings.Fields(sc), fromMillis(created), fromMillis(expires), fromMillis(used)
		out = append(out, t)
	}
	return out, rows.Err()
}

// RevokeToken ends the token with that id: here at once, in other processes
// at the same store within a second. An unknown id is apierror.NotFound.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	var n int64
	err := s.db.Update(ctx, func(tx *store.Tx) (err error) {
		if n, err = tx.Exec(ctx, `DELETE FROM token WHERE id = ?`, id); err != nil || n == 0 {
			return err
		}
		return tx.Bump(ctx, topic)
	})
	if err != nil {
		return fmt.Errorf("access: revoke token: %w", err)
	}
	if n == 0 {
		return apierror.New(apierror.NotFound, "There is no token with the id %s. `sallyport token list` shows them.", show(id))
	}
	s.epoch.Add(1)
	return nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

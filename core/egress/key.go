package egress

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

// keyCheck is how often a key's file is looked at for a new key.
const keyCheck = time.Second

// keyring gives an account's key. A key kept in a file, named by an absolute
// path, is read again when the file changes, so that rotation needs no
// restart; while the file is missing or empty the last key stays in use.
type keyring struct {
	path string // "" when the key is not rotated

	mu    sync.Mutex
	value secret.Value
	seen  time.Time // when the file was last looked at
	mod   time.Time
	size  int64
}

func newKeyring(v secret.Value) *keyring {
	k := &keyring{value: v}
	if path, ok := strings.CutPrefix(v.Source(), "file "); ok && filepath.IsAbs(path) {
		k.path = path
	}
	return k
}

// text returns the key, "" when none is configured, or why it cannot be read.
func (k *keyring) text() (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); k.path != "" && now.Sub(k.seen) >= keyCheck {
		k.seen = now
		if info, err := os.Stat(k.path); err == nil && (!info.ModTime().Equal(k.mod) || info.Size() != k.size) {
			if fresh := secret.File(k.path); fresh.Resolve() == nil {
				k.value, k.mod, k.size = fresh, info.ModTime(), info.Size()
			}
		}
	}
	if err := k.value.Resolve(); err != nil {
		return "", err
	}
	return k.value.Reveal(), nil
}

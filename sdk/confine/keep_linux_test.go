//go:build linux && (amd64 || arm64)

package confine

import "testing"

// A descriptor that is in another one's place is refused before anything is
// moved.
func TestKeepRefuses(t *testing.T) {
	t.Parallel()
	for _, p := range []Program{
		{Keep: []int{3}},
		{Keep: []int{9, 4}},
		{Keep: []int{9}, Descriptor: 3},
		{Keep: []int{1 << 30}},
	} {
		if err := keep(p); err == nil {
			t.Errorf("keep(%+v) did it", p)
		}
	}
	if err := keep(Program{Descriptor: 4}); err != nil {
		t.Errorf("nothing to keep: %v", err)
	}
}

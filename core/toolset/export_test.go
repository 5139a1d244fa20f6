package toolset

// Settle waits until the cache holds what was put in: it does so later.
func (t *Toolset) Settle() { t.opened.Wait() }

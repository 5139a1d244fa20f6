package ledger

import "os"

// batchBytes is when a batch takes no more records, which is also what may wait
// in memory for the disk. A single larger record is a batch of its own.
func (l *Log) batchBytes() int { return int(min(4<<20, l.cfg.SegmentBytes)) }

// batch is what goes to the file in one write. Its first record's goroutine
// writes it; the others wait for done.
type batch struct {
	buf  []byte
	last uint64
	done chan struct{} // nil when nobody else waits
	err  error
}

func (b *batch) wait() <-chan struct{} {
	if b.done == nil {
		b.done = make(chan struct{})
	}
	return b.done
}

// lead writes b once those before it are written, with whatever was added to
// it until then. Its caller looks at b no more.
func (l *Log) lead(b *batch) error {
	l.w.Lock()
	defer l.w.Unlock()
	l.mu.Lock()
	if b.err == nil && l.finished {
		l.refuse(ErrClosed)
	}
	if err := b.err; err != nil { // refused while it waited
		l.mu.Unlock()
		return err
	}
	l.batch = nil
	l.mu.Unlock()

	err := l.write(b)

	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.fail(err)
		l.end(b, err)
		l.refuse(err) // what was added meanwhile has sequences behind the gap
		l.given = l.written
		return err
	}
	l.active.size += int64(len(b.buf))
	l.active.last = b.last
	l.written = b.last
	if !l.dirty {
		l.dirty = true
		l.wakeSyncer()
	}
	l.end(b, nil)
	if b.done == nil { // nobody else knows it
		l.idle = b
	}
	return nil
}

// refuse ends the batch that is being filled. mu is held.
func (l *Log) refuse(err error) {
	if b := l.batch; b != nil {
		l.batch = nil
		l.end(b, err)
	}
}

// end gives a batch's result to all who wait for it. mu is held.
func (l *Log) end(b *batch, err error) {
	b.err = err
	if err != nil {
		l.bytes -= int64(len(b.buf))
		l.wakeSpace()
	}
	if b.done != nil {
		close(b.done)
	}
	if cap(b.buf) <= 1<<20 {
		l.spare = b.buf
	}
	b.buf = nil
}

// write puts b at the end of the active segment, which is as long as before
// until lead says so. w is held.
func (l *Log) write(b *batch) error {
	if err := l.ready(int64(len(b.buf))); err != nil {
		return err
	}
	s := l.active
	if _, err := s.f.WriteAt(b.buf, s.size); err != nil {
		// What got there must not be taken for a record later. If it cannot be
		// removed, the segment ends here: the name of the next one says so.
		if s.f.Truncate(s.size) != nil {
			l.sync()
			l.s.Lock()
			l.mu.Lock()
			if l.active == s {
				l.abandon()
			}
			l.mu.Unlock()
			l.s.Unlock()
		}
		return &DiskError{Op: "write", Path: s.path, Err: cause(err)}
	}
	return nil
}

// ready makes sure that there is a segment with room for n bytes. w is held.
func (l *Log) ready(n int64) error {
	if l.broken != nil {
		return l.broken
	}
	if s := l.active; s != nil {
		l.mu.Lock()
		sound := s.failed == nil
		l.mu.Unlock()
		if sound && (s.empty() || s.size+n <= l.cfg.SegmentBytes) {
			return nil
		}
		// A segment is synced before the next one exists. So a fault in any but
		// the last is damage, and never a torn end.
		if err := l.sync(); err != nil {
			return err
		}
		if s := l.active; s != nil && s.size+n <= l.cfg.SegmentBytes {
			return nil
		}
	}
	return l.roll()
}

// roll begins a new segment. w is held, and the active one is synced or given up.
func (l *Log) roll() error {
	if err := l.inPlace(); err != nil {
		return err
	}
	l.mu.Lock()
	first, prev, dir := l.written+1, l.lastOnDisk(), l.cfg.Dir
	l.mu.Unlock()
	s, err := createSegment(l.openFile, dir, first, prev, nil)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.abandon()
	l.add(s)
	l.mu.Unlock()
	return nil
}

// add puts a segment that was made at the end. mu is held.
func (l *Log) add(s *segment) {
	if n := len(l.segments); n > 0 && l.segments[n-1].path == s.path { // replaced
		l.bytes -= l.segments[n-1].size
		l.segments = l.segments[:n-1]
	}
	l.segments = append(l.segments, s)
	l.active = s
	l.bytes += s.size
}

// abandon writes no more to the active segment. mu is held.
func (l *Log) abandon() {
	if l.active != nil {
		l.active.f.Close()
		l.active.f, l.active = nil, nil
	}
}

// lastOnDisk is the sequence of the newest record in any segment. mu is held.
func (l *Log) lastOnDisk() uint64 {
	if n := len(l.segments); n > 0 {
		return l.segments[n-1].last
	}
	return l.written
}

// inPlace reports a directory that is no longer the one that was opened.
func (l *Log) inPlace() error {
	info, err := os.Stat(l.lock.Name())
	switch {
	case err == nil && os.SameFile(info, l.lockInfo):
		return nil
	case err == nil || os.IsNotExist(err):
		return &DiskError{Op: "use", Path: l.cfg.Dir, Err: errGone}
	}
	return &DiskError{Op: "use", Path: l.cfg.Dir, Err: cause(err)}
}

// fail remembers why the disk does not take records. mu is held.
func (l *Log) fail(err error) {
	if l.health == nil {
		l.cfg.Log.Error("ledger cannot write", "err", err)
	}
	l.health, l.failedAt = err, l.written
	l.wakeSyncer()
}

func (l *Log) wakeSyncer() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

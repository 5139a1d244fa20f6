package egress

import "io"

// joinPieces is how long a body in pieces may be that is copied into one: of
// such a one net/http knows that reading it does not wait, and sends it and the
// head in one write.
const joinPieces = pipeBuffer

// pieces reads a body that is not in one piece.
type pieces struct {
	rest [3][]byte
	at   int
}

func (p *pieces) Read(b []byte) (n int, err error) {
	for p.at < len(p.rest) && n < len(b) {
		k := copy(b[n:], p.rest[p.at])
		n, p.rest[p.at] = n+k, p.rest[p.at][k:]
		if len(p.rest[p.at]) == 0 {
			p.at++
		}
	}
	if n == 0 && p.at == len(p.rest) && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (p *pieces) Close() error { return nil }

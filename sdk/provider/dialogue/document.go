package dialogue

import (
	"io"
	"net/http"
	"sync"

	"github.com/valyala/fastjson"
)

// Document reads a body and parses JSON in memory that serves the next one
// after Close: its values die with that call.
type Document struct {
	parser fastjson.Parser
	body   []byte
	size   int // of the longest JSON that parser has read
}

// What of a document is kept, in bytes: of a body, and of JSON whose parser is.
const (
	keptBody   = 64 << 10
	keptParser = 256 << 10
)

var documents sync.Pool

// Open gives an empty document.
func Open() *Document {
	if d, ok := documents.Get().(*Document); ok {
		return d
	}
	return new(Document)
}

// Read is ReadBody into the memory of the document.
func (d *Document) Read(body io.Reader, h http.Header, limit int64) ([]byte, error) {
	b, err := ReadBody(d.body, body, h, limit)
	if d.body = b; cap(b) > keptBody {
		d.body = nil
	}
	return b, err
}

// Parse mends and parses b, which may lie in the document. The values of an
// earlier Parse die.
func (d *Document) Parse(b []byte) (*fastjson.Value, error) {
	b = Mend(b)
	d.size = max(d.size, len(b))
	return d.parser.ParseBytes(b)
}

// Slim lets the values and the parser's memory go where they are much.
func (d *Document) Slim() {
	if d.size > keptParser {
		d.parser, d.size = fastjson.Parser{}, 0
	}
}

// Close gives the memory back.
func (d *Document) Close() {
	d.Slim()
	documents.Put(d)
}

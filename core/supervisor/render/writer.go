package render

import (
	"strconv"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Writer renders one run. It is given the model's events and the results of
// hosted calls, keeps the finished items, and sends events as they arise. It
// is used by one goroutine at a time.
type Writer struct {
	head    Head
	opening []byte
	echo    []byte
	emit    func(Event) error // nil when only the final response is wanted
	seq     int64
	items   [][]byte
	cur     current

	// Behind a hosted call of the openai dialect, whose item stays open until
	// its result is there, the rest of the turn waits.
	queue   []openresponses.Event
	results map[string]*Record
	shown   int // items that are more than a listing of tools
}

// current is the output item that is open.
type current struct {
	shape       shape
	id          string
	fn          *Function // of a hosted call
	callID      string
	name        string
	arguments   string
	annotations int
	waiting     bool // for its result
}

type shape int

const (
	closed shape = iota
	message
	reasoning
	call // function_call, the client's or half of a pair
	compaction
	mcpCall
	codeCall
	searchCall
	approval
	unknown // an item that no dialect has a form for
)

// NewWriter makes the writer of one run. The receiver of emit owns each
// event's bytes; an error of emit is returned by the method that met it.
func NewWriter(h Head, emit func(Event) error) *Writer {
	w := &Writer{head: h, emit: emit, results: map[string]*Record{}}
	w.opening = w.head.appendOpening(nil)
	w.echo = w.head.appendEcho(nil)
	return w
}

// Begin sends response.created and response.in_progress and, in the openai
// dialect, lists the hosted tools.
func (w *Writer) Begin() error {
	for _, typ := range []string{"response.created", "response.in_progress"} {
		if w.emit == nil {
			break
		}
		b := w.start(typ, len(w.opening)+len(w.echo)+256)
		b = append(b, `,"response":`...)
		b = w.appendResponse(b, &Outcome{Status: openresponses.StatusInProgress})
		if err := w.send(typ, b); err != nil {
			return err
		}
	}
	return w.listTools()
}

// Shown reports whether any output item is finished, listings of tools apart.
func (w *Writer) Shown() bool { return w.shown > 0 }

// Mute stops the sending: there is nobody to read any more.
func (w *Writer) Mute() { w.emit = nil }

// Model renders one event of the model's turn. Terminal events are for the
// loop and give nothing here.
func (w *Writer) Model(ev *openresponses.Event) error {
	if w.cur.waiting {
		w.queue = append(w.queue, *ev)
		return nil
	}
	return w.model(ev)
}

// Result renders the result of a hosted call. Results come in any order.
func (w *Writer) Result(r *Record) error {
	switch {
	case w.head.Dialect != OpenAI:
		return w.callOutput(r)
	case r.Approval == Granted:
		return w.approvedCall(r)
	}
	w.results[r.CallID] = r
	for w.cur.waiting {
		r := w.results[w.cur.callID]
		if r == nil {
			return nil
		}
		delete(w.results, r.CallID)
		if err := w.finishHosted(r); err != nil {
			return err
		}
		for len(w.queue) > 0 && !w.cur.waiting {
			ev := w.queue[0]
			w.queue = w.queue[1:]
			if err := w.model(&ev); err != nil {
				return err
			}
		}
	}
	return nil
}

// Finish sends the terminal event, after an error event when the run failed,
// and returns the final response.
func (w *Writer) Finish(o Outcome) ([]byte, error) {
	size := len(w.opening) + len(w.echo) + 512
	for _, it := range w.items {
		size += len(it) + 1
	}
	response := w.appendResponse(make([]byte, 0, size), &o)
	if w.emit == nil {
		return response, nil
	}
	if o.Error != nil {
		b := appendErrorMembers(w.start("error", 256), w.head.Dialect, o.Error)
		if err := w.send("error", b); err != nil {
			return response, err
		}
	}
	typ := "response." + o.Status
	b := append(w.start(typ, len(response)), `,"response":`...)
	return response, w.send(typ, append(b, response...))
}

func (w *Writer) appendResponse(b []byte, o *Outcome) []byte {
	b = append(b, w.opening...)
	b = append(b, w.echo...)
	return appendState(b, w.head.Dialect, o, w.items, w.head.Request.ServiceTier)
}

// start begins an event's JSON; extra is about how much more will follow.
func (w *Writer) start(typ string, extra int) []byte {
	b := make([]byte, 0, len(typ)+extra+160)
	b = append(b, `{"type":"`...)
	b = append(b, typ...)
	b = append(b, `","sequence_number":`...)
	b = strconv.AppendInt(b, w.seq, 10)
	w.seq++
	return b
}

// startAt begins an event of the open item.
func (w *Writer) startAt(typ string, extra int) []byte {
	b := w.start(typ, extra)
	b = append(b, `,"item_id":"`...)
	b = append(b, w.cur.id...)
	b = append(b, `","output_index":`...)
	return strconv.AppendInt(b, int64(len(w.items)), 10)
}

func (w *Writer) send(typ string, b []byte) error {
	return w.emit(Event{Type: typ, Data: append(b, '}')})
}

// plain sends an event of the open item that says nothing more.
func (w *Writer) plain(typ string) error {
	if w.emit == nil {
		return nil
	}
	return w.send(typ, w.startAt(typ, 0))
}

// text sends an event of the open item with one string member.
func (w *Writer) text(typ, member, s string) error {
	if w.emit == nil {
		return nil
	}
	b := w.startAt(typ, len(s)+len(s)/8)
	b = append(b, `,"`...)
	b = append(b, member...)
	b = append(b, `":`...)
	return w.send(typ, appendString(b, s))
}

// added sends output_item.added for the item that the bytes hold.
func (w *Writer) added(item []byte) error { return w.itemEvent(openresponses.EventItemAdded, item) }

// done keeps the finished item, sends output_item.done and closes it.
func (w *Writer) done(item []byte) error {
	err := w.itemEvent(openresponses.EventItemDone, item)
	w.items = append(w.items, item)
	w.shown++
	w.cur = current{}
	return err
}

func (w *Writer) itemEvent(typ string, item []byte) error {
	if w.emit == nil {
		return nil
	}
	b := w.start(typ, len(item))
	b = append(b, `,"output_index":`...)
	b = strconv.AppendInt(b, int64(len(w.items)), 10)
	b = append(b, `,"item":`...)
	return w.send(typ, append(b, item...))
}

// callOutput renders a result as a function_call_output item.
func (w *Writer) callOutput(r *Record) error {
	id := NewID("fco_")
	if w.emit != nil {
		if err := w.added(w.appendCallOutput(nil, id, openresponses.StatusInProgress, r.CallID, &openresponses.Output{})); err != nil {
			return err
		}
	}
	return w.done(w.appendCallOutput(nil, id, openresponses.StatusCompleted, r.CallID, &r.Output))
}

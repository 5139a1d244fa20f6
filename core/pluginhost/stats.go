package pluginhost

import (
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// What is asked of a plugin, as the label "op" of its metrics. An exchange of a
// provider lasts from Begin to the end of its reply, and a dialogue from Accept
// to the end of what is written, so the model's own time is in both; begin and
// accept are the plugin's work alone.
const (
	opBegin    = "begin"
	opExchange = "exchange"
	opAccept   = "accept"
	opDialogue = "dialogue"
	opOpen     = "open"
	opCall     = "call"
	opInspect  = "inspect"
	opQuery    = "query"
)

// opOf is the operation whose times stand for a kind of plugin in a list.
var opOf = map[string]string{"provider": opBegin, "tool": opCall, "engine": opQuery}

const (
	statsWindow = 10 * time.Minute // of the quantiles, at most; half of it at least
	codeDone    = "ok"             // label "code" of what succeeded
)

// metrics counts what is asked of plugins. No label names a caller, a model or
// anything else that a request chooses, so their number is bounded.
type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.SummaryVec
}

func newMetrics() *metrics {
	return &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_plugin_calls_total", Help: `What was asked of a plugin, by how it ended: "ok" or the code of the error.`,
		}, []string{"kind", "plugin", "op", "code"}),
		seconds: prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Name: "sallyport_plugin_call_seconds", Help: "How long a plugin took, over the last five to ten minutes. The ops exchange and dialogue have the model's time in them.",
			Objectives: map[float64]float64{0.5: 0.02, 0.99: 0.001},
			MaxAge:     statsWindow, AgeBuckets: 2, // each observation goes into all of them
		}, []string{"kind", "plugin", "op"}),
	}
}

// stats is the part of metrics for one plugin.
type stats struct {
	m          *metrics
	kind, name string
	ops        map[string]func() opStats // by operation, of the plugin's kind; not changed
}

// opStats are the metrics of one operation: to look them up by their labels costs
// more than to count.
type opStats struct {
	done    prometheus.Counter // of the code "ok"
	seconds prometheus.Observer
}

// opsOf are the operations of each kind of plugin.
var opsOf = map[string][]string{
	"provider": {opBegin, opExchange, opAccept, opDialogue}, "tool": {opOpen, opCall}, "engine": {opInspect, opQuery},
}

func (m *metrics) of(n slotName) stats {
	s := stats{m, n.kind, n.name, map[string]func() opStats{}}
	for _, op := range opsOf[n.kind] {
		s.ops[op] = sync.OnceValue(func() opStats { // nothing is told of what was never asked
			return opStats{m.calls.WithLabelValues(n.kind, n.name, op, codeDone), m.seconds.WithLabelValues(n.kind, n.name, op)}
		})
	}
	return s
}

// took notes that op, begun at start, has ended with err.
func (s stats) took(op string, start time.Time, err error) {
	of := s.ops[op]()
	if err == nil {
		of.done.Inc()
	} else {
		s.m.calls.WithLabelValues(s.kind, s.name, op, string(apierror.CodeOf(err))).Inc()
	}
	of.seconds.Observe(time.Since(start).Seconds())
}

// summary fills in what a list shows.
func (s stats) summary(i *Info) {
	var m dto.Metric
	if o, ok := s.m.seconds.WithLabelValues(s.kind, s.name, opOf[s.kind]).(prometheus.Metric); ok && o.Write(&m) == nil {
		for _, q := range m.GetSummary().GetQuantile() {
			if math.IsNaN(q.GetValue()) { // nothing in the window
				continue
			}
			d := time.Duration(q.GetValue() * float64(time.Second))
			if q.GetQuantile() == 0.5 {
				i.P50 = d
			} else {
				i.P99 = d
			}
		}
	}
	ch := make(chan prometheus.Metric)
	go func() { s.m.calls.Collect(ch); close(ch) }()
	for c := range ch {
		var m dto.Metric
		if c.Write(&m) != nil {
			continue
		}
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["kind"] != s.kind || labels["plugin"] != s.name || labels["op"] == opExchange || labels["op"] == opDialogue {
			continue
		}
		n := uint64(m.GetCounter().GetValue())
		i.Calls += n
		if c := labels["code"]; c != codeDone && c != string(apierror.Canceled) {
			i.Errors += n
		}
	}
}

var (
	restartsDesc = prometheus.NewDesc("sallyport_plugin_restarts_total", "Processes started in the place of one that had ended.", []string{"kind", "plugin"}, nil)
	upDesc       = prometheus.NewDesc("sallyport_plugin_running", "1 while a process of the plugin runs; plugins are started when they are first used.", []string{"kind", "plugin", "state"}, nil)
	inFlightDesc = prometheus.NewDesc("sallyport_plugin_in_flight", "Calls under way.", []string{"kind", "plugin"}, nil)
	memoryDesc   = prometheus.NewDesc("sallyport_plugin_memory_bytes", "Resident memory of the plugin's processes.", []string{"kind", "plugin"}, nil)
)

var _ prometheus.Collector = (*Host)(nil)

// Describe is that of a prometheus.Collector.
func (h *Host) Describe(ch chan<- *prometheus.Desc) {
	h.metrics.calls.Describe(ch)
	h.metrics.seconds.Describe(ch)
	for _, d := range []*prometheus.Desc{restartsDesc, upDesc, inFlightDesc, memoryDesc} {
		ch <- d
	}
}

// Collect is that of a prometheus.Collector: what every plugin does, summed
// over its processes.
func (h *Host) Collect(ch chan<- prometheus.Metric) {
	h.metrics.calls.Collect(ch)
	h.metrics.seconds.Collect(ch)
	for _, i := range h.infos() {
		if i.Kind == "" || i.State == Refused { // two of one name would be one metric twice
			continue
		}
		running := 0.0
		if i.State == Running {
			running = 1
		}
		ch <- prometheus.MustNewConstMetric(restartsDesc, prometheus.CounterValue, float64(i.Restarts), i.Kind, i.Name)
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, running, i.Kind, i.Name, string(i.State))
		ch <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(i.InFlight), i.Kind, i.Name)
		ch <- prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, float64(i.Memory), i.Kind, i.Name)
	}
}

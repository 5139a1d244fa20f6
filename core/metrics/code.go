package metrics

import "github.com/prometheus/client_golang/prometheus"

// CodeStats is what code execution does at the moment.
type CodeStats struct {
	Workers  int   // processes that are alive
	Sessions int   // requests whose programs have left something
	Running  int   // programs
	Waiting  int   // programs
	Memory   int64 // bytes of all workers, as last seen
}

var (
	codeWorkersDesc  = prometheus.NewDesc("sallyport_code_workers", "Processes for models' programs.", nil, nil)
	codeSessionsDesc = prometheus.NewDesc("sallyport_code_sessions", "Requests whose programs have left something that later programs see.", nil, nil)
	codeProgramsDesc = prometheus.NewDesc("sallyport_code_programs", "Models' programs under way.", []string{"state"}, nil)
	codeMemoryDesc   = prometheus.NewDesc("sallyport_code_memory_bytes", "Memory of the processes for models' programs, as last seen.", nil, nil)
)

// Code are the gauges of code execution. now is asked at each scrape.
func Code(now func() CodeStats) prometheus.Collector { return code(now) }

type code func() CodeStats

func (code) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{codeWorkersDesc, codeSessionsDesc, codeProgramsDesc, codeMemoryDesc} {
		ch <- d
	}
}

func (c code) Collect(ch chan<- prometheus.Metric) {
	now := c()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(codeWorkersDesc, float64(now.Workers))
	gauge(codeSessionsDesc, float64(now.Sessions))
	gauge(codeProgramsDesc, float64(now.Running), "running")
	gauge(codeProgramsDesc, float64(now.Waiting), "waiting")
	gauge(codeMemoryDesc, float64(now.Memory))
}

package delta

import (
	"fmt"
	"slices"
	"strings"
)

// known lists the reader features this package reads rightly. deletionVectors
// is among them because a live file that has one is refused; columnMapping
// because any mode but none is.
var known = []string{"timestampNtz", "vacuumProtocolCheck", "deletionVectors", "columnMapping"}

// The protocol versions this package writes. Writer 2 demands that appendOnly
// and column invariants are honoured: the former is, tables with the latter
// are refused.
// Source: Delta protocol, "Writer Version Requirements".
const (
	readerVersion = 1
	writerVersion = 2
)

type protocol struct {
	MinReaderVersion int32    `json:"minReaderVersion" parquet:"minReaderVersion,optional"`
	MinWriterVersion int32    `json:"minWriterVersion" parquet:"minWriterVersion,optional"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty" parquet:"readerFeatures,optional,list"`
	WriterFeatures   []string `json:"writerFeatures,omitempty" parquet:"writerFeatures,optional,list"`
}

// check refuses a table that this package would misread.
func (p *protocol) check(m *metadata) error {
	if p.MinReaderVersion > 3 {
		return fmt.Errorf("%w: it needs reader version %d", ErrUnsupported, p.MinReaderVersion)
	}
	if p.MinReaderVersion == 3 {
		for _, f := range p.ReaderFeatures {
			if !slices.Contains(known, f) {
				return fmt.Errorf("%w: it needs the reader feature %q", ErrUnsupported, f)
			}
		}
	}
	if mode := m.Configuration["delta.columnMapping.mode"]; mode != "" && mode != "none" {
		return fmt.Errorf("%w: its columns are mapped by %s", ErrUnsupported, mode)
	}
	if m.Format.Provider != "" && m.Format.Provider != "parquet" {
		return fmt.Errorf("%w: its files are %q", ErrUnsupported, m.Format.Provider)
	}
	return nil
}

// checkWrite refuses a table that asks a writer for more than this package
// does.
func (p *protocol) checkWrite(m *metadata) error {
	if err := p.check(m); err != nil {
		return err
	}
	features := slices.Clone(p.ReaderFeatures)
	features = append(features, p.WriterFeatures...)
	slices.Sort(features)
	features = slices.Compact(features)
	if len(features) > 0 {
		return fmt.Errorf("%w for writing: it has the features %s; this writer does reader version %d and writer version %d without features",
			ErrUnsupported, strings.Join(features, ", "), readerVersion, writerVersion)
	}
	if p.MinReaderVersion > readerVersion || p.MinWriterVersion > writerVersion {
		return fmt.Errorf("%w for writing: it needs reader version %d and writer version %d; this writer does %d and %d",
			ErrUnsupported, p.MinReaderVersion, p.MinWriterVersion, readerVersion, writerVersion)
	}
	return nil
}

//go:build !linux || !(amd64 || arm64)

package confine

import (
	"errors"
	"runtime"
)

func probe() Report {
	return Report{Missing: []string{"no confinement on " + runtime.GOOS + "/" + runtime.GOARCH + ": the process keeps all rights of its user"}}
}

func apply(p Policy) (Report, error) {
	r := probe()
	if !p.AllowUnconfined {
		return r, errors.New("confine: " + r.Missing[0])
	}
	return r, nil
}

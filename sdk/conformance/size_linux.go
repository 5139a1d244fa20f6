package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// measure reads what a process holds.
func measure(pid int) (size, error) {
	var s size
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return s, errNoSize
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(fields[1], 10, 64) // only of the fields below, which are numbers
		switch fields[0] {
		case "VmRSS:":
			s.memory = n << 10
		case "Threads:":
			s.threads = int(n)
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return s, errNoSize
	}
	s.files = len(files)
	return s, nil
}

// leftBehind are the living processes of a group, or with mark in their
// environment.
func leftBehind(group int, mark string) []string {
	var left []string
	dirs, _ := filepath.Glob("/proc/[0-9]*") // a bad pattern is the only error
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp …; the name may hold anything
		at := bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[at+1:]))
		if at < 0 || len(fields) < 3 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		env, _ := os.ReadFile(filepath.Join(dir, "environ")) // others' is not ours to read
		if fields[2] == strconv.Itoa(group) || bytes.Contains(env, []byte(mark)) {
			name, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			left = append(left, fmt.Sprintf("process %s (%s)", filepath.Base(dir), strings.TrimSpace(strings.ReplaceAll(string(name), "\x00", " "))))
		}
	}
	return left
}

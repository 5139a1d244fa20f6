package tables

import (
	"encoding/binary"
	"fmt"
)

// headerVersion is the form of a record's payload: this byte, the length of
// the table's name as uvarint, the name, and the body.
const headerVersion = 1

// Header appends to dst what a record's payload begins with: which table it is
// for. The body follows.
func Header(dst []byte, table string) []byte {
	dst = append(dst, headerVersion)
	dst = binary.AppendUvarint(dst, uint64(len(table)))
	return append(dst, table...)
}

// Split takes a record's payload apart. The body is a part of it.
func Split(payload []byte) (table string, body []byte, err error) {
	name, body, err := split(payload)
	return string(name), body, err
}

func split(payload []byte) (table, body []byte, err error) {
	if len(payload) == 0 {
		return nil, nil, fmt.Errorf("the record is empty")
	}
	if payload[0] != headerVersion {
		return nil, nil, fmt.Errorf("the record is of form %d; this program reads %d", payload[0], headerVersion)
	}
	n, used := binary.Uvarint(payload[1:])
	if rest := payload[1:]; used > 0 && n <= uint64(len(rest)-used) {
		return rest[used : used+int(n)], rest[used+int(n):], nil
	}
	return nil, nil, fmt.Errorf("the record ends within its table's name")
}

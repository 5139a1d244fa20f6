package sqlapi

import (
	"bytes"
	"encoding/json"
	"errors"
)

var errRow = errors.New("the engine gave a row that is no JSON array of the columns")

// appendRow writes a row of the engine, a JSON array of want values, as an
// array of strings and nulls: a string as it is, anything else as its JSON.
func appendRow(out *bytes.Buffer, row []byte, want int) error {
	out.WriteByte('[')
	n := 0
	err := cells(row, func(cell []byte) {
		if n++; n > 1 {
			out.WriteByte(',')
		}
		switch {
		case cell[0] == '"' || string(cell) == "null":
			out.Write(cell)
		case cell[0] == '{' || cell[0] == '[':
			text, _ := json.Marshal(string(cell)) // a string always marshals
			out.Write(text)
		default:
			out.WriteByte('"')
			out.Write(cell)
			out.WriteByte('"')
		}
	})
	if err != nil || n != want {
		return errors.Join(errRow, err)
	}
	out.WriteByte(']')
	return nil
}

// cells calls yield with each value of a JSON array, without white space
// around it.
func cells(row []byte, yield func(cell []byte)) error {
	row = bytes.TrimSpace(row)
	if !json.Valid(row) || len(row) < 2 || row[0] != '[' {
		return errRow
	}
	row = bytes.TrimSpace(row[1 : len(row)-1])
	start, depth := 0, 0
	for i := 0; i < len(row); i++ {
		switch row[i] {
		case '"':
			for i++; row[i] != '"'; i++ {
				if row[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				yield(bytes.TrimSpace(row[start:i]))
				start = i + 1
			}
		}
	}
	if len(row) > 0 {
		yield(bytes.TrimSpace(row[start:]))
	}
	return nil
}

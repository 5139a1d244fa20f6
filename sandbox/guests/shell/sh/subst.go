package sh

import (
	"fmt"
	"os"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// substPrefix starts the names of the files of process substitutions.
const substPrefix = ".substitution-"

// substitute replaces each <(commands) by a command substitution that runs the
// commands to their end into a scratch file and yields its name: there are no
// named pipes in the guest. >(commands) is refused.
func substitute(file *syntax.File) error {
	var bad error
	syntax.Walk(file, func(n syntax.Node) bool {
		if w, ok := n.(*syntax.Word); ok {
			for i, part := range w.Parts {
				p, ok := part.(*syntax.ProcSubst)
				if !ok {
					continue
				}
				if p.Op != syntax.CmdIn {
					bad = fmt.Errorf("shell:%s: output process substitution >(…) is not available; write to a file and read it afterwards", p.Pos())
					continue
				}
				sub, err := capture(p.Stmts)
				if err != nil {
					bad = err
					continue
				}
				w.Parts[i] = sub
			}
		}
		return true
	})
	return bad
}

// capture returns $(f=$(mktemp …); { stmts; } >$f; echo $f).
func capture(stmts []*syntax.Stmt) (*syntax.CmdSubst, error) {
	const template = `x=$(__f=$(mktemp "$TMPDIR/` + substPrefix + `XXXXXXXX"); { :; } >"$__f"; echo "$__f")`
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(template), "")
	if err != nil {
		return nil, fmt.Errorf("process substitution: %w", err)
	}
	sub := f.Stmts[0].Cmd.(*syntax.CallExpr).Assigns[0].Value.Parts[0].(*syntax.CmdSubst)
	if len(stmts) > 0 {
		sub.Stmts[1].Cmd.(*syntax.Block).Stmts = stmts
	}
	return sub, nil
}

func (s *Shell) removeSubstitutions() {
	entries, err := os.ReadDir(s.scratch)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), substPrefix) {
			os.Remove(path.Join(s.scratch, e.Name()))
		}
	}
}

//go:build linux

package gatewaytest_test

import "testing"

// What the crash loop takes for right and for wrong.
func TestFit(t *testing.T) {
	t.Parallel()
	status := func(n int) *int { return &n }
	served := attempt{status(200)}
	refused := attempt{status(503)}
	silent := attempt{}
	model := func(status string, attempts ...attempt) row { return row{status: status, attempts: attempts} }
	tool := row{status: "completed", service: "HOSTED_TOOL"}
	at := func(turns ...int) []sight {
		var all []sight
		for _, turn := range turns {
			all = append(all, sight{turn})
		}
		return all
	}
	for name, tc := range map[string]struct {
		errand errand
		rows   []row
		seen   []sight
		good   bool
	}{
		"once":                        {plain, []row{model("completed", served)}, at(0), true},
		"a tool and a second turn":    {hosted, []row{model("completed", served), tool, model("completed", served)}, at(0, 1), true},
		"tried twice":                 {plain, []row{model("completed", refused, served)}, at(0, 0), true},
		"cut before its head":         {plain, []row{model("failed", silent, served)}, at(0, 0), true},
		"not reached once":            {plain, []row{model("completed", silent, served)}, at(0), true},
		"killed":                      {plain, []row{model("interrupted")}, at(0), true},
		"killed before it was sent":   {plain, []row{model("interrupted")}, nil, true},
		"killed in the second try":    {plain, []row{model("interrupted")}, at(0, 0), true},
		"killed before the next turn": {hosted, []row{model("completed", served), tool, model("interrupted")}, at(0), true},
		"killed in a tool":            {hosted, []row{model("completed", served), {status: "interrupted", service: "HOSTED_TOOL"}}, at(0), true},
		"never sent":                  {plain, nil, nil, true},
		"lost":                        {plain, nil, at(0), false},
		"a turn lost":                 {hosted, []row{model("completed", served), tool}, at(0, 1), false},
		"twice":                       {plain, []row{model("completed", served), model("completed", served)}, at(0), false},
		"settled and interrupted":     {plain, []row{model("completed", served), model("interrupted")}, at(0), false},
		"interrupted twice":           {hosted, []row{model("interrupted"), model("interrupted")}, at(0), false},
		"of nothing":                  {plain, []row{model("completed", served)}, nil, false},
		"too many attempts":           {plain, []row{model("completed", refused, served)}, at(0), false},
		"too few attempts":            {plain, []row{model("completed", served)}, at(0, 0), false},
		"too many tools":              {hosted, []row{model("completed", served), tool, tool, model("completed", served)}, at(0, 1), false},
	} {
		if extra := fit(tc.errand, tc.rows, tc.seen); (extra == 0 || extra == 1) != tc.good {
			t.Errorf("%s: %d calls too many", name, extra)
		}
	}
}

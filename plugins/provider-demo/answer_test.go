package main

import (
	"encoding/json"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

const sqlParameters = `{"type":"object","properties":{"sql":{"type":"string"}},"required":["sql"]}`

// reviews and orders are descriptions as the table tool writes them.
const reviews = `Table main.sales.reviews: One row per customer review
Columns:
- review_id BIGINT
- product VARCHAR: what it is about (such as 'Oak Chair', 'It''s a Lamp')
- country VARCHAR (such as 'Norway', 'New Zealand', 'US')
- rating INTEGER: stars, 1 to 5 (such as 4, 5)
- "unit price" DECIMAL(10,2)
- created_at TIMESTAMP
- verified BOOLEAN
Write one SELECT statement in DuckDB SQL; in FROM write main.sales.reviews.`

const orders = `Table main.sales."order"
Columns:
- order_id BIGINT
- quantity INTEGER
- status VARCHAR
- total DOUBLE
`

func tool(name, description, parameters string) or.Tool {
	return or.Tool{Type: "function", Name: name, Description: description, Parameters: json.RawMessage(parameters)}
}

func request(text string, tools ...or.Tool) *or.Request {
	return &or.Request{Model: "demo", Input: []or.Item{or.Text("user", text)}, Tools: tools}
}

var (
	reviewsTool = tool("main__sales__reviews", reviews, sqlParameters)
	ordersTool  = tool("main__sales__order", orders, sqlParameters)
	weatherTool = tool("get_weather", "Get current weather for a location.", `{"type":"object","properties":{"location":{"type":"string"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},"required":["location"]}`)
)

func TestQuestionsToSQL(t *testing.T) {
	t.Parallel()
	const from = ` FROM "main"."sales"."reviews"`
	tests := []struct{ ask, want string }{
		{"How many reviews are there?", `SELECT count(*) AS "number of rows"` + from},
		{"Count the reviews by country", `SELECT "country", count(*) AS "number of rows"` + from + ` GROUP BY 1 ORDER BY 1`},
		{"What is the average rating?", `SELECT avg("rating") AS "average of rating"` + from},
		{"What is the average rating by country in main.sales.reviews?", `SELECT "country", avg("rating") AS "average of rating"` + from + ` GROUP BY 1 ORDER BY 1`},
		{"average rating per country and product", `SELECT "country", "product", avg("rating") AS "average of rating"` + from + ` GROUP BY 1, 2 ORDER BY 1, 2`},
		{"Give me the minimum, maximum and mean rating for each product.", `SELECT "product", min("rating") AS "minimum of rating", max("rating") AS "maximum of rating", avg("rating") AS "average of rating"` + from + ` GROUP BY 1 ORDER BY 1`},
		{"Sum of the unit prices", `SELECT sum("unit price") AS "sum of unit price"` + from},
		{"What's the total price?", `SELECT sum("unit price") AS "sum of unit price"` + from},
		{"count of rating", `SELECT count("rating") AS "count of rating"` + from},
		{"How many different countries are there?", `SELECT count(DISTINCT "country") AS "number of different country"` + from},
		{"How many reviews are from Norway?", `SELECT count(*) AS "number of rows"` + from + ` WHERE "country" = 'Norway'`},
		{"Tell us how many reviews there are", `SELECT count(*) AS "number of rows"` + from},
		{"How many reviews are from the US?", `SELECT count(*) AS "number of rows"` + from + ` WHERE "country" = 'US'`},
		{"Average rating of it's a lamp in New Zealand", `SELECT avg("rating") AS "average of rating"` + from + ` WHERE "product" = 'It''s a Lamp' AND "country" = 'New Zealand'`},
		{"Which country has the most reviews?", `SELECT "country", count(*) AS "number of rows"` + from + ` GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1`},
		{"Which product has the lowest average rating?", `SELECT "product", avg("rating") AS "average of rating"` + from + ` GROUP BY 1 ORDER BY 2 ASC, 1 LIMIT 1`},
		{"latest created at", `SELECT max("created_at") AS "maximum of created_at"` + from},
		{"average of the reviews' rating", `SELECT avg("rating") AS "average of rating"` + from},
		{"What is the highest order quantity by status?", `SELECT "status", max("quantity") AS "maximum of quantity" FROM "main"."sales"."order" GROUP BY 1 ORDER BY 1`},
		{"What is the average number of ratings?", `SELECT avg("rating") AS "average of rating"` + from},
		{"What is the total number of ratings?", `SELECT sum("rating") AS "sum of rating"` + from},
		{"Count rows in main.sales.reviews", `SELECT count(*) AS "number of rows"` + from},
		{"Count the number of reviews per country", `SELECT "country", count(*) AS "number of rows"` + from + ` GROUP BY 1 ORDER BY 1`},
		{"How many verified reviews are there by country?", `SELECT "country", count(*) AS "number of rows"` + from + ` WHERE "verified" GROUP BY 1 ORDER BY 1`},
		{"average rating of not verified reviews", `SELECT avg("rating") AS "average of rating"` + from + ` WHERE NOT "verified"`},
		{"number of reviews by verified", `SELECT "verified", count(*) AS "number of rows"` + from + ` GROUP BY 1 ORDER BY 1`},
		{"What is the average total of the orders?", `SELECT avg("total") AS "average of total" FROM "main"."sales"."order"`},
		{"What is the sum of total per status?", `SELECT "status", sum("total") AS "sum of total" FROM "main"."sales"."order" GROUP BY 1 ORDER BY 1`},
		{"How many orders?", `SELECT count(*) AS "number of rows" FROM "main"."sales"."order"`},
	}
	for _, tt := range tests {
		got := answer(request(tt.ask, reviewsTool, ordersTool))
		var args struct{ SQL string }
		if err := json.Unmarshal([]byte(got.args), &args); err != nil || args.SQL != tt.want {
			t.Errorf("%q\n got %s %s\nwant %s", tt.ask, args.SQL, got.text, tt.want)
		}
		if want := "main__sales__reviews"; strings.Contains(tt.want, "reviews") && got.call != want {
			t.Errorf("%q calls %q, want %q", tt.ask, got.call, want)
		}
	}
}

func TestWhatTheDemoCannot(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   *or.Request
		says []string
	}{
		{"no column of that name", request("What is the average weight?", reviewsTool), []string{"average", "review_id, product, country, rating"}},
		{"what to count is unknown", request("How many customers are there?", reviewsTool), []string{"do not know what to count"}},
		{"no column to group by", request("What is the average rating by region?", reviewsTool), []string{"“by region”", "review_id, product"}},
		{"another table", request("Count rows in main.sales.refunds", reviewsTool), []string{"no table main.sales.refunds"}},
		{"arithmetic", request("What is the sum of unit price times rating?", reviewsTool), []string{"“times”"}},
		{"average of a text", request("What is the average country?", reviewsTool), []string{"country", "VARCHAR", "no average"}},
		{"two tables, neither named", request("How many rows are there?", reviewsTool, ordersTool), []string{"which table", "main.sales.reviews, main.sales.order"}},
		{"plain question", request("Tell me a joke"), []string{"cannot hold a conversation"}},
		{"plain question with a table", request("Tell me a joke", reviewsTool), []string{"main.sales.reviews", "What is the average rating by product in reviews?"}},
		{"no table", request("How many rows has reviews?"), []string{"offers me no table"}},
		{"no function fits", request("Tell me a joke", weatherTool), []string{"get_weather", "None fits"}},
		{"an image", &or.Request{Input: []or.Item{{Type: or.TypeMessage, Role: "user", Content: []or.Part{{Type: or.PartInputImage, ImageURL: "u"}}}}}, []string{"image", "cannot look"}},
		{"no user", &or.Request{Input: []or.Item{or.Text("system", "x")}}, []string{"no message from a user"}},
	}
	for _, tt := range tests {
		got := answer(tt.in)
		if got.call != "" || !strings.HasPrefix(got.text, intro) {
			t.Errorf("%s: %+v, want a text that says who speaks", tt.name, got)
		}
		for _, s := range tt.says {
			if !strings.Contains(got.text, s) {
				t.Errorf("%s: %q does not say %q", tt.name, got.text, s)
			}
		}
	}
}

func TestClientFunctions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, ask string
		tool      or.Tool
		want      string
	}{
		{"a name", "What's the weather in San Francisco?", weatherTool, `{"location":"San Francisco"}`},
		{"after a preposition", "what's the weather like in paris", weatherTool, `{"location":"paris"}`},
		{"in quotes", `Weather for "Ålesund, Norway" please`, weatherTool, `{"location":"Ålesund, Norway"}`},
		{"enum, number, nothing required", "Please convert 20 degrees to fahrenheit",
			tool("convert", "", `{"type":"object","properties":{"degrees":{"type":["number","null"]},"to":{"enum":["celsius","fahrenheit"]},"flag":{"type":"boolean"},"n":{"type":"integer","minimum":3},"list":{"type":"array","items":{"type":"string"}}},"required":["degrees","to","flag","n","list"]}`),
			`{"degrees":20,"flag":true,"list":["fahrenheit"],"n":3,"to":"fahrenheit"}`},
		{"a function that fits better than a table", "What is the maximum temperature in the weather for Paris?", weatherTool, `{"location":"Paris"}`},
		{"code", "Exec this python: print(1)", tool("system__ai__python_exec", "", `{"type":"object","properties":{"code":{"type":"string"}},"required":["code"]}`), `{"code":"print(1)"}`},
		{"code in ticks", "Run `print(\"A\")` in Python", tool("system__ai__python_exec", "", `{"type":"object","properties":{"code":{"type":"string"}},"required":["code"]}`), `{"code":"print(\"A\")"}`},
		{"two words of a description", "Which stock exchange is open?", tool("lookup", "Opening hours of a stock exchange", `{"type":"object","properties":{"q":{"type":"string"}}}`), `{"q":"Which stock exchange is open?"}`},
		{"no schema", "ping it", or.Tool{Type: "function", Name: "ping"}, `{}`},
	}
	for _, tt := range tests {
		got := answer(request(tt.ask, reviewsTool, tt.tool))
		if got.call != tt.tool.Name || got.args != tt.want {
			t.Errorf("%s: call %q %s %q, want %s", tt.name, got.call, got.args, got.text, tt.want)
		}
	}
}

func TestToolChoice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		choice or.ToolChoice
		want   string // function called
	}{
		{"required", or.ToolChoice{Mode: "required"}, "get_weather"},
		{"named", or.ToolChoice{Mode: "required", Name: "main__sales__reviews"}, "main__sales__reviews"},
		{"allowed", or.ToolChoice{Mode: "required", Names: []string{"main__sales__reviews"}}, "main__sales__reviews"},
		{"none", or.ToolChoice{Mode: "none"}, ""},
		{"auto", or.ToolChoice{Mode: "auto"}, ""},
	}
	for _, tt := range tests {
		r := request("Hello!", weatherTool, reviewsTool)
		r.ToolChoice = &tt.choice
		if got := answer(r); got.call != tt.want {
			t.Errorf("%s: called %q, want %q", tt.name, got.call, tt.want)
		}
	}
	r := request("What's the weather in Paris?", weatherTool)
	r.ToolChoice = &or.ToolChoice{Mode: "none"}
	if got := answer(r); got.call != "" {
		t.Errorf("none: called %q", got.call)
	}
}

// after is a request in which the demo's own call was answered with each
// output in turn.
func after(r *or.Request, outputs ...string) reply {
	got := answer(r)
	for _, out := range outputs {
		if got.call == "" {
			break
		}
		id := "call_" + string(rune('a'+len(r.Input)))
		r.Input = append(r.Input,
			or.Item{Type: or.TypeFunctionCall, CallID: id, Name: got.call, Arguments: got.args},
			or.Item{Type: or.TypeFunctionCallOutput, CallID: id, Output: or.Output{Text: out}})
		got = answer(r)
	}
	return got
}

func TestAnswersFromOutputs(t *testing.T) {
	t.Parallel()
	const failed = "Binder Error: No function matches avg(VARCHAR)"
	tests := []struct {
		name string
		got  reply
		want string
	}{
		{"one row", after(request("What is the average rating?", reviewsTool), `{"is_truncated":false,"columns":["average of rating","n"],"rows":[[3.9733333333333336,null]]}`),
			"In main.sales.reviews, the average of rating is 3.973333 and the n is null.\n\nThe query was: SELECT avg("},
		{"a table", after(request("How many reviews by country?", reviewsTool), `{"is_truncated":true,"columns":["country","n"],"rows":[["Norway|x",12345678901234567890],[null,1]]}`),
			"This is what main.sales.reviews says.\n\n| country | n |\n| --- | --- |\n| Norway\\|x | 12345678901234567890 |\n| null | 1 |\n\nThere are more rows than these."},
		{"no rows", after(request("max rating by country", reviewsTool), `{"columns":["a"],"rows":[],"note":"x"}`), "has no row for that."},
		{"a condition it does not know", after(request("How many reviews are from Atlantis?", reviewsTool), `{"columns":["number of rows"],"rows":[[9]]}`),
			"I did not understand “Atlantis” in your question"},
		{"a failed average is tried again with a cast", after(request("average rating", reviewsTool), failed), ""},
		{"twice failed", after(request("average rating", reviewsTool), failed, failed, failed), "could not be read, after 2 of at most 2 tries. It answered: " + failed},
		{"a failed count is not tried again in the same words", after(request("How many reviews?", reviewsTool), "denied"), "after 1 of at most 2 tries. It answered: denied"},
		{"a client function", after(request("What's the weather in Paris?", weatherTool), `{"temp_c":18,"sky":"clear"}`),
			`I called get_weather with {"location":"Paris"}. It answered: sky: clear, temp_c: 18`},
	}
	for _, tt := range tests {
		if tt.want == "" {
			if !strings.Contains(tt.got.args, "TRY_CAST") {
				t.Errorf("%s: %+v", tt.name, tt.got)
			}
			continue
		}
		if tt.got.call != "" || !strings.HasPrefix(tt.got.text, intro) || !strings.Contains(tt.got.text, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %q", tt.name, tt.got, tt.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"How many reviews by country?", "which which by each per", "\"'`", "average unit price of It's a lamp", "min max sum and by the", "which review has the most", "top 3 countries by total rating in 2024", "the cheapest", "not US or Norway, rating above -3"} {
		f.Add(s, reviews, sqlParameters, `{"columns":["a"],"rows":[[1]]}`)
	}
	f.Fuzz(func(t *testing.T, ask, description, parameters, output string) {
		r := request(ask, tool("main__sales__reviews", description, parameters), weatherTool)
		got := after(r, output, output, output)
		if (got.call == "") == (got.text == "") {
			t.Fatalf("neither text nor call, or both: %+v", got)
		}
		if got.call != "" && !json.Valid([]byte(got.args)) {
			t.Fatalf("arguments are not JSON: %s", got.args)
		}
	})
}

// A value that says an aggregate is not a condition.
func TestAggregateWordIsNoFilter(t *testing.T) {
	t.Parallel()
	remarks := tool("main__sales__remarks", "Table main.sales.remarks\nColumns:\n- stars INTEGER\n- country VARCHAR (such as 'CZ')\n- body VARCHAR (such as 'Average.', 'Total loss')\n", sqlParameters)
	for text, want := range map[string]string{
		"What is the average stars by country?": `SELECT "country", avg("stars") AS "average of stars" FROM "main"."sales"."remarks" GROUP BY 1 ORDER BY 1`,
		"Average of stars, please":              `SELECT avg("stars") AS "average of stars" FROM "main"."sales"."remarks"`,
		"Total stars":                           `SELECT sum("stars") AS "sum of stars" FROM "main"."sales"."remarks"`,
	} {
		p, ok := planFor(ask(text), []function{newFunction(&remarks)})
		if !ok || p.sql() != want {
			t.Errorf("%q: got %s, want %s", text, p.sql(), want)
		}
	}
}

// A function is called when the question is for what it is about: its name may
// be written as it is, and what programs insert, a verb alone, and words deep in
// a long description ask for nothing.
func TestFunctionThatIsAskedFor(t *testing.T) {
	t.Parallel()
	const text = `{"type":"object","properties":{"q":{"type":"string"}},"required":["q"]}`
	agent := []or.Tool{ // as a coding agent declares them
		tool("TaskCreate", "Use this tool to create a structured task list for your current coding session.\nIt helps the user see progress. What files are in a directory, which tests fail and why are questions for other tools.", text),
		tool("TaskList", "Use this tool to list all tasks in the task list.", text),
		tool("Bash", "Executes a given bash command and returns its output. Hello world is printed by echo.", text),
		tool("Read", "Reads a file from the local filesystem.", text),
	}
	facts := []or.Tool{tool("city_facts__lookup", "Looks up the city_facts of something by its name.", text)}
	odd := []or.Tool{tool("my_tool__lookup", "Looks up the my_tool of something by its name.", text)}
	for _, tt := range []struct {
		ask   string
		tools []or.Tool
		want  string // the function, "" for a text
	}{
		{"Please look up the city_facts of Oslo.", facts, "city_facts__lookup"},
		{"Please look up the my_tool of Oslo.", odd, "my_tool__lookup"},
		{"What are the facts about Oslo?", facts, "city_facts__lookup"},
		{"Tell me about the cities", facts, "city_facts__lookup"},
		{"Please look up Oslo.", facts, ""},
		{"Hello, what can you do?", agent, ""},
		{"Create a file hello.txt that says hello world", agent, ""},
		{"Which files are in this directory, and why do the tests fail?", agent, ""},
		{"Hi\n<system-reminder>\nThe task tools have not been used: consider TaskCreate to create tasks.\n</system-reminder>", agent, ""},
		{"<system-reminder>\nBash is there.\n</system-reminder>\nHi", agent, ""},
		{"Create a task: write tests", agent, "TaskCreate"},
		{"Use TaskList", agent, "TaskList"},
		{"Read main.go", agent, "Read"},
		{"Use Bash", agent, "Bash"},
		{"Create a task. " + strings.Repeat("And then go on. ", maxTokens), agent, ""},
	} {
		if got := answer(request(tt.ask, tt.tools...)); got.call != tt.want {
			t.Errorf("%.80q calls %q, want %q", tt.ask, got.call, tt.want)
		}
	}
}

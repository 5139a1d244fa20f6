package main

import (
	"encoding/json"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// The sample tables, described as the table tool does it.
var samplesTools = map[string]or.Tool{
	"reviews": tool("main__sales__reviews", `Table main.sales.reviews
Columns:
- review_id BIGINT (such as 1, 2)
- product_id BIGINT (such as 1, 2)
- product VARCHAR (such as 'Alpine Tent', 'Fjord Lamp')
- country VARCHAR (such as 'CZ', 'DE', 'FR', 'JP', 'US')
- stars INTEGER (such as 1, 2, 3, 4, 5)
- title VARCHAR (such as 'Good buy', 'It is all right')
- body VARCHAR (such as 'Average.', 'The zip sticks.')
- helpful_votes INTEGER (such as 0, 3)
- verified BOOLEAN (such as true, false)
- created_at TIMESTAMP (such as '2024-02-03 10:00:00')
`, sqlParameters),
	"orders": tool("main__sales__orders", `Table main.sales.orders
Columns:
- order_id BIGINT (such as 1, 2)
- product_id BIGINT (such as 1, 2)
- customer VARCHAR (such as 'Ada 12', 'Ben 3')
- country VARCHAR (such as 'CZ', 'DE', 'FR', 'JP', 'US')
- quantity INTEGER (such as 1, 2)
- unit_price DOUBLE (such as 22.5)
- amount DOUBLE (such as 45.0)
- status VARCHAR (such as 'cancelled', 'delivered', 'returned', 'shipped')
- ordered_at TIMESTAMP (such as '2024-02-03 10:00:00')
`, sqlParameters),
	"products": tool("main__sales__products", `Table main.sales.products
Columns:
- product_id BIGINT (such as 1, 2)
- product VARCHAR (such as 'Alpine Backpack', 'Alpine Tent')
- category VARCHAR (such as 'clothing', 'cooking', 'shelter')
- list_price DOUBLE (such as 22.5)
`, sqlParameters),
	"stores": tool("main__sales__stores", `Table main.sales.stores
Columns:
- store_id BIGINT (such as 1, 2)
- city VARCHAR (such as 'Brno', 'Lyon')
- country VARCHAR (such as 'CZ', 'DE', 'FR', 'JP', 'US')
- opened DATE (such as '2011-05-03')
- staff BIGINT (such as 7, 21)
`, sqlParameters),
}

// Either the whole question becomes SQL, or it is refused in words that name
// what was not understood.
func TestWholeQuestionOrNone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		tables, ask string
		sql         string   // {table} stands for FROM and its name
		says        []string // of the refusal, where sql is empty
	}{
		{"orders", "What is the total amount excluding cancelled orders?", `SELECT sum("amount") AS "sum of amount" {orders} WHERE ("status" <> 'cancelled' OR "status" IS NULL)`, nil},
		{"orders", "total amount of non-cancelled orders", `SELECT sum("amount") AS "sum of amount" {orders} WHERE ("status" <> 'cancelled' OR "status" IS NULL)`, nil},
		{"orders", "total amount other than cancelled or returned", `SELECT sum("amount") AS "sum of amount" {orders} WHERE ("status" NOT IN ('cancelled', 'returned') OR "status" IS NULL)`, nil},
		{"orders", "How many orders have no status?", "", []string{"“no”", "“status”"}},
		{"orders", "How many orders excluding cancelled orders in DE?", "", []string{"“excluding”", "“DE”"}},
		{"orders", "How many orders excluding cancelled and DE orders?", "", []string{"“excluding”", "“DE”"}},
		{"orders", "How many orders aren't cancelled?", "", []string{"“aren”"}},
		{"orders", "How many orders where the status is not shipped?", `SELECT count(*) AS "number of rows" {orders} WHERE ("status" <> 'shipped' OR "status" IS NULL)`, nil},
		{"orders", "How many orders with status = 'shipped'?", `SELECT count(*) AS "number of rows" {orders} WHERE "status" = 'shipped'`, nil},
		{"orders", "How many orders were delivered or shipped?", `SELECT count(*) AS "number of rows" {orders} WHERE "status" IN ('delivered', 'shipped')`, nil},
		{"orders", "Compare the number of orders in DE and FR", `SELECT "country", count(*) AS "number of rows" {orders} WHERE "country" IN ('DE', 'FR') GROUP BY 1 ORDER BY 1`, nil},
		{"orders", "How many orders are delivered or in DE?", "", []string{"“or”"}},
		{"orders", "How many orders in DE and how many in FR?", "", []string{"two conditions", "“FR”"}},
		{"products", "Which is the cheapest product?", `SELECT "product", "list_price" {products} ORDER BY 2 ASC, 1 LIMIT 1`, nil},
		{"products", "Which product is the most expensive?", `SELECT "product", "list_price" {products} ORDER BY 2 DESC, 1 LIMIT 1`, nil},
		{"orders products", "Which is the cheapest product?", `SELECT "product", "list_price" {products} ORDER BY 2 ASC, 1 LIMIT 1`, nil},
		{"reviews", "Which is the cheapest product?", "", []string{"“cheapest”"}},
		{"orders", "Which is the cheapest order?", "", []string{"“cheapest”", "exactly one"}},
		{"orders", "latest amount", "", []string{"“latest”"}},
		{"stores", "Which store has the most staff?", `SELECT "store_id", "city", "staff" {stores} ORDER BY 3 DESC, 1 LIMIT 1`, nil},
		{"stores", "Which store in DE has the lowest staff?", `SELECT "store_id", "city", "staff" {stores} WHERE "country" = 'DE' ORDER BY 3 ASC, 1 LIMIT 1`, nil},
		{"stores", "Which store is the oldest?", `SELECT "store_id", "city", "opened" {stores} ORDER BY 3 ASC, 1 LIMIT 1`, nil},
		{"stores", "Which country has the most staff?", "", []string{"“most staff”", "total staff"}},
		{"stores", "Which store has the most visitors?", "", []string{"“most visitors”"}},
		{"stores", "Which country has the most stores?", `SELECT "country", count(*) AS "number of rows" {stores} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1`, nil},
		{"orders stores", "How many orders and how many stores are there?", "", []string{"one table at a time", "orders and stores"}},
		{"stores", "smallest number of staff by country", `SELECT "country", min("staff") AS "minimum of staff" {stores} GROUP BY 1 ORDER BY 1`, nil},
		{"stores", "how many staff do the stores in DE have in total?", `SELECT sum("staff") AS "sum of staff" {stores} WHERE "country" = 'DE'`, nil},
		{"stores", "How many staff are there?", "", []string{"“how many staff”"}},
		{"stores", "How many stores are not in DE?", `SELECT count(*) AS "number of rows" {stores} WHERE ("country" <> 'DE' OR "country" IS NULL)`, nil},
		{"stores", "How many stores are outside DE?", "", []string{"“outside”"}},
		{"reviews", "How many reviews with 5 stars?", `SELECT count(*) AS "number of rows" {reviews} WHERE "stars" = 5`, nil},
		{"reviews", "How many 5-star reviews are there by country?", `SELECT "country", count(*) AS "number of rows" {reviews} WHERE "stars" = 5 GROUP BY 1 ORDER BY 1`, nil},
		{"reviews", "How many reviews have 4 or 5 stars?", "", []string{"“4”", "“or”"}},
		{"reviews", "How many reviews have 4 stars or more?", "", []string{"“or”", "“more”"}},
		{"reviews", "How many reviews have stars between 2 and 4?", "", []string{"“between”"}},
		{"reviews", "How many reviews are not above 3 stars?", "", []string{"“not”"}},
		{"reviews", "How many reviews have at least 3 helpful votes and stars below 2?", `SELECT count(*) AS "number of rows" {reviews} WHERE "helpful_votes" >= 3 AND "stars" < 2`, nil},
		{"reviews", "how many reviews with stars above −2", `SELECT count(*) AS "number of rows" {reviews} WHERE "stars" > -2`, nil},
		{"reviews", "how many reviews with stars above .5", "", []string{"“.5”"}},
		{"reviews", "how many reviews with stars ≧ 4", "", []string{"“≧”"}},
		{"orders", "How many orders with quantity above 3?", `SELECT count(*) AS "number of rows" {orders} WHERE "quantity" > 3`, nil},
		{"orders", "total amount of orders with quantity of at most 1,000", `SELECT sum("amount") AS "sum of amount" {orders} WHERE "quantity" <= 1000`, nil},
		{"orders", "How many orders cost more than 100?", "", []string{"“cost”", "“100”"}},
		{"orders", "How many orders with amount over $100?", "", []string{"“$”"}},
		{"orders", "How many countries have more than 3 quantity?", "", []string{"comparison"}},
		{"orders", "How many orders in 2024?", `SELECT count(*) AS "number of rows" {orders} WHERE extract(year FROM "ordered_at") = 2024`, nil},
		{"orders", "How many orders were shipped in 2024?", "", []string{"“shipped”"}},
		{"orders", "How many orders in May 2024?", "", []string{"“May”"}},
		{"orders", "How many orders in 2024 and in 2025?", "", []string{"two conditions"}},
		{"stores", "How many stores opened before 2010?", `SELECT count(*) AS "number of rows" {stores} WHERE extract(year FROM "opened") < 2010`, nil},
		{"stores", "How many stores in 2024?", "", []string{"“2024”"}},
		{"reviews stores", "average number of stars by country, and how many stores are there by country?", "", []string{"and I did not understand"}},
		{"reviews", "average number of stars by country, and how many reviews are there by country?", "", []string{"“by”"}},
		{"reviews", "average stars in DE and average helpful votes", "", []string{"one question at a time"}},
		{"reviews", "How many reviews are there? Only in DE.", "", []string{"“DE”"}},
		{"reviews", "What is the highest average stars by country?", "", []string{"“highest average”"}},
		{"orders", "top 3 countries by total amount", `SELECT "country", sum("amount") AS "sum of amount" {orders} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3`, nil},
		{"orders", "What are the top three countries by number of orders?", `SELECT "country", count(*) AS "number of rows" {orders} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3`, nil},
		{"products", "top 5 products by list price", `SELECT "product", "list_price" {products} ORDER BY 2 DESC, 1 LIMIT 5`, nil},
		{"orders", "top countries by total amount", "", []string{"“top”"}},
		{"orders", "top 3 countries by amount", "", []string{"“top”", "“amount”"}},
		{"orders products", "total quantity by product name", `SELECT "product_id", sum("quantity") AS "sum of quantity" {orders} GROUP BY 1 ORDER BY 1`, nil},
		{"orders", "How many products are there in orders?", `SELECT count(DISTINCT "product_id") AS "number of different product_id" {orders}`, nil},
		{"orders", "total products", "", []string{"“total”", "product_id"}},
		{"reviews", "How many reviews of the Granite Tent?", "", []string{"“Granite”", "“Tent”"}},
		{"reviews", "How many reviews in the us?", "", []string{"“us”"}},
		{"reviews", "HOW MANY REVIEWS IN THE US?", "", []string{"“US”"}},
		{"reviews", "How many reviews last week?", "", []string{"“last”", "“week”"}},
		{"stores", "What is the average staff by city in stores?", `SELECT "city", avg("staff") AS "average of staff" {stores} GROUP BY 1 ORDER BY 1`, nil},
	}
	for _, tt := range tests {
		var tools []or.Tool
		for _, name := range strings.Fields(tt.tables) {
			tools = append(tools, samplesTools[name])
		}
		got := answer(request(tt.ask, tools...))
		var args struct{ SQL string }
		if tt.sql != "" {
			want := tt.sql
			for name := range samplesTools {
				want = strings.ReplaceAll(want, "{"+name+"}", `FROM "main"."sales"."`+name+`"`)
			}
			if err := json.Unmarshal([]byte(got.args), &args); err != nil || args.SQL != want {
				t.Errorf("%q\n got %s %s\nwant %s", tt.ask, args.SQL, got.text, want)
			}
			continue
		}
		if got.call != "" {
			t.Errorf("%q calls %s, want a refusal", tt.ask, got.args)
		}
		for _, s := range append(tt.says, "A question that works is: \"") {
			if !strings.Contains(got.text, s) {
				t.Errorf("%q: %q does not say %q", tt.ask, got.text, s)
			}
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"763361.9899999988": "763361.99", "3.9733333333333336": "3.973333", "5.0": "5", "-2.50": "-2.5", "0.30000000000000004": "0.3", "0.00001234567": "1.23457e-05",
		"12345678901234567890": "12345678901234567890", "100": "100", "12345678901234567.25": "12345678901234567.25", "1e3": "1000", "null": "null", `"1.50"`: "1.50", "[1.23456789]": "[1.23456789]",
	} {
		if got := cell(json.RawMessage(in)); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}

// A call that was required is not told as if it were the answer.
func TestRequiredCallIsNoAnswer(t *testing.T) {
	t.Parallel()
	for ask, says := range map[string]string{"How many orders cost more than 100?": "“cost”", "Hello!": "found no question"} {
		r := request(ask, samplesTools["orders"])
		r.ToolChoice = &or.ToolChoice{Mode: "required"}
		got := after(r, `{"columns":["number of rows"],"rows":[[9]]}`)
		if !strings.Contains(got.text, "does not answer your") || !strings.Contains(got.text, says) {
			t.Errorf("%q: %+v", ask, got)
		}
	}
}

// Package samples writes the sample catalog: a few thousand customer reviews
// and orders of an invented outdoor shop. The same seed always gives the same
// rows, so an answer computed from them can be checked.
package samples

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Seed is the seed of the built-in samples.
const Seed = 20260401

// The files that Write makes, one a table.
const (
	ReviewsFile  = "reviews.parquet"
	OrdersFile   = "orders.parquet"
	ProductsFile = "products.csv"
	StoresFile   = "stores.jsonl"
)

// Review is one row of the reviews table.
type Review struct {
	ReviewID  int64     `parquet:"review_id"`
	ProductID int64     `parquet:"product_id"`
	Product   string    `parquet:"product,dict"`
	Country   string    `parquet:"country,dict"`
	Stars     int32     `parquet:"stars"`
	Title     string    `parquet:"title,dict"`
	Body      string    `parquet:"body"`
	Helpful   int32     `parquet:"helpful_votes"`
	Verified  bool      `parquet:"verified"`
	CreatedAt time.Time `parquet:"created_at,timestamp(microsecond)"`
}

// Order is one row of the orders table.
type Order struct {
	OrderID   int64     `parquet:"order_id"`
	ProductID int64     `parquet:"product_id"`
	Customer  string    `parquet:"customer"`
	Country   string    `parquet:"country,dict"`
	Quantity  int32     `parquet:"quantity"`
	UnitPrice float64   `parquet:"unit_price"`
	Amount    float64   `parquet:"amount"`
	Status    string    `parquet:"status,dict"`
	OrderedAt time.Time `parquet:"ordered_at,timestamp(microsecond)"`
}

type product struct {
	id       int64
	name     string
	category string
	price    float64 // of one piece, in US dollars
	quality  float64 // mean number of stars before noise
}

type store struct {
	StoreID int64  `json:"store_id"`
	City    string `json:"city"`
	Country string `json:"country"`
	Opened  string `json:"opened"`
	Staff   int    `json:"staff"`
}

var (
	adjectives = []string{"Alpine", "Coastal", "Ember", "Fjord", "Granite", "Harbor", "Juniper", "Lunar"}
	kinds      = []struct {
		name, category string
		price          float64
	}{
		{"Tent", "shelter", 240}, {"Stove", "cooking", 65}, {"Lamp", "light", 38}, {"Backpack", "packs", 120},
		{"Bottle", "cooking", 22}, {"Jacket", "clothing", 165},
	}
	countries = []string{"CZ", "DE", "FR", "JP", "US"}
	cities    = []string{"Brno", "Bremen", "Lyon", "Osaka", "Portland", "Plzen", "Kassel", "Nantes", "Kobe", "Boise"}
	names     = []string{"Ada", "Ben", "Chie", "Dora", "Emil", "Fumi", "Gita", "Hugo", "Ines", "Jan", "Kei", "Lena"}
	statuses  = []string{"delivered", "delivered", "delivered", "delivered", "shipped", "returned", "cancelled"}
	titles    = [5]string{"Broke at once", "Not for me", "It is all right", "Good buy", "Would buy again"}
	remarks   = [5][]string{
		{"The seam tore on the first night.", "Arrived with a crack, and nobody answers.", "Smells of burnt plastic when warm. Please look at this urgently."},
		{"Heavier than described.", "The zip sticks.", "Colour is off."},
		{"Does what it should.", "Fine for the price.", "Average."},
		{"Held up well in the rain.", "Light and sturdy.", "Nice details."},
		{"Two seasons and like new.", "The best I have owned.", "Bought a second one for my sister."},
	}
)

// Write makes the sample files in dir, which it creates. Each file appears
// whole or not at all.
func Write(dir string, seed uint64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("samples: %w", err)
	}
	r := source(seed)
	products := makeProducts(r)
	if err := writeParquet(filepath.Join(dir, ReviewsFile), makeReviews(r, products)); err != nil {
		return err
	}
	if err := writeParquet(filepath.Join(dir, OrdersFile), makeOrders(r, products)); err != nil {
		return err
	}
	if err := writeProducts(filepath.Join(dir, ProductsFile), products); err != nil {
		return err
	}
	return writeStores(filepath.Join(dir, StoresFile), r)
}

// Reviews makes the rows of the reviews table, for programs that check an
// answer.
func Reviews(seed uint64) []Review {
	r := source(seed)
	return makeReviews(r, makeProducts(r))
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5a11)) }

func makeProducts(r *rand.Rand) []product {
	var ps []product
	for _, a := range adjectives {
		for _, k := range kinds {
			ps = append(ps, product{
				id: int64(len(ps) + 1), name: a + " " + k.name, category: k.category,
				price: cents(k.price * (0.7 + 0.6*r.Float64())), quality: 2.2 + 2.4*r.Float64(),
			})
		}
	}
	return ps
}

func makeReviews(r *rand.Rand, ps []product) []Review {
	n := 3600 + r.IntN(400)
	rows := make([]Review, n)
	for i := range rows {
		p := ps[r.IntN(len(ps))]
		stars := min(5, max(1, int(p.quality+r.NormFloat64()+0.5)))
		remark := remarks[stars-1]
		rows[i] = Review{
			ReviewID: int64(i + 1), ProductID: p.id, Product: p.name, Country: countries[r.IntN(len(countries))],
			Stars: int32(stars), Title: titles[stars-1], Body: remark[r.IntN(len(remark))],
			Helpful: int32(r.ExpFloat64() * 4), Verified: r.IntN(5) > 0, CreatedAt: moment(r),
		}
	}
	return rows
}

func makeOrders(r *rand.Rand, ps []product) []Order {
	n := 5200 + r.IntN(600)
	rows := make([]Order, n)
	for i := range rows {
		p := ps[r.IntN(len(ps))]
		q := 1 + r.IntN(4)
		rows[i] = Order{
			OrderID: int64(10001 + i), ProductID: p.id, Customer: fmt.Sprintf("%s-%03d", names[r.IntN(len(names))], r.IntN(400)),
			Country: countries[r.IntN(len(countries))], Quantity: int32(q), UnitPrice: p.price, Amount: cents(p.price * float64(q)),
			Status: statuses[r.IntN(len(statuses))], OrderedAt: moment(r),
		}
	}
	return rows
}

// moment is a second of the year before April 2026.
func moment(r *rand.Rand) time.Time {
	return time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(365*24*3600)) * time.Second)
}

func cents(x float64) float64 { return float64(int64(x*100+0.5)) / 100 }

func writeParquet[T any](path string, rows []T) error {
	return replace(path, func(f *os.File) error {
		w := parquet.NewGenericWriter[T](f, parquet.Compression(&parquet.Zstd))
		if _, err := w.Write(rows); err != nil {
			return err
		}
		return w.Close()
	})
}

func writeProducts(path string, ps []product) error {
	return replace(path, func(f *os.File) error {
		w := csv.NewWriter(f)
		rows := [][]string{{"product_id", "product", "category", "list_price"}}
		for _, p := range ps {
			rows = append(rows, []string{strconv.FormatInt(p.id, 10), p.name, p.category, strconv.FormatFloat(p.price, 'f', 2, 64)})
		}
		return w.WriteAll(rows)
	})
}

func writeStores(path string, r *rand.Rand) error {
	return replace(path, func(f *os.File) error {
		e := json.NewEncoder(f)
		for i, c := range cities {
			opened := time.Date(2008+r.IntN(15), time.Month(1+r.IntN(12)), 1+r.IntN(28), 0, 0, 0, 0, time.UTC)
			s := store{int64(i + 1), c, countries[i%len(countries)], opened.Format(time.DateOnly), 4 + r.IntN(30)}
			if err := e.Encode(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// replace writes a file beside path and renames it into place.
func replace(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sample-*")
	if err != nil {
		return fmt.Errorf("samples: %w", err)
	}
	defer os.Remove(f.Name()) // fails harmlessly after the rename
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("samples: %s: %w", filepath.Base(path), err)
	}
	return nil
}

// The SQL guest: one SQLite connection behind the guest interface (sbx_*). It
// runs the statements of a program and writes the rows of the last one that has
// columns to stdout, as {"columns":[…],"rows":[[…],…],"cut":false}; errors go
// to stderr. Once locked it opens no file any more.
#include <locale.h>
#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "sqlite3-binding.h"

#define MAX_ROWS 10000       // of a result
#define MAX_ANSWER (8 << 20) // bytes of a result

__attribute__((import_module("sbx"), import_name("tick"))) void sbx_tick(void);
__attribute__((export_name("sbx_keep"))) void sbx_keep(void) { sbx_tick(); }

static sqlite3 *db;
static int trusted = 1;
static char *input;
static size_t input_size;

// The host writes into these to ask a program to stop; see sbx_intr_addrs.
static volatile uint32_t stop[3];
static uint32_t stop_addresses[3];

__attribute__((export_name("sbx_intr_addrs"))) uint32_t *sbx_intr_addrs(void) {
  for (int i = 0; i < 3; i++) stop_addresses[i] = (uint32_t)(uintptr_t)&stop[i];
  return stop_addresses;
}

static int asked_to_stop(void *unused) {
  (void)unused;
  return stop[0] != 0;
}

__attribute__((export_name("sbx_trust"))) void sbx_trust(int32_t on) { trusted = on != 0; }

// The pragmas that only tell something, and one that changes a comparison.
static const char *const pragmas[] = {
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list", "collation_list",
    "function_list", "module_list", "pragma_list", "compile_options", "integrity_check", "quick_check", "case_sensitive_like",
    "data_version" /* FTS5 asks for it */, 0};

static int authorize(void *unused, int action, const char *a, const char *b, const char *c, const char *d) {
  (void)unused, (void)b, (void)c, (void)d;
  if (trusted) return SQLITE_OK;
  switch (action) {
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return SQLITE_DENY;
    case SQLITE_PRAGMA:
      for (int i = 0; pragmas[i]; i++)
        if (sqlite3_stricmp(a, pragmas[i]) == 0) return SQLITE_OK;
      return SQLITE_DENY;
  }
  return SQLITE_OK;
}

// Aggregates that SQLite lacks and people expect: variance and its kin, by
// Welford's method.
typedef struct { int64_t n; double mean, m2; } spread;

static void spread_step(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  (void)argc;
  if (sqlite3_value_type(argv[0]) == SQLITE_NULL) return;
  spread *s = sqlite3_aggregate_context(ctx, sizeof *s);
  if (!s) return;
  double x = sqlite3_value_double(argv[0]), delta = x - s->mean;
  s->n++;
  s->mean += delta / (double)s->n;
  s->m2 += delta * (x - s->mean);
}

enum { SAMPLE = 1, ROOT = 2 };

static void spread_final(sqlite3_context *ctx) {
  spread *s = sqlite3_aggregate_context(ctx, 0);
  int kind = (int)(intptr_t)sqlite3_user_data(ctx);
  int64_t less = kind & SAMPLE ? 1 : 0;
  if (!s || s->n <= less) return;
  double v = s->m2 / (double)(s->n - less);
  sqlite3_result_double(ctx, kind & ROOT ? sqrt(v) : v);
}

// free_pattern is called when SQLite forgets a pattern.
static void free_pattern(void *p) {
  regfree(p);
  free(p);
}

char *translate(const char *pattern, char *out, const char **why); // see pattern.c

static void refuse(sqlite3_context *ctx, const char *why) {
  char *say = sqlite3_mprintf("REGEXP: %s", why);
  if (say) sqlite3_result_error(ctx, say, -1);
  else sqlite3_result_error_nomem(ctx);
  sqlite3_free(say);
}

// pattern compiles argument 0, once for a statement where it is a constant: an
// extended expression of POSIX, with what translate makes into one, and (?i) at
// the beginning. Without one, ctx has the error, unless the argument is NULL.
static regex_t *pattern(sqlite3_context *ctx, sqlite3_value *v) {
  regex_t *re = sqlite3_get_auxdata(ctx, 0);
  if (re || sqlite3_value_type(v) == SQLITE_NULL) return re;
  const char *text = (const char *)sqlite3_value_text(v), *why = 0;
  size_t n = text ? (size_t)sqlite3_value_bytes(v) : 0;
  if (text && memchr(text, 0, n)) {
    refuse(ctx, "the pattern has a NUL");
    return 0;
  }
  char *as = text ? malloc(5 * n + 16) : 0;
  if (!as || !(re = malloc(sizeof *re))) {
    free(as);
    sqlite3_result_error_nomem(ctx);
    return 0;
  }
  int flags = REG_EXTENDED | REG_NOSUB, rc = 0;
  if (strncmp(text, "(?i)", 4) == 0) text += 4, flags |= REG_ICASE;
  char say[100];
  if (translate(text, as, &why) && (rc = regcomp(re, as, flags))) {
    regerror(rc, re, say, sizeof say);
    why = say;
  }
  free(as);
  if (why) {
    free(re);
    if (rc == REG_ESPACE) sqlite3_result_error_nomem(ctx);
    else refuse(ctx, why);
    return 0;
  }
  sqlite3_set_auxdata(ctx, 0, re, free_pattern);
  return sqlite3_get_auxdata(ctx, 0); // NULL when there was no memory for it
}

// readable copies a text in which the C library would stop: U+FFFD is there for
// NUL and for each byte that is not of UTF-8. A text that has none is returned as
// it is.
static char *readable(const char *s, size_t n) {
  char *copy = 0, *o = 0;
  wchar_t unused;
  for (size_t i = 0; i < n;) {
    int good = s[i] > 0 ? 1 : s[i] ? mbtowc(&unused, s + i, n - i) : -1;
    if (good <= 0 && !copy) {
      if (!(copy = malloc(i + 3 * (n - i) + 1))) return 0;
      memcpy(copy, s, i);
      o = copy + i;
    }
    size_t step = good > 0 ? (size_t)good : 1;
    if (copy) {
      memcpy(o, good > 0 ? s + i : "\xef\xbf\xbd", good > 0 ? step : 3);
      o += good > 0 ? step : 3;
    }
    i += step;
  }
  if (o) *o = 0;
  return copy ? copy : (char *)s;
}

// regexp(pattern, text) is what the operator REGEXP calls: text REGEXP pattern.
static void regexp(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  (void)argc;
  if (sqlite3_value_type(argv[1]) == SQLITE_NULL) return;
  const regex_t *re = pattern(ctx, argv[0]);
  if (!re) return;
  const char *text = (const char *)sqlite3_value_text(argv[1]);
  char *read = text ? readable(text, (size_t)sqlite3_value_bytes(argv[1])) : 0;
  int rc = read ? regexec(re, read, 0, 0, 0) : REG_ESPACE;
  if (read != text) free(read);
  if (rc == REG_ESPACE) sqlite3_result_error_nomem(ctx);
  else sqlite3_result_int(ctx, rc == 0);
}

// date_trunc(unit, time) is the beginning of the unit that the time is in; of a
// date, 2026-01-31, it is a date. SQLite's own functions know what a time may look like.
static const char truncation[] =
    "WITH t(u, x) AS (SELECT lower(?1), ?2), b(r) AS (SELECT CASE u"
    " WHEN 'year' THEN datetime(x, 'start of year')"
    " WHEN 'quarter' THEN datetime(x, 'start of month', '-' || ((strftime('%m', x) + 2) % 3) || ' months')"
    " WHEN 'month' THEN datetime(x, 'start of month')"
    " WHEN 'week' THEN datetime(x, 'start of day', '-6 days', 'weekday 1')"
    " WHEN 'day' THEN datetime(x, 'start of day')"
    " WHEN 'hour' THEN strftime('%Y-%m-%d %H:00:00', x)"
    " WHEN 'minute' THEN strftime('%Y-%m-%d %H:%M:00', x)"
    " WHEN 'second' THEN datetime(x) ELSE '' END FROM t)"
    " SELECT CASE WHEN r <> '' AND typeof(x) = 'text' AND x GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' THEN date(r) ELSE r END FROM b, t";

static void drop_statement(void *st) { sqlite3_finalize(st); }

static void date_trunc(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  (void)argc;
  if (sqlite3_value_type(argv[0]) == SQLITE_NULL) return;
  sqlite3_stmt *st = sqlite3_get_auxdata(ctx, 0);
  int kept = st != 0;
  if (!st && sqlite3_prepare_v2(db, truncation, sizeof truncation, &st, 0)) {
    sqlite3_result_error(ctx, sqlite3_errmsg(db), -1);
    return;
  }
  sqlite3_bind_value(st, 1, argv[0]);
  sqlite3_bind_value(st, 2, argv[1]);
  int rc = sqlite3_step(st);
  if (rc != SQLITE_ROW) sqlite3_result_error_code(ctx, rc);
  else if (sqlite3_column_type(st, 0) == SQLITE_TEXT && sqlite3_column_bytes(st, 0) == 0)
    sqlite3_result_error(ctx, "date_trunc: the unit is year, quarter, month, week, day, hour, minute or second", -1);
  else if (sqlite3_column_type(st, 0) == SQLITE_NULL && (sqlite3_value_type(argv[1]) == SQLITE_INTEGER || sqlite3_value_type(argv[1]) == SQLITE_FLOAT))
    sqlite3_result_error(ctx, "date_trunc: a number is a julian day, 0 to 5373484; of seconds since 1970 take datetime(x, 'unixepoch')", -1);
  else sqlite3_result_value(ctx, sqlite3_column_value(st, 0));
  sqlite3_reset(st);
  if (!kept) sqlite3_set_auxdata(ctx, 0, st, drop_statement);
}

// generate_series(start, stop, step) is a table of integers, one a row; step is
// 1 if left out, and counts down when it is negative.
typedef struct {
  sqlite3_vtab_cursor base;
  sqlite3_int64 row, value, at[3]; // at: start, stop, step
  int done;
} series;

static int series_connect(sqlite3 *to, void *aux, int argc, const char *const *argv, sqlite3_vtab **out, char **err) {
  (void)aux, (void)argc, (void)argv, (void)err;
  int rc = sqlite3_declare_vtab(to, "CREATE TABLE x(value, start HIDDEN, stop HIDDEN, step HIDDEN)");
  if (rc) return rc;
  if (!(*out = calloc(1, sizeof **out))) return SQLITE_NOMEM;
  return sqlite3_vtab_config(to, SQLITE_VTAB_INNOCUOUS);
}

static int series_disconnect(sqlite3_vtab *t) {
  free(t);
  return SQLITE_OK;
}

static int series_open(sqlite3_vtab *t, sqlite3_vtab_cursor **out) {
  (void)t;
  series *s = calloc(1, sizeof *s);
  *out = &s->base;
  return s ? SQLITE_OK : SQLITE_NOMEM;
}

static int series_close(sqlite3_vtab_cursor *c) {
  free(c);
  return SQLITE_OK;
}

// series_plan takes the arguments in their order; bit n of the plan says that
// argument n is there.
static int series_plan(sqlite3_vtab *t, sqlite3_index_info *info) {
  int where[3] = {-1, -1, -1}, unusable = 0, n = 0;
  for (int i = 0; i < info->nConstraint; i++) {
    int argument = info->aConstraint[i].iColumn - 1;
    if (argument < 0 || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    if (info->aConstraint[i].usable) where[argument] = i;
    else unusable |= 1 << argument;
  }
  for (int a = 0; a < 3; a++) {
    if (where[a] >= 0) {
      info->aConstraintUsage[where[a]].argvIndex = ++n;
      info->aConstraintUsage[where[a]].omit = 1;
      info->idxNum |= 1 << a;
    } else if (unusable & 1 << a) {
      return SQLITE_CONSTRAINT; // another order of the tables has it
    }
  }
  if ((info->idxNum & 3) != 3) {
    sqlite3_free(t->zErrMsg);
    t->zErrMsg = sqlite3_mprintf("generate_series needs a start and a stop");
    return SQLITE_ERROR;
  }
  info->estimatedCost = 1000, info->estimatedRows = 1000;
  return SQLITE_OK;
}

static int series_filter(sqlite3_vtab_cursor *c, int plan, const char *name, int argc, sqlite3_value **argv) {
  (void)name;
  series *s = (series *)c;
  s->row = 1, s->done = 0, s->at[2] = 1;
  for (int a = 0, i = 0; a < 3 && i < argc; a++) {
    if (!(plan & 1 << a)) continue;
    if (sqlite3_value_type(argv[i]) == SQLITE_NULL) s->done = 1;
    s->at[a] = sqlite3_value_int64(argv[i++]);
  }
  if (s->at[2] == 0) s->at[2] = 1;
  s->value = s->at[0];
  if (s->at[2] > 0 ? s->value > s->at[1] : s->value < s->at[1]) s->done = 1;
  return SQLITE_OK;
}

static int series_next(sqlite3_vtab_cursor *c) {
  series *s = (series *)c;
  s->row++;
  if (__builtin_add_overflow(s->value, s->at[2], &s->value) || (s->at[2] > 0 ? s->value > s->at[1] : s->value < s->at[1])) s->done = 1;
  return SQLITE_OK;
}

static int series_eof(sqlite3_vtab_cursor *c) { return ((series *)c)->done; }

static int series_column(sqlite3_vtab_cursor *c, sqlite3_context *ctx, int i) {
  const series *s = (const series *)c;
  sqlite3_result_int64(ctx, i == 0 ? s->value : s->at[i - 1]);
  return SQLITE_OK;
}

static int series_rowid(sqlite3_vtab_cursor *c, sqlite3_int64 *row) {
  *row = ((series *)c)->row;
  return SQLITE_OK;
}

static const sqlite3_module series_module = {
    .xConnect = series_connect, .xBestIndex = series_plan, .xDisconnect = series_disconnect, .xOpen = series_open, .xClose = series_close,
    .xFilter = series_filter, .xNext = series_next, .xEof = series_eof, .xColumn = series_column, .xRowid = series_rowid};

// functions adds what SQLite lacks.
static int functions(void) {
  static const struct { const char *name; int kind; } list[] = {
      {"stddev", SAMPLE | ROOT}, {"stddev_samp", SAMPLE | ROOT}, {"stddev_pop", ROOT}, {"variance", SAMPLE}, {"var_samp", SAMPLE}, {"var_pop", 0}};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    int rc = sqlite3_create_function(db, list[i].name, 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS,
                                     (void *)(intptr_t)list[i].kind, 0, spread_step, spread_final);
    if (rc) return rc;
  }
  const int pure = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
  int rc = sqlite3_create_function(db, "regexp", 2, pure, 0, regexp, 0, 0);
  if (!rc) rc = sqlite3_create_function(db, "date_trunc", 2, pure, 0, date_trunc, 0, 0);
  if (!rc) rc = sqlite3_create_module(db, "generate_series", &series_module, 0);
  return rc;
}

// chance fills out with the host's random numbers: there is no /dev/urandom, and
// SQLite would take the time.
static int chance(sqlite3_vfs *vfs, int n, char *out) {
  (void)vfs;
  return n >= 0 && n <= 256 && !getentropy(out, (size_t)n) ? n : 0;
}

// sbx_init opens the database and brings the temporary one into being, so that
// both are in the image.
__attribute__((export_name("sbx_init"))) int32_t sbx_init(void) {
  if (!setlocale(LC_CTYPE, "C.UTF-8")) return 7; // a pattern's dot is a character
  if (sqlite3_initialize()) return 1;
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix-none"); // there are no file locks in WASI
  if (!vfs) return 2;
  vfs->xRandomness = chance;
  if (sqlite3_vfs_register(vfs, 1)) return 2;
  if (sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, 0)) return 3;
  sqlite3_extended_result_codes(db, 0);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, 0);
  if (functions()) return 4;
  if (sqlite3_set_authorizer(db, authorize, 0)) return 5;
  sqlite3_progress_handler(db, 1000, asked_to_stop, 0);
  if (sqlite3_exec(db, "CREATE TEMP TABLE warm(a); INSERT INTO warm VALUES (1); DROP TABLE warm; SELECT count(*), stddev(1) FROM sqlite_schema", 0, 0, 0)) return 6;
  sqlite3_set_last_insert_rowid(db, 0);
  return 0;
}

// sbx_buf returns where the host writes the next program of n bytes.
__attribute__((export_name("sbx_buf"))) void *sbx_buf(int32_t n) {
  if (n < 0) return 0;
  size_t need = (size_t)n + 1;
  if (need > input_size) {
    char *p = realloc(input, need);
    if (!p) return 0;
    input = p, input_size = need;
  }
  return input;
}

// answer is the text of a result; full says that something did not fit.
static struct { char *b; size_t n, cap; int full; } answer;

static void put(const char *s, size_t n) {
  if (answer.full || n == 0) return;
  if (answer.n + n > MAX_ANSWER) {
    answer.full = 1;
    return;
  }
  if (answer.n + n > answer.cap) {
    size_t cap = answer.cap ? answer.cap * 2 : 4096;
    while (cap < answer.n + n) cap *= 2;
    char *p = realloc(answer.b, cap);
    if (!p) {
      answer.full = 1;
      return;
    }
    answer.b = p, answer.cap = cap;
  }
  memcpy(answer.b + answer.n, s, n);
  answer.n += n;
}

static void put_text(const char *s) { put(s, strlen(s)); }

static void put_string(const char *s, size_t n) {
  put("\"", 1);
  size_t from = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    put(s + from, i - from);
    char e[8];
    switch (c) {
      case '"': put("\\\"", 2); break;
      case '\\': put("\\\\", 2); break;
      case '\n': put("\\n", 2); break;
      case '\t': put("\\t", 2); break;
      case '\r': put("\\r", 2); break;
      default: put(e, (size_t)snprintf(e, sizeof e, "\\u%04x", c));
    }
    from = i + 1;
  }
  put(s + from, n - from);
  put("\"", 1);
}

static void put_base64(const unsigned char *p, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  put("\"", 1);
  for (size_t i = 0; i < n; i += 3) {
    uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
    char q[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '='};
    put(q, 4);
  }
  put("\"", 1);
}

static void put_value(sqlite3_stmt *st, int i) {
  char t[40];
  switch (sqlite3_column_type(st, i)) {
    case SQLITE_INTEGER:
      put(t, (size_t)snprintf(t, sizeof t, "%lld", (long long)sqlite3_column_int64(st, i)));
      break;
    case SQLITE_FLOAT: {
      double v = sqlite3_column_double(st, i);
      if (!isfinite(v)) {
        put_text("null");
        break;
      }
      sqlite3_snprintf(sizeof t, t, "%!.15g", v);
      if (strtod(t, 0) != v) sqlite3_snprintf(sizeof t, t, "%!.17g", v);
      put_text(t);
      break;
    }
    case SQLITE_TEXT: {
      const char *s = (const char *)sqlite3_column_text(st, i);
      put_string(s ? s : "", s ? (size_t)sqlite3_column_bytes(st, i) : 0);
      break;
    }
    case SQLITE_BLOB: {
      const unsigned char *p = sqlite3_column_blob(st, i);
      put_base64(p, p ? (size_t)sqlite3_column_bytes(st, i) : 0);
      break;
    }
    default:
      put_text("null");
  }
}

// rows runs one statement and writes its answer, if it has columns.
static int rows(sqlite3_stmt *st) {
  int columns = sqlite3_column_count(st), rc, n = 0, cut = 0;
  if (columns > 0) {
    answer.n = 0, answer.full = 0;
    put_text("{\"columns\":[");
    for (int i = 0; i < columns; i++) {
      const char *name = sqlite3_column_name(st, i);
      if (i) put(",", 1);
      put_string(name ? name : "", name ? strlen(name) : 0);
    }
    put_text("],\"rows\":[");
  }
  while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
    if (n == MAX_ROWS) {
      cut = 1;
      break;
    }
    size_t before = answer.n;
    if (n++) put(",", 1);
    put("[", 1);
    for (int i = 0; i < columns; i++) {
      if (i) put(",", 1);
      put_value(st, i);
    }
    put("]", 1);
    if (answer.full) {
      answer.n = before, answer.full = 0, cut = 1;
      break;
    }
  }
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return rc;
  if (columns > 0) put_text(cut ? "],\"cut\":true}" : "],\"cut\":false}");
  return SQLITE_OK;
}

// explain reports an error, with its place in the program.
static int explain(int rc, const char *program, const char *statement) {
  int at = sqlite3_error_offset(db);
  const char *what = rc == SQLITE_AUTH ? "not allowed here: ATTACH, DETACH and most PRAGMAs" : sqlite3_errmsg(db);
  if (rc == SQLITE_NOMEM) what = "out of memory";
  fprintf(stderr, "Error: %s", what);
  if (at >= 0 && rc == SQLITE_ERROR) {
    int line = 1, column = 1;
    for (const char *p = program; p < statement + at && *p; p++) {
      if (*p == '\n') line++, column = 1;
      else column++;
    }
    fprintf(stderr, " (line %d, column %d)", line, column);
  }
  fputc('\n', stderr);
  return rc & 0xff;
}

// sbx_exec runs the n bytes in the buffer and returns 0 or SQLite's code.
__attribute__((export_name("sbx_exec"))) int32_t sbx_exec(int32_t n) {
  if (!db || !input || n < 0 || (size_t)n >= input_size) return -1;
  static int seeded;
  if (!seeded) sqlite3_randomness(0, 0); // what the image has is everybody's
  seeded = 1;
  input[n] = 0;
  stop[0] = stop[1] = stop[2] = 0;
  answer.n = 0, answer.full = 0;
  int rc = SQLITE_OK;
  const char *at = input, *next = input;
  while (rc == SQLITE_OK && *at) {
    sqlite3_stmt *st = 0;
    rc = sqlite3_prepare_v2(db, at, (int)(input + n - at), &st, &next);
    if (rc == SQLITE_OK && st) rc = rows(st);
    if (rc) explain(rc, input, at);
    sqlite3_finalize(st);
    at = next;
  }
  if (rc == SQLITE_OK && answer.n > 0) {
    put("\n", 1);
    fwrite(answer.b, 1, answer.n, stdout);
  }
  fflush(stdout);
  fflush(stderr);
  if (answer.cap > 1 << 20) {
    free(answer.b);
    answer.b = 0, answer.cap = 0;
  }
  return rc & 0xff;
}

// Patterns as people write them, for the extended expressions of POSIX that the
// C library knows: what it would take for something else without a word is
// translated where there are words for it, and otherwise refused.
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define MOST 10000 // parts of a pattern, with each repetition written out
#define DEEPEST 200

char *translate(const char *p, char *out, const char **why);

// bracket translates what is between brackets, from behind the first one.
// Characters that mean something by their place there are written last.
static const char *bracket(const char *p, char **to, const char **why) {
  char *o = *to, *body;
  int negated = *p == '^', close = 0, open = 0, caret = 0, dash = 0, first = 1, range = 0;
  *o++ = '[';
  if (negated) *o++ = '^', p++;
  body = o;
  for (;; first = 0) {
    char c = *p, e = c ? p[1] : 0;
    int literal = 1, can = !range; // can: what was written before may begin a range
    range = 0;
    if (c == 0) return *why = "[ without ]", NULL;
    if (c == ']' && !first) break;
    if (c == '-') {
      p++;
      if (first || !can || *p == ']') {
        dash = 1;
        continue;
      }
      if (*p == 0) return *why = "[ without ]", NULL;
      *o++ = '-', c = *p, e = p[1], range = 1;
      if (c == '[' || (c == '\\' && (e == 0 || strchr("dwsDWS]-[", e)))) return *why = "a range in [] ends with a character, not with a class or bracket", NULL;
    }
    if (c == '[' && e == ':') {
      const char *end = strstr(p + 2, ":]");
      if (!end) return *why = "[: without :]", NULL;
      memcpy(o, p, (size_t)(end + 2 - p));
      o += end + 2 - p, p = end + 2;
      range = 1;
      continue;
    }
    p++;
    if (c == '\\') {
      p++;
      const char *class = e == 'd' ? "[:digit:]" : e == 'w' ? "[:alnum:]_" : e == 's' ? "[:space:]" : 0;
      if (class) {
        strcpy(o, class);
        o += strlen(class), range = 1; // so that - is a character
        continue;
      }
      static const char letters[] = "tnrfae", mean[] = "\t\n\r\f\a\033";
      const char *at = e ? strchr(letters, e) : 0;
      if (at) c = mean[at - letters];
      else if (e == 0 || isalnum((unsigned char)e)) return *why = "in [] no backslash but \\d \\w \\s \\t \\n \\r \\f \\a \\e and before punctuation", NULL;
      else c = e;
    }
    if (!range) {
      if (c == ']') close = 1, literal = 0;
      else if (c == '[') open = 1, literal = 0;
      else if (c == '^') caret = 1, literal = 0;
      else if (c == '-') dash = 1, literal = 0;
    }
    if (literal) *o++ = c;
    else if (*p == '-' && p[1] != ']') return *why = "a range in [] begins with a character, not with a bracket, ^ or -", NULL;
  }
  if (close) memmove(body + 1, body, (size_t)(o - body)), *body = ']', o++;
  if (open) *o++ = '[';
  if (caret && o == body && !negated) {
    if (dash) *o++ = '-', *o++ = '^';
    else o[-1] = '\\', *o++ = '^'; // the bracket goes
    if (dash) *o++ = ']';
  } else {
    if (caret) *o++ = '^';
    if (dash) *o++ = '-';
    *o++ = ']';
  }
  *to = o;
  return p + 1;
}

// number reads a count of a repetition; none is -1.
static int number(const char **p) {
  int n = -1;
  for (; isdigit((unsigned char)**p); ++*p)
    if ((n = (n < 0 ? 0 : n) * 10 + (**p - '0')) > MOST) n = MOST;
  return n;
}

// translate writes the pattern to out, which has room for five times its length
// and 16 bytes, and returns out, or NULL and why.
char *translate(const char *p, char *out, const char **why) {
  char *o = out;
  long all[DEEPEST + 1] = {0}, atom = 0; // how many parts: of each open group, of the last atom
  int depth = 0;
  while (*p) {
    const char *from = p;
    char c = *p++;
    switch (c) {
      case '\\':
        if (*p == 0) return *why = "the pattern ends with a backslash", NULL;
        if (*p >= '1' && *p <= '9') return *why = "references back, as \\1, are not supported", NULL;
        if (isalnum((unsigned char)*p) && !strchr("dDwWsSbBtnrfaex", *p)) return *why = "no backslash but \\d \\D \\w \\W \\s \\S \\b \\B \\t \\n \\r \\f \\a \\e \\x and before punctuation", NULL;
        if (*p++ == 'x' && *p == '{')
          while (*p && *p++ != '}') {}
        memcpy(o, from, (size_t)(p - from));
        o += p - from, atom = 1;
        break;
      case '[':
        if (!(p = bracket(p, &o, why))) return NULL;
        atom = 1;
        break;
      case '(':
        if (*p == '?') {
          if (p[1] != ':') return *why = "no (?…) is supported but (?i) at the beginning and (?:…)", NULL;
          p += 2;
        }
        if (depth == DEEPEST) return *why = "more than 200 groups in each other", NULL;
        *o++ = c, all[++depth] = 0, atom = 0;
        continue;
      case ')':
        *o++ = c;
        if (depth) atom = all[depth--] + 1;
        else atom = 1;
        break;
      case '*': case '+': case '?': case '{': {
        int most = 1;
        if (c == '{') {
          most = number(&p);
          if (*p == ',') {
            p++;
            int n = number(&p);
            if (n > most) most = n;
          }
          if (most < 1) most = 1;
          if (*p == '}') p++;
        }
        memcpy(o, from, (size_t)(p - from));
        o += p - from;
        if (*p == '?') p++; // a lazy one matches where the other does
        all[depth] += atom * (most - 1), atom *= most;
        if (all[depth] > MOST) return *why = "the pattern is too large, with its repetitions", NULL;
        continue;
      }
      default:
        *o++ = c, atom = 1;
    }
    if ((all[depth] += atom) > MOST) return *why = "the pattern is too large, with its repetitions", NULL;
  }
  *o = 0;
  return out;
}

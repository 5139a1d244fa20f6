// The heap of the guest. The compiler's own never joins what was freed, so that
// after one statement that filled the memory with small blocks no large one was
// to be had again. Here free neighbours are one block at once, and lists by size
// find one that fits without a search (two-level segregated fit).
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 16u            // sizes and the addresses of users are multiples of it
#define HEAD 8u             // bytes of a block before what its user has
#define PAGE 65536u         // of WebAssembly
#define LEAST (4u << 20)    // bytes of memory from which on it grows by 16 pages at least
#define LARGEST 0x7fff0000u // bytes of one block
#define FREE 1u

// A block; prev is the one before it in memory, and the links are there only
// while it is free. A region ends with a block of no size.
typedef struct block {
  struct block *prev;
  uint32_t size; // of all of it, and FREE
  struct block *next_free, *prev_free;
} block;

extern unsigned char __heap_base;
static block *lists[26][16], *last; // last: the block of no size at the end
static uint32_t rows, columns[26];  // which lists have something

static uint32_t size_of(const block *b) { return b->size & ~FREE; }
static block *after(block *b) { return (block *)((char *)b + size_of(b)); }
static void *user(block *b) { return (char *)b + HEAD; }
static block *block_of(void *p) { return (block *)((char *)p - HEAD); }

// place says which list has the free blocks of a size.
static void place(uint32_t size, int *row, int *column) {
  if (size < 256) {
    *row = 0, *column = (int)(size / UNIT);
    return;
  }
  int top = 31 - __builtin_clz(size);
  *row = top - 7, *column = (int)(size >> (top - 4) & 15);
}

static void put_free(block *b, uint32_t size) {
  int r, c;
  place(size, &r, &c);
  b->size = size | FREE, b->prev_free = 0, b->next_free = lists[r][c];
  if (b->next_free) b->next_free->prev_free = b;
  lists[r][c] = b;
  rows |= 1u << r, columns[r] |= 1u << c;
  after(b)->prev = b;
}

static void take_free(block *b) {
  int r, c;
  place(size_of(b), &r, &c);
  if (b->next_free) b->next_free->prev_free = b->prev_free;
  if (b->prev_free) b->prev_free->next_free = b->next_free;
  else if (!(lists[r][c] = b->next_free) && !(columns[r] &= ~(1u << c))) rows &= ~(1u << r);
  b->size &= ~FREE;
}

// release makes a block free, as one with its free neighbours.
static void release(block *b) {
  uint32_t size = size_of(b);
  block *next = after(b);
  if (next->size & FREE) take_free(next), size += size_of(next);
  if (b->prev && b->prev->size & FREE) b = b->prev, take_free(b), size += size_of(b);
  put_free(b, size);
}

// trim gives back what a block that is in use has above size.
static void trim(block *b, uint32_t size) {
  uint32_t rest = size_of(b) - size;
  if (rest < UNIT) return;
  b->size = size;
  block *tail = after(b);
  tail->prev = b, tail->size = rest;
  after(tail)->prev = tail;
  release(tail);
}

// region makes the memory from start to end a free block, joined to the one
// before it where it begins at the end.
static void region(uintptr_t start, uintptr_t end) {
  block *b = last;
  if (!b || (uintptr_t)b + HEAD != start) {
    b = (block *)(((start + UNIT - 1) & ~(uintptr_t)(UNIT - 1)) + HEAD);
    if ((uintptr_t)b + HEAD + UNIT > end) return;
    b->prev = 0;
  }
  last = (block *)(end - HEAD);
  last->size = 0, last->prev = b;
  b->size = (uint32_t)((uintptr_t)last - (uintptr_t)b);
  release(b);
}

// grow has the host add memory for a block of size bytes, and more while it gives more.
static int grow(uint32_t size) {
  uint32_t pages = (uint32_t)__builtin_wasm_memory_size(0), have = pages * PAGE;
  if (!last) {
    region((uintptr_t)&__heap_base, have);
    if (last && size_of(last->prev) >= size) return 1;
  }
  uint32_t spare = last && last->prev->size & FREE ? size_of(last->prev) : 0;
  if (last && (uintptr_t)last + HEAD != have) spare = 0; // somebody else has grown it
  uint32_t need = (size - (spare < size ? spare : size) + 2 * UNIT + PAGE - 1) / PAGE;
  uint32_t step = have < LEAST ? need : need > 16 ? need : 16;
  size_t at = __builtin_wasm_memory_grow(0, step);
  if (at == (size_t)-1 && step > need) at = __builtin_wasm_memory_grow(0, step = need);
  if (at == (size_t)-1) return 0;
  uintptr_t end = at + step < 65536 ? (at + step) * PAGE : 0u - UNIT; // the last address is below 4 GiB
  region(at * PAGE, end);
  return 1;
}

// find takes a free block of at least size bytes out of its list.
static block *find(uint32_t size) {
  uint32_t up = size < 256 ? size : size + (1u << (31 - __builtin_clz(size) - 4)) - 1; // so that all of the list fit
  int r, c;
  place(up, &r, &c);
  uint32_t map = columns[r] & ~0u << c;
  if (!map) {
    uint32_t higher = rows & ~1u << r;
    if (!higher) return 0;
    r = __builtin_ctz(higher), map = columns[r];
  }
  block *b = lists[r][__builtin_ctz(map)];
  take_free(b);
  return b;
}

static void *take(size_t n) {
  if (n > LARGEST) {
    errno = ENOMEM;
    return 0;
  }
  uint32_t size = ((uint32_t)n + HEAD + UNIT - 1) & ~(UNIT - 1);
  block *b = find(size);
  if (!b) {
    // The block at the end may be enough, though not all of its list are.
    if (!(last && last->prev->size & FREE && size_of(last->prev) >= size) && !grow(size)) {
      errno = ENOMEM;
      return 0;
    }
    b = last->prev;
    take_free(b);
  }
  trim(b, size);
  return user(b);
}

void *malloc(size_t n) { return take(n); }

void free(void *p) {
  if (p) release(block_of(p));
}

void *calloc(size_t n, size_t each) {
  size_t all;
  void *p = take(__builtin_mul_overflow(n, each, &all) ? SIZE_MAX : all);
  return p ? memset(p, 0, all) : 0;
}

void *realloc(void *p, size_t n) {
  if (!p || n > LARGEST) return take(n);
  block *b = block_of(p), *next = after(b);
  uint32_t old = size_of(b), size = ((uint32_t)n + HEAD + UNIT - 1) & ~(UNIT - 1);
  if (old < size && next->size & FREE && old + size_of(next) >= size) {
    take_free(next);
    b->size = old + size_of(next);
    after(b)->prev = b;
  }
  if (size_of(b) >= size) {
    trim(b, size);
    return p;
  }
  void *to = take(n);
  if (!to) return 0;
  memcpy(to, p, old - HEAD);
  release(b);
  return to;
}

void *aligned_alloc(size_t to, size_t n) {
  if (to <= UNIT) return take(n);
  if (to > LARGEST || n > LARGEST - to) return take(SIZE_MAX);
  char *p = take(n + to + UNIT);
  if (!p || ((uintptr_t)p & (to - 1)) == 0) return p;
  block *b = block_of(p), *aligned = block_of((void *)(((uintptr_t)p + to - 1) & ~(uintptr_t)(to - 1)));
  aligned->prev = b, aligned->size = (uint32_t)((char *)after(b) - (char *)aligned);
  after(aligned)->prev = aligned;
  b->size = (uint32_t)((char *)aligned - (char *)b);
  release(b);
  trim(aligned, ((uint32_t)n + HEAD + UNIT - 1) & ~(UNIT - 1));
  return user(aligned);
}

int posix_memalign(void **out, size_t to, size_t n) {
  void *p = aligned_alloc(to, n);
  if (p) *out = p;
  return p ? 0 : ENOMEM;
}

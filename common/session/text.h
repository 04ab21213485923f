/* text.h - lines of text out of what a terminal was sent or what was typed: escape sequences go,
 * and what was rubbed out or written over is gone. Pure.
 *
 * Enough of ECMA-48 for what shells and line editors do on one line: backspace, carriage return,
 * cursor left and right, erase, delete and insert. What moves to another line ends the line. Bytes
 * that are no UTF-8 become U+FFFD, other control characters go.
 */
#pragma once
#include "common/base/util.h"

#define FL_TEXT_LINE_CELLS 4096 /* a longer line comes in pieces */

/* `line` is UTF-8 with a NUL behind it, without the line's end; gone after the return. */
typedef void (*fl_text_line_fn)(void *arg, const char *line, size_t len);

/* Zeroed is ready. */
struct fl_text {
    uint32_t *cells; /* NULL until the first character */
    size_t n, cap;   /* cells of the line */
    size_t cursor;
    uint8_t state;
    uint8_t left;         /* bytes that the character still lacks, */
    uint32_t code, least; /* it so far, and what it must reach at least */
    uint16_t arg[2];      /* first two numbers of a control sequence */
    uint8_t n_args;
    bool no_memory; /* cells were lost */
};

void fl_text_done(struct fl_text *t);

/* Feeds what a terminal was sent. */
void fl_text_output(struct fl_text *t, const void *data, size_t len, fl_text_line_fn fn, void *arg);

/* Feeds what was typed: a line ends with Enter, ^C, ^D and ^Z throw it away, ^U and ^W as the
 * terminal driver has them. */
void fl_text_typed(struct fl_text *t, const void *data, size_t len, fl_text_line_fn fn, void *arg);

/* The line that has no end yet, if there is something on it. */
void fl_text_flush(struct fl_text *t, fl_text_line_fn fn, void *arg);

/* Nothing was fed since the last line's end, or all of it is gone. */
bool fl_text_empty(const struct fl_text *t);

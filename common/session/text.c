/* text.c - a line of cells with a cursor, and a small parser of control sequences. */
#include "common/session/text.h"

#include <string.h>

enum state { GROUND, ESCAPE, ESCAPE_MORE, CSI, STRING, STRING_ESCAPE };

#define REPLACEMENT 0xFFFD
#define UTF8_MAX    4

void fl_text_done(struct fl_text *t)
{
    free(t->cells);
    *t = (struct fl_text){ 0 };
}

/* ---- the line ---- */

static size_t put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

static void end_line(struct fl_text *t, fl_text_line_fn fn, void *arg)
{
    char line[FL_TEXT_LINE_CELLS * UTF8_MAX + 1];
    size_t len = 0;

    for (size_t i = 0; i < t->n; i++)
        len += put_utf8(t->cells[i], line + len);
    while (len && line[len - 1] == ' ')
        len--;
    line[len] = '\0';
    t->n = t->cursor = 0;
    fn(arg, line, len);
}

/* What moves elsewhere on the screen; an empty line is none. */
static void leave_line(struct fl_text *t, fl_text_line_fn fn, void *arg)
{
    t->cursor = 0;
    if (t->n)
        end_line(t, fn, arg);
}

static bool room(struct fl_text *t, size_t n)
{
    size_t cap = FL_MIN(FL_MAX(2 * t->cap, 128), (size_t)FL_TEXT_LINE_CELLS);
    uint32_t *cells;

    if (n <= t->cap)
        return true;
    cells = realloc(t->cells, FL_MAX(cap, n) * sizeof(*cells));
    if (!cells) {
        t->no_memory = true;
        return false;
    }
    t->cells = cells;
    t->cap = FL_MAX(cap, n);
    return true;
}

static void put(struct fl_text *t, uint32_t c, fl_text_line_fn fn, void *arg)
{
    if (t->cursor >= FL_TEXT_LINE_CELLS)
        end_line(t, fn, arg);
    if (!room(t, t->cursor + 1))
        return;
    while (t->n < t->cursor)
        t->cells[t->n++] = ' ';
    t->cells[t->cursor++] = c;
    t->n = FL_MAX(t->n, t->cursor);
}

static void delete_cells(struct fl_text *t, size_t count)
{
    if (t->cursor >= t->n)
        return;
    count = FL_MIN(count, t->n - t->cursor);
    memmove(t->cells + t->cursor, t->cells + t->cursor + count,
            (t->n - t->cursor - count) * sizeof(*t->cells));
    t->n -= count;
}

static void insert_blanks(struct fl_text *t, size_t count)
{
    if (t->cursor >= t->n)
        return;
    count = FL_MIN(count, FL_TEXT_LINE_CELLS - t->n);
    if (!room(t, t->n + count))
        return;
    memmove(t->cells + t->cursor + count, t->cells + t->cursor,
            (t->n - t->cursor) * sizeof(*t->cells));
    for (size_t i = 0; i < count; i++)
        t->cells[t->cursor + i] = ' ';
    t->n += count;
}

static void erase_in_line(struct fl_text *t, unsigned how)
{
    if (how != 1)
        t->n = how == 0 ? FL_MIN(t->n, t->cursor) : 0;
    else
        for (size_t i = 0; i < t->n && i <= t->cursor; i++)
            t->cells[i] = ' ';
}

/* ---- control sequences ---- */

static void control_sequence(struct fl_text *t, char last, fl_text_line_fn fn, void *arg)
{
    size_t n = t->arg[0] ? t->arg[0] : 1;

    switch (last) {
    case 'D':
        t->cursor -= FL_MIN(t->cursor, n);
        return;
    case 'C':
        t->cursor = FL_MIN(t->cursor + n, (size_t)FL_TEXT_LINE_CELLS);
        return;
    case 'G':
    case '`':
        t->cursor = FL_MIN(n - 1, (size_t)FL_TEXT_LINE_CELLS);
        return;
    case 'K':
        erase_in_line(t, t->arg[0]);
        return;
    case 'P':
        delete_cells(t, n);
        return;
    case '@':
        insert_blanks(t, n);
        return;
    case 'A':
    case 'B':
    case 'E':
    case 'F':
    case 'd':
    case 'H':
    case 'f':
    case 'J':
        leave_line(t, fn, arg);
        return;
    default:
        return;
    }
}

static void csi_byte(struct fl_text *t, uint8_t c, fl_text_line_fn fn, void *arg)
{
    if (c >= '0' && c <= '9') {
        if (t->n_args < FL_ARRAY_LEN(t->arg) && t->arg[t->n_args] < 6000)
            t->arg[t->n_args] = (uint16_t)(t->arg[t->n_args] * 10 + (c - '0'));
    } else if (c == ';' || c == ':') {
        t->n_args = (uint8_t)FL_MIN(t->n_args + 1u, FL_ARRAY_LEN(t->arg));
    } else if (c >= 0x40 && c < 0x7F) {
        t->state = GROUND;
        control_sequence(t, (char)c, fn, arg);
    } else if (c == 0x1B) {
        t->state = ESCAPE;
    } else if (c == 0x18 || c == 0x1A) {
        t->state = GROUND;
    }
}

static void escape_byte(struct fl_text *t, uint8_t c, fl_text_line_fn fn, void *arg)
{
    t->state = GROUND;
    if (c == '[') {
        t->state = CSI;
        t->arg[0] = t->arg[1] = t->n_args = 0;
    } else if (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_') {
        t->state = STRING;
    } else if ((c >= 0x20 && c < 0x30) || c == 'O' || c == 'N') {
        t->state = ESCAPE_MORE;
    } else if (c == 0x1B) {
        t->state = ESCAPE;
    } else if (c == 'c' || c == 'D' || c == 'E' || c == 'M') {
        leave_line(t, fn, arg);
    }
}

/* True: the byte belonged to a sequence. */
static bool in_sequence(struct fl_text *t, uint8_t c, fl_text_line_fn fn, void *arg)
{
    switch ((enum state)t->state) {
    case GROUND:
        if (c != 0x1B)
            return false;
        t->state = ESCAPE;
        return true;
    case ESCAPE:
        escape_byte(t, c, fn, arg);
        return true;
    case ESCAPE_MORE:
        if (c < 0x20 || c >= 0x30)
            t->state = GROUND;
        return true;
    case CSI:
        csi_byte(t, c, fn, arg);
        return true;
    case STRING:
        /* A line ends it, too: one that never ends would hide all that follows. */
        if (c == '\r' || c == '\n') {
            t->state = GROUND;
            return false;
        }
        if (c == 0x07 || c == 0x18 || c == 0x1A)
            t->state = GROUND;
        else if (c == 0x1B)
            t->state = STRING_ESCAPE;
        return true;
    case STRING_ESCAPE:
        t->state = GROUND;
        if (c != '\\')
            escape_byte(t, c, fn, arg);
        return true;
    }
    return false;
}

/* ---- characters ---- */

/* True: a whole one is in t->code. */
static bool take_utf8(struct fl_text *t, uint8_t c, fl_text_line_fn fn, void *arg)
{
    if (t->left && (c & 0xC0) == 0x80) {
        t->code = t->code << 6 | (c & 0x3F);
        if (--t->left)
            return false;
        if (t->code < t->least || t->code > 0x10FFFF || (t->code >= 0xD800 && t->code < 0xE000))
            t->code = REPLACEMENT;
        return true;
    }
    if (t->left) {
        t->left = 0;
        put(t, REPLACEMENT, fn, arg);
    }
    if (c < 0x80) {
        t->code = c;
        return true;
    }
    t->left = c >= 0xF0 && c < 0xF8 ? 3 : c >= 0xE0 ? 2 : 1;
    t->least = t->left == 3 ? 0x10000 : t->left == 2 ? 0x800 : 0x80;
    t->code = c & (0x3F >> t->left);
    if ((c & 0xC0) == 0x80 || c >= 0xF8) {
        t->left = 0;
        t->code = REPLACEMENT;
        return true;
    }
    return false;
}

/* True: `c` was the last byte of a character that is not part of a sequence; it is in t->code. */
static bool next_character(struct fl_text *t, uint8_t c, fl_text_line_fn fn, void *arg)
{
    return (t->left || !in_sequence(t, c, fn, arg)) && take_utf8(t, c, fn, arg);
}

void fl_text_output(struct fl_text *t, const void *data, size_t len, fl_text_line_fn fn, void *arg)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7F && t->state == GROUND && !t->left) { /* most are */
            put(t, p[i], fn, arg);
            continue;
        }
        if (!next_character(t, p[i], fn, arg))
            continue;
        if (t->code == '\n' || t->code == '\v' || t->code == '\f')
            end_line(t, fn, arg);
        else if (t->code == '\r')
            t->cursor = 0;
        else if (t->code == '\b')
            t->cursor -= t->cursor > 0;
        else if (t->code == '\t')
            do
                put(t, ' ', fn, arg);
            while (t->cursor % 8);
        else if (t->code == 0x1B)
            t->state = ESCAPE; /* it cut a character off */
        else if (t->code >= 0x20 && t->code != 0x7F && (t->code < 0x80 || t->code >= 0xA0))
            put(t, t->code, fn, arg);
    }
}

static void rub_out_word(struct fl_text *t)
{
    while (t->n && t->cells[t->n - 1] == ' ')
        t->n--;
    while (t->n && t->cells[t->n - 1] != ' ')
        t->n--;
    t->cursor = t->n;
}

void fl_text_typed(struct fl_text *t, const void *data, size_t len, fl_text_line_fn fn, void *arg)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        /* What arrows do is up to the program: what it shows then is its output. */
        if (!next_character(t, p[i], fn, arg))
            continue;
        t->cursor = t->n;
        if (t->code == '\r' || t->code == '\n')
            leave_line(t, fn, arg);
        else if (t->code == 0x7F || t->code == '\b')
            t->n -= t->n > 0;
        else if (t->code == 0x17)
            rub_out_word(t);
        else if (t->code == 0x15 || t->code == 0x03)
            t->n = 0;
        else if (t->code == '\t')
            put(t, ' ', fn, arg);
        else if (t->code == 0x1B)
            t->state = ESCAPE;
        else if (t->code >= 0x20)
            put(t, t->code, fn, arg);
        t->cursor = t->n;
    }
}

void fl_text_flush(struct fl_text *t, fl_text_line_fn fn, void *arg)
{
    leave_line(t, fn, arg);
}

bool fl_text_empty(const struct fl_text *t)
{
    return t->n == 0 && t->cursor == 0 && t->left == 0 && t->state == GROUND;
}

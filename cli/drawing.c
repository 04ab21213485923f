/* drawing.c - see drawing.h. */
#include "cli/drawing.h"
#include <string.h>
#include "common/codec/utf8.h"

enum state { GROUND, CHARACTER, ESCAPE, CSI, STRING };

#define ESC               0x1b
#define PARAMETER_DIGITS  5 /* what repeats a million times is no drawing */
#define SAFE_CONTROLS     "\a\b\t\n\v\f\r\x0e\x0f"
#define SAFE_ESCAPES      "78DEHMc" /* ESC and this alone */
#define CHARACTER_SETS    "()*+"    /* ESC, one of these, and the set */
#define SAFE_CSI          "@ABCDEFGHIJKLMPSXZ`abdefgmrsu"
#define SAFE_CSI_SPECIFIC "JK" /* with '?' */

/* Of CSI ? … h and l. Others are keys, the mouse, pastes, focus, the window's width. */
static const unsigned modes[] = { 5, 6, 7, 12, 25, 45, 47, 69, 1047, 1048, 1049, 2026 };

static bool is_one_of(const char *set, char c)
{
    return c && strchr(set, c);
}

static int put_mode(unsigned mode, char last, struct fl_buf *out)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(modes); i++)
        if (modes[i] == mode)
            return fl_buf_printf(out, "\x1b[?%u%c", mode, last);
    return 0;
}

static int put_modes(const char *list, char last, struct fl_buf *out)
{
    int r = 0;

    for (char *end; r == 0 && *list; list = end + (*end == ';')) {
        unsigned long mode = strtoul(list, &end, 10);

        if (end == list && *end != ';')
            return 0;
        r = put_mode((unsigned)mode, last, out);
    }
    return r;
}

static bool is_modest(const char *parameters)
{
    size_t digits;

    for (const char *p = parameters; *p; p += digits + (p[digits] != '\0')) {
        digits = strspn(p, "0123456789");
        if (digits > PARAMETER_DIGITS)
            return false;
    }
    return true;
}

/* d->sequence: '[', parameters, intermediates; `last` ends it. */
static int put_csi(struct fl_drawing *d, char last, struct fl_buf *out)
{
    const char *s = d->sequence + 1, *parameters = s + (*s == '?');
    size_t len = strspn(parameters, "0123456789;:");
    bool plain = parameters[len] == '\0', specific = *s == '?';
    bool safe;

    if (!is_modest(parameters))
        return 0;
    if (plain && specific && (last == 'h' || last == 'l'))
        return put_modes(parameters, last, out);
    if (plain && specific)
        safe = is_one_of(SAFE_CSI_SPECIFIC, last);
    else if (plain && (last == 'h' || last == 'l'))
        safe = strcmp(s, "4") == 0; /* insert */
    else if (plain && last == 'T')
        safe = !strchr(s, ';'); /* with more it follows the mouse */
    else if (plain)
        safe = is_one_of(SAFE_CSI, last);
    else /* the cursor's form, and a reset */
        safe = !specific &&
               ((last == 'q' && strcmp(s + len, " ") == 0) || (last == 'p' && strcmp(s, "!") == 0));
    return safe ? fl_buf_printf(out, "\x1b[%s%c", s, last) : 0;
}

static int put_escape(struct fl_drawing *d, char last, struct fl_buf *out)
{
    const char *s = d->sequence;
    bool safe = d->n == 0   ? is_one_of(SAFE_ESCAPES, last)
                : d->n == 1 ? is_one_of(CHARACTER_SETS, s[0]) || (s[0] == '#' && last == '8')
                            : false;

    return safe ? fl_buf_printf(out, "\x1b%s%c", s, last) : 0;
}

static void keep(struct fl_drawing *d, char c)
{
    if (d->n + 1 < sizeof(d->sequence))
        d->sequence[d->n++] = c;
    else
        d->sequence[0] = 'X'; /* too long: no form that is known */
    d->sequence[d->n] = '\0';
}

static void begin(struct fl_drawing *d, enum state state)
{
    d->state = state;
    d->n = 0;
    d->sequence[0] = '\0';
}

static int put_control(char c, struct fl_buf *out)
{
    return is_one_of(SAFE_CONTROLS, c) ? fl_buf_append(out, &c, 1) : 0;
}

/* A byte behind ESC. */
static int escape_byte(struct fl_drawing *d, char c, struct fl_buf *out)
{
    int r;

    if (d->n == 0 && c == '[') {
        keep(d, c);
        d->state = CSI;
        return 0;
    }
    if (d->n == 0 && is_one_of("]PX^_", c)) {
        begin(d, STRING);
        return 0;
    }
    if (c >= 0x20 && c < 0x30) {
        keep(d, c);
        return 0;
    }
    r = put_escape(d, c, out);
    begin(d, GROUND);
    return r;
}

static int csi_byte(struct fl_drawing *d, char c, struct fl_buf *out)
{
    int r;

    if (c < 0x40) {
        keep(d, c);
        return 0;
    }
    r = d->sequence[0] == '[' ? put_csi(d, c, out) : 0;
    begin(d, GROUND);
    return r;
}

/* A byte that is no ASCII. */
static int character_byte(struct fl_drawing *d, char c, struct fl_buf *out)
{
    uint8_t first;
    size_t want;

    if (d->state != CHARACTER)
        begin(d, CHARACTER);
    keep(d, c);
    first = (uint8_t)d->sequence[0];
    want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    if (d->n < want)
        return 0;
    d->state = GROUND;
    if (fl_utf8_len(d->sequence, d->n) != d->n)
        return fl_buf_puts(out, FL_UTF8_REPLACEMENT);
    if (first == 0xc2 && (uint8_t)d->sequence[1] < 0xa0)
        return 0; /* a control character of eight bits */
    return fl_buf_append(out, d->sequence, d->n);
}

static int take(struct fl_drawing *d, char c, struct fl_buf *out)
{
    bool high = (uint8_t)c >= 0x80, control = (uint8_t)c < 0x20;
    int r = 0;

    if (d->state == CHARACTER && ((uint8_t)c & 0xc0) != 0x80) {
        begin(d, GROUND);
        r = fl_buf_puts(out, FL_UTF8_REPLACEMENT);
        if (r < 0)
            return r;
    }
    if (c == ESC) {
        begin(d, ESCAPE);
        return 0;
    }
    /* CAN and SUB end a sequence; a line ends a string, which could hide the rest otherwise. */
    if (c == 0x18 || c == 0x1a || (d->state == STRING && (c == '\a' || c == '\r' || c == '\n'))) {
        bool line = c == '\r' || c == '\n';

        begin(d, GROUND);
        return line ? put_control(c, out) : 0;
    }
    if (d->state == STRING || c == 0x7f)
        return 0;
    if (control)
        return put_control(c, out);
    if (high && d->state != GROUND && d->state != CHARACTER)
        begin(d, GROUND); /* within a sequence */
    if (high)
        return character_byte(d, c, out);
    if (d->state == ESCAPE)
        return escape_byte(d, c, out);
    if (d->state == CSI)
        return csi_byte(d, c, out);
    return fl_buf_append(out, &c, 1);
}

int fl_drawing_feed(struct fl_drawing *d, const char *data, size_t len, struct fl_buf *out)
{
    int r = 0;

    for (size_t i = 0; i < len && r == 0; i++)
        r = take(d, data[i], out);
    return r;
}

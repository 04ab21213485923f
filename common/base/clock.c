/* clock.c - see clock.h. */
#include "common/base/clock.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t fl_now_ms(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t fl_mono_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t fl_boot_ms(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

/* The years that four digits can write. What is outside is written as the nearest of them. */
#define FIRST_MS (-62167219200000)
#define LAST_MS  (253402300799999)

struct parts {
    unsigned year, month, day, hour, minute, second, ms;
};

static struct parts split(int64_t ms)
{
    int64_t since = FL_MIN(FL_MAX(ms, FIRST_MS), LAST_MS) - FIRST_MS;
    time_t s = (time_t)((since + FIRST_MS - since % 1000) / 1000);
    struct tm tm;

    /* The remainders say to the compiler what is so anyway: how many digits there are. */
    gmtime_r(&s, &tm);
    return (struct parts){ .year = (unsigned)(tm.tm_year + 1900) % 10000,
                           .month = (unsigned)(tm.tm_mon + 1) % 100,
                           .day = (unsigned)tm.tm_mday % 100,
                           .hour = (unsigned)tm.tm_hour % 100,
                           .minute = (unsigned)tm.tm_min % 100,
                           .second = (unsigned)tm.tm_sec % 100,
                           .ms = (unsigned)(since % 1000) };
}

void fl_time_iso(int64_t ms, bool zero_as_unset, char *out)
{
    struct parts p = split(ms);

    if (ms == 0 && zero_as_unset)
        strcpy(out, "0001-01-01T00:00:00.000Z");
    else
        snprintf(out, FL_ISO_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", p.year, p.month, p.day,
                 p.hour, p.minute, p.second, p.ms);
}

void fl_time_iso_seconds(int64_t ms, char *out)
{
    struct parts p = split(ms);

    snprintf(out, FL_ISO_BYTES, "%04u-%02u-%02uT%02u:%02u:%02uZ", p.year, p.month, p.day, p.hour,
             p.minute, p.second);
}

void fl_time_compact(int64_t ms, char *out)
{
    struct parts p = split(ms);

    snprintf(out, FL_COMPACT_BYTES, "%04u%02u%02uT%02u%02u%02uZ", p.year, p.month, p.day, p.hour,
             p.minute, p.second);
}

/* `n` decimal digits at *s; moves *s behind them. -1 if there are fewer. */
static int digits(const char **s, int n)
{
    int v = 0;

    for (int i = 0; i < n; i++, (*s)++) {
        if (!isdigit((unsigned char)**s))
            return -1;
        v = v * 10 + (**s - '0');
    }
    return v;
}

static bool eat(const char **s, char c)
{
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant's days_from_civil). */
static int64_t days_of(int y, int m, int d)
{
    int64_t yy = y - (m <= 2);
    int64_t era = (yy >= 0 ? yy : yy - 399) / 400;
    int64_t yoe = yy - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool date_ok(int y, int m, int d)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

    return y >= 0 && m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (m == 2 && leap);
}

static bool time_ok(int h, int m, int s)
{
    return h >= 0 && h <= 23 && m >= 0 && m <= 59 && s >= 0 && s <= 60;
}

static int64_t to_ms(int y, int mo, int d, int h, int mi, int s)
{
    return (days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + s) * 1000;
}

/* A leap second or a zone may lead out of the years that can be written. */
static int check_range(int64_t ms, int64_t *ret_ms)
{
    if (ms < FIRST_MS || ms > LAST_MS)
        return -EINVAL;
    *ret_ms = ms;
    return 0;
}

/* Optional ".fraction" and the zone; adds their effect to *ms. */
static int parse_tail(const char *s, int64_t *ms)
{
    int sign, h, m;

    if (eat(&s, '.')) {
        int scale = 100, n = 0;

        for (; isdigit((unsigned char)*s) && n < 9; s++, n++, scale /= 10)
            *ms += (*s - '0') * scale;
        if (n == 0)
            return -EINVAL;
    }
    if (eat(&s, 'Z'))
        return *s ? -EINVAL : 0;
    if (*s != '+' && *s != '-')
        return -EINVAL;
    sign = *s++ == '+' ? -1 : 1;
    h = digits(&s, 2);
    eat(&s, ':');
    m = digits(&s, 2);
    if (!time_ok(h, m, 0) || *s)
        return -EINVAL;
    *ms += (int64_t)sign * (h * 60 + m) * 60000;
    return 0;
}

int fl_time_parse_iso(const char *s, int64_t *ret_ms)
{
    int y, mo, d, h, mi, se;
    int64_t ms;

    y = digits(&s, 4);
    if (y < 0 || !eat(&s, '-'))
        return -EINVAL;
    mo = digits(&s, 2);
    if (mo < 0 || !eat(&s, '-'))
        return -EINVAL;
    d = digits(&s, 2);
    if (!date_ok(y, mo, d))
        return -EINVAL;
    if (!*s) {
        *ret_ms = to_ms(y, mo, d, 0, 0, 0);
        return 0;
    }
    if (!eat(&s, 'T'))
        return -EINVAL;
    h = digits(&s, 2);
    if (h < 0 || !eat(&s, ':'))
        return -EINVAL;
    mi = digits(&s, 2);
    if (mi < 0 || !eat(&s, ':'))
        return -EINVAL;
    se = digits(&s, 2);
    if (!time_ok(h, mi, se))
        return -EINVAL;
    ms = to_ms(y, mo, d, h, mi, se);
    return parse_tail(s, &ms) < 0 ? -EINVAL : check_range(ms, ret_ms);
}

int fl_time_parse_compact(const char *s, int64_t *ret_ms)
{
    int y, mo, d, h, mi, se;

    y = digits(&s, 4);
    mo = y < 0 ? -1 : digits(&s, 2);
    d = mo < 0 ? -1 : digits(&s, 2);
    if (d < 0 || !date_ok(y, mo, d) || !eat(&s, 'T'))
        return -EINVAL;
    h = digits(&s, 2);
    mi = h < 0 ? -1 : digits(&s, 2);
    se = mi < 0 ? -1 : digits(&s, 2);
    if (se < 0 || !time_ok(h, mi, se) || !eat(&s, 'Z') || *s)
        return -EINVAL;
    return check_range(to_ms(y, mo, d, h, mi, se), ret_ms);
}

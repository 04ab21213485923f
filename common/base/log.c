/* log.c - see log.h. */
#include "common/base/log.h"
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/clock.h"

#define LINE_BYTES 4096 /* what a pipe takes whole */
#define STALL_MS   100

static const struct {
    const char *name;
    int priority; /* sd-daemon(3): what "<n>" means to the journal */
} levels[] = {
    [FL_LOG_ERROR] = { "error", 3 },
    [FL_LOG_WARN] = { "warn", 4 },
    [FL_LOG_INFO] = { "info", 6 },
    [FL_LOG_DEBUG] = { "debug", 7 },
};

static struct {
    enum fl_log_level max;
    enum fl_log_format format;
    const char *tag;
    bool journal;
} conf = { .max = FL_LOG_INFO };

static atomic_uint lost; /* lines that could not be written */

struct line {
    char text[LINE_BYTES];
    size_t len;
};

static void add(struct line *l, const char *s, size_t n)
{
    n = FL_MIN(n, sizeof(l->text) - 2 - l->len);
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

static void add_str(struct line *l, const char *s)
{
    add(l, s, strlen(s));
}

/* Escapes what would break a line or a quoted value. The same escapes serve text and JSON. */
static void add_escaped(struct line *l, const char *s)
{
    for (; *s; s++) {
        char esc[8];

        if (*s == '"' || *s == '\\')
            snprintf(esc, sizeof(esc), "\\%c", *s);
        else if (*s == '\n')
            strcpy(esc, "\\n");
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            snprintf(esc, sizeof(esc), "\\u%04x", (unsigned char)*s);
        else {
            add(l, s, 1);
            continue;
        }
        add_str(l, esc);
    }
}

static void add_quoted(struct line *l, const char *s)
{
    add_str(l, "\"");
    add_escaped(l, s);
    add_str(l, "\"");
}

static bool plain(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == '"' || *s == '\\' || *s == '=' || *s == 0x7f)
            return false;
    return true;
}

static void add_pair(struct line *l, const char *key, const struct fl_log_kv *kv)
{
    bool json = conf.format == FL_LOG_JSON;
    char num[24];

    if (json) {
        add_str(l, ",");
        add_quoted(l, key);
        add_str(l, ":");
    } else {
        add_str(l, " ");
        add_str(l, key);
        add_str(l, "=");
    }
    if (!kv->str) {
        snprintf(num, sizeof(num), "%lld", (long long)kv->num);
        add_str(l, num);
    } else if (json || !plain(kv->str)) {
        add_quoted(l, kv->str);
    } else {
        add_str(l, kv->str);
    }
}

void fl_log_setup(enum fl_log_level max, enum fl_log_format format, const char *tag)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    conf.max = max;
    conf.format = format;
    conf.tag = tag;
    conf.journal = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
                   fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

int fl_log_level_parse(const char *s, enum fl_log_level *ret_level)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(levels); i++) {
        if (strcmp(s, levels[i].name) == 0) {
            *ret_level = (enum fl_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* Whoever reads the log may hang (a full pipe, a journal that stands): we must not hang with it.
 * One line waits a little, those after it not at all. */
static bool can_write(void)
{
    static atomic_bool stalled;
    struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
    int r;

    do
        r = poll(&p, 1, atomic_load(&stalled) ? 0 : STALL_MS);
    while (r < 0 && errno == EINTR);
    atomic_store(&stalled, r == 0);
    return r != 0;
}

/* What a reader that stops in the middle of a line costs is that line, not the next one too. */
static void put(const struct line *l)
{
    static atomic_bool torn;
    size_t done = 0;

    if (atomic_exchange(&torn, false))
        (void)!write(STDERR_FILENO, "\n", 1);
    while (done < l->len) {
        ssize_t n = write(STDERR_FILENO, l->text + done, l->len - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || (errno != EINTR && (errno != EAGAIN || !can_write())))
            break;
    }
    if (done < l->len) {
        atomic_store(&torn, done > 0);
        atomic_fetch_add(&lost, 1);
    }
}

void fl_log_write(enum fl_log_level level, const char *msg, const struct fl_log_kv *kv)
{
    struct line l = { .len = 0 };
    char head[64], now[FL_ISO_BYTES];

    if (level > conf.max)
        return;

    fl_time_iso(fl_now_ms(), false, now);
    if (conf.journal) {
        snprintf(head, sizeof(head), "<%d>", levels[level].priority);
        add_str(&l, head);
    }
    if (conf.format == FL_LOG_JSON) {
        snprintf(head, sizeof(head), "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", now,
                 levels[level].name);
        add_str(&l, head);
        add_quoted(&l, msg);
    } else {
        if (!conf.journal) {
            snprintf(head, sizeof(head), "%s %s ", now, levels[level].name);
            add_str(&l, head);
        }
        add_escaped(&l, msg);
    }
    if (conf.tag)
        add_pair(&l, "role", &FL_S("role", conf.tag));
    for (; kv->key; kv++)
        add_pair(&l, kv->key, kv);
    if (conf.format == FL_LOG_JSON)
        add_str(&l, "}");
    l.text[l.len++] = '\n';

    if (!can_write()) {
        atomic_fetch_add(&lost, 1);
        return;
    }
    if (atomic_load(&lost))
        fl_log_warn("log lines were lost: nobody read them",
                    FL_I("lines", atomic_exchange(&lost, 0)));
    put(&l);
}

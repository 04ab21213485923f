/* log.h - one line an event, key=value or JSON, to stderr or the journal.
 *
 *     fl_log_info("node connected", FL_S("node", id), FL_I("channels", n));
 *     -> 2026-01-02T03:04:05.678Z info node connected node=mi-0123456789abcdef0 channels=3
 *
 * Code in common/ logs at debug only. Values are escaped; a line is cut at 4 KiB. Secrets are never
 * passed to it. Thread-safe: a line is one write(2).
 */
#pragma once
#include "common/base/util.h"

enum fl_log_level { FL_LOG_ERROR, FL_LOG_WARN, FL_LOG_INFO, FL_LOG_DEBUG };
enum fl_log_format { FL_LOG_TEXT, FL_LOG_JSON };

struct fl_log_kv {
    const char *key; /* NULL ends the list */
    const char *str; /* NULL: `num` is the value */
    int64_t num;
};

#define FL_S(k, v)                         \
    (struct fl_log_kv)                     \
    {                                      \
        .key = (k), .str = (v) ? (v) : "-" \
    }
#define FL_I(k, v)             \
    (struct fl_log_kv)         \
    {                          \
        .key = (k), .num = (v) \
    }

#define FL_LOG_(level, msg, ...) \
    fl_log_write(level, msg, (const struct fl_log_kv[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })

#define fl_log_error(msg, ...) FL_LOG_(FL_LOG_ERROR, msg __VA_OPT__(, ) __VA_ARGS__)
#define fl_log_warn(msg, ...)  FL_LOG_(FL_LOG_WARN, msg __VA_OPT__(, ) __VA_ARGS__)
#define fl_log_info(msg, ...)  FL_LOG_(FL_LOG_INFO, msg __VA_OPT__(, ) __VA_ARGS__)
#define fl_log_debug(msg, ...) FL_LOG_(FL_LOG_DEBUG, msg __VA_OPT__(, ) __VA_ARGS__)

/* `tag` (static string) stands in every line as role=…; NULL for none. Under systemd
 * (JOURNAL_STREAM set and stderr is that stream) the time is left to the journal and a <n> priority
 * prefix is written. */
void fl_log_setup(enum fl_log_level max, enum fl_log_format format, const char *tag);

/* "error", "warn", "info" or "debug" -> level; -EINVAL otherwise. */
int fl_log_level_parse(const char *s, enum fl_log_level *ret_level);

void fl_log_write(enum fl_log_level level, const char *msg, const struct fl_log_kv *kv);

/* head.h - heads of HTTP/1.1 messages: start line and header fields (RFC 9112). Pure: no I/O.
 *
 * Strict where leniency lets two parties read a message differently: CRLF only, no blank before the
 * colon, no folded lines, no control characters. Strings point into the text that was parsed or
 * into the arena.
 */
#pragma once
#include "common/base/arena.h"

#define FL_HEAD_MAX_FIELDS 128

struct fl_head_field {
    const char *name;  /* as written */
    const char *value; /* without blanks around it; several of one name joined by "," */
};

struct fl_head {
    const char *method; /* request; NULL in a response */
    const char *path;   /* request target up to '?', as it came; "*" is possible */
    const char *query;  /* what follows the '?', or "" */
    int status;         /* response; 0 in a request */
    int minor;          /* HTTP/1.<minor> */
    struct fl_head_field *fields;
    size_t n_fields;
};

/* Length of the head at the start of the text, blank line included, or 0 if it is not whole yet.
 * `searched` bytes were seen before without finding it. */
size_t fl_head_length(const char *text, size_t len, size_t searched);

/* Parse a whole head of `len` bytes, changing it in place. 0, -EINVAL (malformed), -EPROTONOSUPPORT
 * (not HTTP/1.x), -E2BIG (more fields than FL_HEAD_MAX_FIELDS), -ENOMEM (arena full). A request
 * target in absolute form loses its scheme and authority. */
int fl_head_parse_request(char *text, size_t len, struct fl_arena *arena, struct fl_head *ret_head);
int fl_head_parse_response(char *text, size_t len, struct fl_arena *arena,
                           struct fl_head *ret_head);

/* A field by name, in any letter case; NULL when absent. */
const char *fl_head_get(const struct fl_head *head, const char *name);

/* Whether a comma-separated list such as Connection holds a token, in any letter case. */
bool fl_head_has_token(const char *list, const char *token);

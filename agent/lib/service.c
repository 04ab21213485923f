/* service.c - see service.h. */
#include "agent/lib/service.h"
#include <string.h>
#include <time.h>
#include "common/codec/codec.h"

#define MAX_NAME_CHARS 128

struct error_body {
    char *type, *message;
};
static const struct fl_field error_fields[] = {
    FL_FIELD(struct error_body, type, "__type", 0),
    FL_FIELD(struct error_body, message, "message", 0),
};
static const struct fl_shape error_shape = FL_SHAPE(struct error_body, "error", error_fields);

/* The name of the root element: "<BadRequest xmlns="">" is an error's name on REST calls. */
static char *xml_root(const char *body, struct fl_arena *arena)
{
    const char *at = strchr(body, '<');

    while (at && (at[1] == '?' || at[1] == '!'))
        at = strchr(at + 1, '<');
    if (!at)
        return fl_arena_strdup(arena, "");
    return fl_arena_memdup(arena, at + 1,
                           FL_MIN(strcspn(at + 1, " \t\r\n/>"), (size_t)MAX_NAME_CHARS));
}

/* The text of the first <tag>, or "". */
static char *xml_text(const char *body, const char *open, struct fl_arena *arena)
{
    const char *at = strstr(body, open);

    if (!at)
        return fl_arena_strdup(arena, "");
    at += strlen(open);
    return fl_arena_memdup(arena, at, strcspn(at, "<"));
}

void fl_service_error(const char *body, struct fl_arena *arena, char **ret_name, char **ret_text)
{
    struct error_body e = { 0 };
    const char *name, *mark;

    if (!body)
        body = "";
    if (fl_json_decode(&error_shape, body, strlen(body), FL_DECODE_NOCASE, arena, &e, NULL) < 0) {
        *ret_name =
            strstr(body, "<Code>") ? xml_text(body, "<Code>", arena) : xml_root(body, arena);
        *ret_text = strstr(body, "<Message>") ? xml_text(body, "<Message>", arena)
                                              : xml_text(body, "<message>", arena);
        return;
    }
    /* "com.amazon#Name" and "Name:http://…" both occur. */
    name = e.type ? e.type : "";
    mark = strrchr(name, '#');
    name = mark ? mark + 1 : name;
    *ret_name = fl_arena_memdup(arena, name, FL_MIN(strcspn(name, ":"), (size_t)MAX_NAME_CHARS));
    *ret_text = e.message ? e.message : fl_arena_strdup(arena, "");
}

int64_t fl_http_date_ms(const char *date)
{
    struct tm tm = { 0 };
    const char *end = date ? strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm) : NULL;

    return end && !*end ? (int64_t)timegm(&tm) * 1000 : 0;
}

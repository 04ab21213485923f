/* service.h - reading the answers of AWS-style JSON services. Pure. */
#pragma once
#include "common/base/arena.h"

/* The name ("InvalidActivation") and words of an error answer (protocol 1 §5.3): JSON with __type
 * and message or Message, or XML with Code and Message. Each "" when the body does not tell;
 * strings in the arena, NULL without memory. */
void fl_service_error(const char *body, struct fl_arena *arena, char **ret_name, char **ret_text);

/* "Sun, 06 Nov 1994 08:49:37 GMT" -> ms since the epoch; 0 if it is not such a date. */
int64_t fl_http_date_ms(const char *date);

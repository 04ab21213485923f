/* transcript.h - records of a session's transcript, as the plane gives them. */
#pragma once
#include "cli/cli.h"

struct fl_transcript_record {
    char kind; /* enum fl_tf_kind of the plane: 'O' output, 'S' size, … */
    int64_t time_ms;
    const char *data; /* with a NUL behind it; gone after the return */
    size_t len;
};

/* Below 0 ends the reading with that, above 0 without. */
typedef int (*fl_transcript_fn)(void *arg, const struct fl_transcript_record *record);

/* All records of a session, in order. Each part was checked by the plane before it came. */
int fl_transcript_each(struct fl_cli *cli, const char *session_id, fl_transcript_fn fn, void *arg,
                       struct fl_err *err);

/* "80x24" of a size record; false if it is none. */
bool fl_transcript_size(const struct fl_transcript_record *record, int *ret_cols, int *ret_rows);

/* source.h - what the sources of aws:downloadContent share: a download on its way.
 *
 * A source says which files there are (fl_download_add), one after another or all at once, and then
 * fl_download_go. Files are fetched into the step's folder and put in place together.
 */
#pragma once
#include "plugins/plugin.h"

struct fl_download;

struct fl_download_source {
    const char *name;            /* sourceType */
    const struct fl_shape *info; /* of sourceInfo */
    /* Strings of sourceInfo that may be {{ssm-secure:NAME}}, by offset; SIZE_MAX ends. */
    const size_t *secrets;
    bool secrets_only; /* and nothing else */
    /* Begins. `info` lives as long as the download. A failure ends the step with `err`. */
    int (*start)(struct fl_download *d, const void *info, struct fl_err *err);
    /* For sources that run programs; both may be NULL. End now, because the step does: true if the
     * source will call fl_download_ended, false if there is nothing to wait for. */
    bool (*cancel)(struct fl_download *d);
    void (*release)(struct fl_download *d); /* after start, also one that failed */
};

extern const struct fl_download_source fl_source_http, fl_source_s3, fl_source_github,
    fl_source_ssm_document, fl_source_git;

struct fl_step *fl_download_step(struct fl_download *d);
struct fl_arena *fl_download_arena(struct fl_download *d);
const void *fl_download_info(struct fl_download *d);
void **fl_download_own(struct fl_download *d); /* a pointer of the source's, in the arena */

/* A file to be had by this call (strings copied into the arena; `download` and `upload` unset), to
 * be put at `path` below the destination. -EINVAL for a path that leads out of it, -E2BIG with too
 * many files. */
int fl_download_add(struct fl_download *d, const struct fl_step_request *request, const char *path,
                    struct fl_err *err);
/* A file whose content is here already. */
int fl_download_add_text(struct fl_download *d, const char *text, const char *path,
                         struct fl_err *err);

/* A file of `size` bytes whose content the source writes to *ret_fd (which it closes). -EFBIG with
 * more than there may be of all files. */
int fl_download_open(struct fl_download *d, const char *path, uint64_t size, int *ret_fd,
                     struct fl_err *err);
/* What may still be fetched, of all files together. */
uint64_t fl_download_left_bytes(const struct fl_download *d);

/* Everything was added. `single`: it is one file, which goes by the rules for one. */
void fl_download_go(struct fl_download *d, bool single);

/* What `cancel` asked for has ended: so does the step. */
void fl_download_ended(struct fl_download *d);
/* Ends the step. */
void fl_download_fail(struct fl_download *d, const struct fl_err *err);

/* A call of the source's own; its answer is in memory. Calls back unless the step ends. */
void fl_download_call(struct fl_download *d, const struct fl_step_request *request,
                      void (*done)(struct fl_download *d, const struct fl_step_answer *answer));

/* Words for an answer that is not the file: status or transport. */
int fl_download_judge(const char *what, const struct fl_step_answer *answer, struct fl_err *err);

/* stdstreams.h - a program's standard streams, at its beginning and at its end. */
#pragma once

/* Before anything else is opened: a standard stream that the caller closed would be the next file
 * or socket. Input becomes empty, words on standard error go nowhere, what is printed fails as it
 * would have without us (EBADF). */
void fl_stdstreams_open(void);

/* The program's exit status, once all is printed: `status`, or `failed` where that was 0 and what
 * was printed could not be written, which standard error is told ("<program>: standard output: …").
 * A reader that has enough is no news: then the process ends here, by SIGPIPE. */
int fl_stdstreams_finish(const char *program, int status, int failed);

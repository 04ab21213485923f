/* fetcher.h - HTTP calls for processes that do not speak HTTP themselves: each call goes to a fetch
 * process, which is asked for when one is needed and may leave when it has been idle.
 *
 * A call lost with its fetch process is sent once more to the next one, so calls must bear
 * repeating. A call for which the process has no good credentials waits for one that has.
 */
#pragma once
#include "agent/lib/ipc_net.h"
#include "common/base/loop.h"

#define FL_FETCHER_MAX_CALLS 32

struct fl_fetcher;

/* `answer->error` is 0 or a negative errno as in http.h; strings die after the call. */
typedef void (*fl_fetcher_done_fn)(void *arg, const struct fl_fetch_answer *answer);

/* Asks for a fetch process: fl_fetcher_attach or fl_fetcher_refused follows, also from inside. */
typedef void (*fl_fetcher_need_fn)(void *arg);

/* `conf` and its strings must outlive the object; NULL: the processes come configured. */
int fl_fetcher_new(struct fl_loop *loop, const struct fl_fetch_conf *conf, fl_fetcher_need_fn need,
                   void *arg, struct fl_fetcher **ret_fetcher);
/* Calls under way end with -ECANCELED: the time to free what belongs to them, not to start others.
 */
struct fl_fetcher *fl_fetcher_free(struct fl_fetcher *f);

/* The socket to a fresh fetch process; the fetcher's from now on. */
void fl_fetcher_attach(struct fl_fetcher *f, int fd);
/* There is none to be had: every call waiting fails with these words. */
void fl_fetcher_refused(struct fl_fetcher *f, const char *why);
/* There is none yet: in these words a call fails that waited for it as long as it may. */
void fl_fetcher_excuse(struct fl_fetcher *f, const char *why);

/* Files of a call: -1 for none, duplicated. A file that is written to is emptied to where it stands
 * before each try; after a failed or cancelled call it may still be written to for a moment. */
struct fl_fetcher_files {
    int body_fd, to_fd;
};

/* Starts a call (copied). `files` NULL: none; body_file and to_file of `call` are set from it.
 * `done` runs exactly once, later than the return, unless cancelled; waiting for a process counts
 * in timeout_ms. -EBUSY with FL_FETCHER_MAX_CALLS under
 * way. `ret_id` (may be NULL) is never 0. */
int fl_fetcher_call(struct fl_fetcher *f, const struct fl_fetch_call *call,
                    const struct fl_fetcher_files *files, fl_fetcher_done_fn done, void *arg,
                    uint32_t *ret_id);
void fl_fetcher_cancel(struct fl_fetcher *f, uint32_t id);

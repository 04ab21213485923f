/* folder.c - what the job folder says: the job, and how far its document came. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "agent/worker/worker_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define RECORD_MAX_BYTES (4u << 20)
#define LOCK_TRIES       20
#define LOCK_WAIT_US     10000

/* A run after a reboot begins with the step that asked for it. Of the results before only the bad
 * ones count, which are reported once more (protocol 4 §2.1, §6). */
static void go_on(struct worker *w)
{
    if (!w->boot_id[0])
        return;
    w->boot_id[0] = '\0';
    w->reboot = false;
    w->undelivered = false;
    w->resumed = true;
    w->next = w->reboot_step;
    w->n_results = 0;
    for (size_t i = 0; i < FL_STATUS__N; i++) {
        w->counts[i] = fl_status_is_bad((enum fl_status)i) ? w->counts[i] : 0;
        w->n_results += w->counts[i];
    }
}

static bool waits_for_boot(const struct worker *w)
{
    char boot_id[FL_BOOT_ID_BYTES];

    fl_boot_id(boot_id);
    return w->boot_id[0] && strcmp(boot_id, w->boot_id) == 0;
}

static void replay_record(struct worker *w, const struct fl_journal_record *rec)
{
    const struct fl_jrec_step_start *start = rec->in;
    const struct fl_jrec_step_child *child = rec->in;
    const struct fl_jrec_step_done *done = rec->in;
    const struct fl_jrec_reboot *reboot = rec->in;
    const struct fl_jrec_go_to *go_to = rec->in;
    enum fl_status status;

    switch (rec->type) {
    case FL_JREC_RUN:
        go_on(w);
        break;
    case FL_JREC_STEP_START:
        w->started = true;
        w->undelivered = false;
        w->start_ms = start->time_ms;
        w->group = (struct fl_group){ 0 };
        break;
    case FL_JREC_STEP_CHILD:
        w->group =
            (struct fl_group){ .leader = (pid_t)child->pid, .start_ticks = child->start_ticks };
        snprintf(w->group.boot_id, sizeof(w->group.boot_id), "%s",
                 child->boot_id ? child->boot_id : "");
        break;
    case FL_JREC_STEP_DONE:
        w->started = false;
        w->undelivered = done->stdout_bytes + done->stderr_bytes > 0;
        w->next = (size_t)done->index + 1;
        w->stopped |= done->stop;
        w->n_results++;
        if (fl_status_parse(done->status, &status) == 0) {
            w->counts[status]++;
            w->reboot |= status == FL_STATUS_SUCCESS_AND_REBOOT;
            fl_worker_go_to(w, status, w->go_to_next);
        }
        w->go_to_next = 0;
        break;
    case FL_JREC_DELIVERED:
        w->undelivered = false;
        break;
    case FL_JREC_GO_TO:
        w->go_to_next = (size_t)go_to->index;
        break;
    case FL_JREC_REBOOT:
        w->reboots++;
        w->reboot_step = (size_t)reboot->index;
        snprintf(w->boot_id, sizeof(w->boot_id), "%s", reboot->boot_id ? reboot->boot_id : "");
        break;
    case FL_JREC_DOC_DONE:
        w->done = true;
        break;
    default:
        break;
    }
}

static int replay(struct worker *w, struct fl_err *err)
{
    int r = 1;

    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
        struct fl_journal_record rec;
        r = fl_journal_read(&w->journal, &arena, &rec);
        if (r == 1)
            replay_record(w, &rec);
    }
    if (r == 0)
        r = fl_journal_cut(&w->journal);
    if (r < 0)
        return fl_err_set(err, r, NULL, "journal: %s", strerror(-r));
    return 0;
}

/* <state> of <state>/jobs/<command id>. */
static char *state_of(const char *path)
{
    fl_autofree char *real = realpath(path, NULL);

    for (int i = 0; real && i < 2 && strrchr(real, '/'); i++)
        *strrchr(real, '/') = '\0';
    return real ? strdup(*real ? real : "/") : NULL;
}

int fl_worker_open_folder(struct worker *w, struct fl_err *err)
{
    struct fl_jrec_run run = { .time_ms = fl_now_ms(), .pid = getpid() };
    int r;

    w->dir_fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dir_fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", w->path, strerror(errno));
    r = fl_jobdir_open(w->dir_fd, "journal", &w->journal, err);
    if (r < 0)
        return r;
    /* A monitor that looks whether a worker lives holds the lock for a moment. */
    for (int i = 0; (r = fl_jobdir_lock(w->journal.fd)) == -EWOULDBLOCK && i < LOCK_TRIES; i++)
        usleep(LOCK_WAIT_US);
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: another worker has this job", w->path);
    r = replay(w, err);
    if (r == 0)
        r = fl_jobdir_load(w->dir_fd, &w->arena, &w->job, err);
    if (r == 0 && !w->done && !w->cancelled && waits_for_boot(w))
        r = -EINPROGRESS;
    if (r == 0 && !w->done) {
        r = fl_journal_append(&w->journal, FL_JREC_RUN, &run, err);
        w->resumed = false;
        go_on(w);
    }
    w->downloads = fl_path_join(w->path, "steps/downloads");
    w->data = state_of(w->path);
    return r < 0 ? r : w->downloads && w->data ? 0 : -ENOMEM;
}

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

static void replay_record(struct worker *w, const struct fl_journal_record *rec)
{
    const struct fl_jrec_step_start *start = rec->in;
    const struct fl_jrec_step_child *child = rec->in;
    const struct fl_jrec_step_done *done = rec->in;
    enum fl_status status;

    switch (rec->type) {
    case FL_JREC_STEP_START:
        w->started = true;
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
        w->next = (size_t)done->index + 1;
        w->stopped |= done->stop;
        w->n_results++;
        if (fl_status_parse(done->status, &status) == 0) {
            w->counts[status]++;
            w->reboot |= status == FL_STATUS_SUCCESS_AND_REBOOT;
        }
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
    if (r == 0 && !w->done)
        r = fl_journal_append(&w->journal, FL_JREC_RUN, &run, err);
    w->downloads = fl_path_join(w->path, "steps/downloads");
    return r < 0 ? r : w->downloads ? 0 : -ENOMEM;
}

/* sessiondir.c - see sessiondir.h. */
#include "agent/lib/sessiondir.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/lib/jobdir.h"
#include "common/base/file.h"
#include "common/wire/datachannel.h"

#define F(type, member) FL_FIELD(struct type, member, #member, 0)
static const struct fl_field session_fields[] = {
    F(fl_session, session_id),
    F(fl_session, document_name),
    F(fl_session, owner),
    F(fl_session, content),
    F(fl_session, accepted_ms),
    F(fl_session, nonce),
    F(fl_session, node_id),
    F(fl_session, region),
    F(fl_session, mgs_region),
    F(fl_session, mgs_url),
    F(fl_session, kms_url),
    F(fl_session, agent_version),
    F(fl_session, ca_file),
    F(fl_session, proxy_http),
    F(fl_session, proxy_https),
    F(fl_session, no_proxy),
    F(fl_session, net_user),
    F(fl_session, user),
    F(fl_session, pam_service),
    F(fl_session, denied_ips),
    F(fl_session, log_level),
    F(fl_session, log_format),
    F(fl_session, require_challenge),
};
static const struct fl_field run_fields[] = {
    F(fl_srec_run, time_ms),
    F(fl_srec_run, pid),
};
static const struct fl_field child_fields[] = {
    F(fl_srec_child, pid),
    F(fl_srec_child, start_ticks),
    F(fl_srec_child, boot_id),
};
static const struct fl_field end_fields[] = {
    F(fl_srec_end, status),
    F(fl_srec_end, output),
};
static const struct fl_field places_fields[] = {
    F(fl_srec_places, bucket),
    F(fl_srec_places, key),
    F(fl_srec_places, log_group),
};
#undef F
static const struct fl_shape places_shape =
    FL_SHAPE(struct fl_srec_places, "Places", places_fields);
static const struct fl_shape session_shape = FL_SHAPE(struct fl_session, "Session", session_fields);
static const struct fl_shape run_shape = FL_SHAPE(struct fl_srec_run, "Run", run_fields);
static const struct fl_shape child_shape = FL_SHAPE(struct fl_srec_child, "Child", child_fields);
static const struct fl_shape end_shape = FL_SHAPE(struct fl_srec_end, "End", end_fields);

static const struct fl_journal_row rows[] = {
    { FL_SREC_SESSION, &session_shape }, { FL_SREC_RUN, &run_shape },
    { FL_SREC_CHILD, &child_shape },     { FL_SREC_END, &end_shape },
    { FL_SREC_PLACES, &places_shape },   { 0, NULL },
};

void fl_session_message_id(const char *nonce, char out[FL_UUID_BYTES])
{
    fl_job_reply_id(nonce, 0, FL_REPLY_FINAL, out);
}

static int create_file(int dir_fd, const char *name, struct fl_err *err)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd < 0 ? fl_err_set(err, -errno, NULL, "cannot create %s: %s", name, strerror(errno))
                  : fd;
}

static int fill(int dir_fd, const struct fl_session *session, struct fl_err *err)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    fl_autofd int journal = create_file(dir_fd, "journal", err);
    int fd = journal < 0 ? journal : create_file(dir_fd, "session", err);

    if (fd < 0)
        return fd;
    fl_journal_init(&j, fd, rows, 0);
    return fl_journal_append(&j, FL_SREC_SESSION, session, err);
}

int fl_sessiondir_create(const char *sessions_dir, const struct fl_session *session,
                         struct fl_err *err)
{
    fl_autofd int sessions_fd = open(sessions_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fl_autofd int dir_fd = -1;
    int r;

    if (sessions_fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", sessions_dir, strerror(errno));
    if (mkdirat(sessions_fd, session->session_id, 0700) < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", session->session_id, strerror(errno));
    dir_fd =
        openat(sessions_fd, session->session_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    r = dir_fd < 0 ? fl_err_set(err, -errno, NULL, "%s: %s", session->session_id, strerror(errno))
                   : fill(dir_fd, session, err);
    if (r < 0)
        fl_sessiondir_remove(sessions_dir, session->session_id);
    return r;
}

int fl_sessiondir_sync(int dir_fd, struct fl_journal *journal, struct fl_err *err)
{
    fl_autofd int session = openat(dir_fd, "session", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    fl_autofd int sessions_fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int fds[] = { session, journal->fd, dir_fd, sessions_fd };

    for (size_t i = 0; i < FL_ARRAY_LEN(fds); i++)
        if (fds[i] < 0 || fsync(fds[i]) < 0)
            return fl_err_set(err, -errno, NULL, "cannot sync a session folder: %s",
                              strerror(errno));
    return 0;
}

void fl_sessiondir_remove(const char *sessions_dir, const char *session_id)
{
    fl_autofree char *path = fl_path_join(sessions_dir, session_id);

    if (path)
        fl_dir_remove(path, NULL);
}

static int take_session(struct fl_journal *j, struct fl_arena *arena,
                        struct fl_session *ret_session, struct fl_err *err)
{
    struct fl_journal_record rec;
    const struct fl_session *s;
    int r = fl_journal_read(j, arena, &rec);

    if (r < 0 || r == 0 || rec.type != FL_SREC_SESSION)
        return fl_err_set(err, r < 0 ? r : -EBADMSG, NULL, "session: damaged");
    s = rec.in;
    if (!fl_session_id_valid(s->session_id) || !s->content || !s->nonce || !s->node_id ||
        !s->region || !s->mgs_region || !s->mgs_url || !s->kms_url || !s->agent_version ||
        !s->net_user || strlen(s->nonce) != FL_SESSION_NONCE_DIGITS)
        return fl_err_set(err, -EBADMSG, NULL, "session: damaged");
    *ret_session = *s;
    return 0;
}

int fl_sessiondir_load(int dir_fd, struct fl_arena *arena, struct fl_session *ret_session,
                       struct fl_err *err)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    int fd = openat(dir_fd, "session", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "session: %s", strerror(errno));
    fl_journal_init(&j, fd, rows, 0);
    return take_session(&j, arena, ret_session, err);
}

int fl_sessiondir_read(int file_fd, struct fl_arena *arena, struct fl_session *ret_session,
                       struct fl_err *err)
{
    struct fl_journal j;

    fl_journal_init(&j, file_fd, rows, 0);
    return take_session(&j, arena, ret_session, err);
}

static int read_log(struct fl_journal *j, struct fl_arena *arena, struct fl_session_log *log)
{
    struct fl_journal_record rec;
    int r;

    *log = (struct fl_session_log){ 0 };
    while ((r = fl_journal_read(j, arena, &rec)) == 1) {
        log->run |= rec.type == FL_SREC_RUN;
        if (rec.type == FL_SREC_CHILD)
            log->child = *(const struct fl_srec_child *)rec.in;
        if (rec.type == FL_SREC_PLACES)
            log->places = *(const struct fl_srec_places *)rec.in;
        if (rec.type == FL_SREC_END) {
            log->end = *(const struct fl_srec_end *)rec.in;
            log->ended = true;
        }
    }
    return r;
}

int fl_sessiondir_open(int dir_fd, bool lock, struct fl_arena *arena,
                       struct fl_journal *ret_journal, struct fl_session_log *ret_log,
                       struct fl_err *err)
{
    int fd = openat(dir_fd, "journal", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct fl_session_log log;
    struct fl_journal j;
    int r = fd < 0 ? -errno : 0;

    if (r < 0)
        return fl_err_set(err, r, NULL, "journal: %s", strerror(-r));
    fl_journal_init(&j, fd, rows, 0);
    if (lock)
        r = fl_jobdir_lock(fd);
    if (r == 0)
        r = read_log(&j, arena, &log);
    if (r == 0 && lock)
        r = fl_journal_cut(&j);
    if (r < 0) {
        fl_journal_done(&j);
        return fl_err_set(err, r, NULL, "journal: %s", strerror(-r));
    }
    *ret_journal = j;
    if (ret_log)
        *ret_log = log;
    return 0;
}

int fl_sessiondir_follow(int dir_fd, struct fl_arena *arena, struct fl_session_log *ret_log,
                         struct fl_err *err)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };

    return fl_sessiondir_open(dir_fd, false, arena, &j, ret_log, err);
}

int fl_sessiondir_note(struct fl_journal *journal, uint16_t type, const void *record,
                       struct fl_err *err)
{
    int r = fl_journal_append(journal, type, record, err);

    return r < 0 ? r : fl_journal_commit(journal, err);
}

/* sessions.c - see sessions.h: acceptance, what is found on disk, reports. */
#include "agent/monitor/sessions.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "agent/monitor/sessions_priv.h"
#include "agent/lib/text.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/datachannel.h"

#define RECORD_MAX_BYTES (1u << 20)
#define NAME_MAX_BYTES   512
#define UNREPORTED_MAX   1000 /* ended sessions whose reports nobody acknowledged */
#define START_AGAIN_MS                                                        \
    15000 /* after a restart, one that was not begun yet is begun if so young \
           */

/* ---- sessions in memory ---- */

static struct session *free_session(struct session *s)
{
    if (!s)
        return NULL;
    fl_session_detach(s);
    free(s->id);
    free(s->document_name);
    free(s->owner);
    free(s->output);
    free(s->bucket);
    free(s->key);
    free(s->log_group);
    free(s);
    return NULL;
}

static struct session *add_session(struct fl_sessions *all, const char *dir,
                                   const struct fl_session *from)
{
    struct session *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->all = all;
    s->dir = dir;
    s->id = strdup(from->session_id);
    s->document_name = strdup(from->document_name ? from->document_name : "");
    s->owner = strdup(from->owner ? from->owner : "");
    s->accepted_ms = from->accepted_ms;
    snprintf(s->nonce, sizeof(s->nonce), "%s", from->nonce);
    if (!s->id || !s->document_name || !s->owner)
        return free_session(s);
    TAILQ_INSERT_TAIL(&all->list, s, entry);
    all->n++;
    return s;
}

static void forget(struct session *s)
{
    struct fl_sessions *all = s->all;

    TAILQ_REMOVE(&all->list, s, entry);
    all->n--;
    all->n_ended -= s->state == SESSION_ENDED;
    free_session(s);
}

static struct session *find(struct fl_sessions *all, const char *id)
{
    struct session *s;

    TAILQ_FOREACH (s, &all->list, entry)
        if (strcmp(s->id, id) == 0)
            return s;
    return NULL;
}

void fl_sessions_each(const struct fl_sessions *all,
                      void (*fn)(void *arg, const struct fl_session_view *view), void *arg)
{
    static const char *const states[] = { "starting", "running", "uploading" };
    const struct session *s;

    TAILQ_FOREACH (s, &all->list, entry)
        if (s->state != SESSION_ENDED || fl_session_is_held(s))
            fn(arg, &(struct fl_session_view){ s->id, s->document_name, s->owner, states[s->state],
                                               s->accepted_ms });
}

int fl_session_open_dir(const struct session *s)
{
    fl_autofree char *path = fl_path_join(s->dir, s->id);
    int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;

    return fd < 0 ? (path ? -errno : -ENOMEM) : fd;
}

/* ---- reports ---- */

static int send_report(struct session *s)
{
    char id[FL_UUID_BYTES];

    fl_session_message_id(s->nonce, id);
    return s->all->conf.complete(
        s->all->conf.arg,
        &(struct fl_net_task_complete){ .session_id = s->id,
                                        .message_id = id,
                                        .status = fl_text(s->status),
                                        .output = s->output ? s->output : fl_text(""),
                                        .bucket = s->bucket,
                                        .key = s->key,
                                        .log_group = s->log_group,
                                        .time = (int32_t)s->sends + 1 });
}

/* Without the file the next monitor tells the end once more. */
static void note_told(const struct session *s)
{
    fl_autofd int dir_fd = fl_session_open_dir(s);
    int fd = openat(dir_fd, FL_SESSION_TOLD, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0)
        close(fd);
}

/* Nobody has to be told any more. Its folder goes with the last who needs it. */
static void settle(struct session *s)
{
    s->settled = true;
    if (fl_session_is_held(s)) {
        note_told(s);
        return;
    }
    /* The folder was the proof that its id was seen; after it the list is. */
    fl_seen_sync(&s->all->seen);
    fl_sessiondir_remove(s->dir, s->id);
    forget(s);
}

static void give_up(struct session *s)
{
    fl_log_warn("end of a session not acknowledged for a day", FL_S("session", s->id));
    settle(s);
}

/* Sends what is due, and sets the timer for what will be. */
static void pump(struct fl_sessions *all)
{
    int64_t now = fl_mono_ms(), due = INT64_MAX;
    struct session *s, *next;

    for (s = all->online ? TAILQ_FIRST(&all->list) : NULL; s; s = next) {
        next = TAILQ_NEXT(s, entry);
        if (s->state != SESSION_ENDED || s->settled || s->sends >= FL_SESSIONS_SENDS)
            continue;
        if (s->sends > 0 && now - s->sent_ms < FL_SESSIONS_SEND_MS) {
            due = FL_MIN(due, s->sent_ms + FL_SESSIONS_SEND_MS);
            continue;
        }
        if (s->ended_ms + FL_SESSIONS_KEEP_MS < fl_now_ms()) {
            give_up(s);
            continue;
        }
        if (send_report(s) == 0)
            s->sends++;
        s->sent_ms = now;
        due = FL_MIN(due, now + FL_SESSIONS_SEND_MS);
    }
    if (due == INT64_MAX)
        fl_timer_stop(all->timer);
    else
        fl_timer_start(all->timer, (uint64_t)(due - now));
}

static void on_timer(void *arg)
{
    pump(arg);
}

void fl_sessions_online(struct fl_sessions *all, bool online)
{
    struct session *s;

    all->online = online;
    TAILQ_FOREACH (s, &all->list, entry)
        s->sends = 0;
    pump(all);
}

void fl_sessions_acked(struct fl_sessions *all, const char *message_id)
{
    char id[FL_UUID_BYTES];
    struct session *s;

    TAILQ_FOREACH (s, &all->list, entry) {
        fl_session_message_id(s->nonce, id);
        if (s->state != SESSION_ENDED || !message_id || strcasecmp(id, message_id) != 0)
            continue;
        settle(s);
        return;
    }
}

static int write_end(struct session *s)
{
    fl_autofd int dir_fd = fl_session_open_dir(s);
    fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
    struct fl_journal j fl_autojournal = { .fd = -1 };
    int r = dir_fd < 0 ? dir_fd : fl_sessiondir_open(dir_fd, true, &arena, &j, NULL, NULL);

    if (r == 0)
        fl_sessiondir_sync(dir_fd, &j, NULL); /* it may never have had a holder */
    if (r == 0)
        r = fl_sessiondir_note(
            &j, FL_SREC_END,
            &(struct fl_srec_end){ .status = fl_text(s->status),
                                   .output = s->output ? s->output : fl_text("") },
            NULL);
    return r;
}

void fl_session_ended(struct session *s, const char *status, const char *output, bool keep)
{
    if (s->state == SESSION_ENDED)
        return;
    s->state = SESSION_ENDED;
    s->all->n_ended++;
    s->ended_ms = fl_now_ms();
    s->status = strcmp(status, FL_SESSION_SUCCESS) == 0 ? FL_SESSION_SUCCESS : FL_SESSION_FAILED;
    s->output = output && *output ? strndup(output, FL_SESSION_OUTPUT_MAX_BYTES) : NULL;
    s->judge = fl_judge_free(s->judge);
    fl_log_info("session ended", FL_S("session", s->id), FL_S("status", s->status),
                FL_S("why", s->output), FL_I("ms", s->ended_ms - s->accepted_ms));
    /* What cannot be kept is found out anew by the next start, in other words. */
    if (keep)
        write_end(s);
    if (s->all->conf.limit)
        fl_doclimit_sweep(s->all->conf.limit);
    pump(s->all);
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

void fl_session_ended_by_journal(struct session *s, const struct fl_session_log *log)
{
    const struct fl_srec_places *p = &log->places;

    if (s->state == SESSION_ENDED)
        return;
    s->bucket = copy(p->bucket);
    s->key = copy(p->key);
    s->log_group = copy(p->log_group);
    fl_session_ended(s, log->end.status ? log->end.status : FL_SESSION_FAILED, log->end.output,
                     false);
}

static bool has_record(const struct session *s)
{
    fl_autofd int dir_fd = fl_session_open_dir(s);

    return dir_fd >= 0 && faccessat(dir_fd, FL_SESSION_RECORD, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void fl_session_left(struct session *s)
{
    struct fl_err err = { 0 };

    fl_session_detach(s);
    if (!s->salvaged && has_record(s)) {
        s->salvaged = true;
        if (fl_session_salvage(s, &err) == 0)
            return;
        fl_session_detach(s);
        fl_log_warn("what a session printed is not delivered", FL_S("session", s->id),
                    FL_S("error", fl_err_text(&err)));
    }
    if (s->all->conf.limit)
        fl_doclimit_sweep(s->all->conf.limit);
    if (s->settled)
        settle(s);
}

/* ---- acceptance ---- */

static char *set(const char *s)
{
    return s && *s ? fl_text(s) : NULL;
}

/* On disk; if that takes nothing, in memory: whoever is to mend a full disk must get in. */
static struct session *keep(struct fl_sessions *all, const struct fl_net_session *in,
                            struct fl_err *err)
{
    const struct fl_agent_config *config = all->conf.config;
    const struct fl_net_start *net = all->conf.net;
    char nonce[FL_SESSION_NONCE_DIGITS + 1];
    const struct fl_session record = {
        .session_id = in->session_id,
        .document_name = in->document_name,
        .owner = in->owner,
        .content = in->content,
        .accepted_ms = fl_now_ms(),
        .nonce = nonce,
        .node_id = net->node_id,
        .region = net->region,
        .mgs_region = net->mgs_region,
        .mgs_url = net->mgs_url,
        .kms_url = fl_text(all->conf.kms_url),
        .agent_version = net->agent_version,
        .ca_file = set(net->ca_file),
        .proxy_http = set(net->proxy_http),
        .proxy_https = set(net->proxy_https),
        .no_proxy = set(net->no_proxy),
        .net_user = config->net_user,
        .user = set(config->session_user),
        .pam_service = set(config->pam_service),
        .denied_ips = config->denied_remote_ips,
        .require_challenge = config->require_kms_challenge,
        .log_level = config->log_level,
        .log_format = config->log_format,
    };
    int r = -ENOENT;

    fl_random_hex(nonce, FL_SESSION_NONCE_DIGITS);
    for (size_t i = 0; i < FL_ARRAY_LEN(all->dirs) && r < 0; i++) {
        r = fl_dir_make(all->dirs[i], 0700, err);
        if (r == 0)
            r = fl_sessiondir_create(all->dirs[i], &record, err);
        if (r == 0)
            return add_session(all, all->dirs[i], &record);
    }
    return NULL;
}

static bool acceptable(const struct fl_net_session *in)
{
    return in->session_id && fl_session_id_valid(in->session_id) && in->content &&
           strlen(in->content) <= FL_SESSION_CONTENT_MAX_BYTES &&
           (!in->document_name || strlen(in->document_name) <= NAME_MAX_BYTES) &&
           (!in->owner || strlen(in->owner) <= NAME_MAX_BYTES * 4);
}

void fl_sessions_handle(struct fl_sessions *all, const struct fl_net_session *in)
{
    bool full = all->n - all->n_ended >= (size_t)all->conf.config->session_workers;
    struct fl_err err = { 0 };
    struct session *s;

    if (!acceptable(in)) {
        fl_log_warn("session refused: malformed");
        return;
    }
    if (find(all, in->session_id) || fl_seen_has(&all->seen, in->session_id) == 1) {
        fl_log_debug("session known already", FL_S("session", in->session_id));
        return;
    }
    if (all->closed || all->n_ended >= UNREPORTED_MAX) {
        fl_log_warn("session not taken", FL_S("session", in->session_id));
        return;
    }
    s = keep(all, in, &err);
    if (!s) {
        fl_log_error("session refused: it cannot be kept", FL_S("session", in->session_id),
                     FL_S("error", fl_err_text(&err)));
        return;
    }
    fl_seen_add(&all->seen, s->id, s->accepted_ms);
    if (full) {
        fl_session_ended(s, FL_SESSION_FAILED, "fairlead: this node has too many sessions", true);
        return;
    }
    fl_log_info("session accepted", FL_S("session", s->id), FL_S("document", s->document_name),
                FL_S("owner", in->owner));
    fl_session_start(s);
}

void fl_sessions_end(struct fl_sessions *all, const char *session_id)
{
    struct session *s = session_id ? find(all, session_id) : NULL;

    if (!s || s->state == SESSION_ENDED || s->end_asked)
        return;
    s->end_asked = true;
    if (s->state == SESSION_NEW)
        fl_session_ended(s, FL_SESSION_SUCCESS, "", true);
    else
        fl_session_tell_end(s);
}

void fl_sessions_renew(struct fl_sessions *all)
{
    struct session *s;

    TAILQ_FOREACH (s, &all->list, entry)
        fl_session_tell_creds(s);
}

void fl_sessions_close(struct fl_sessions *all)
{
    all->closed = true;
}

/* ---- what is on disk at start ---- */

/* Finds out what the session is doing. */
static void resume(struct session *s, int dir_fd)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
    struct fl_journal j fl_autojournal = { .fd = -1 };
    struct fl_session_log log = { 0 };
    int r = fl_sessiondir_open(dir_fd, true, &arena, &j, &log, NULL);

    s->settled = faccessat(dir_fd, FL_SESSION_TOLD, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (r == -EWOULDBLOCK) {
        s->state = SESSION_RUNNING;
        fl_log_info("attached to a session", FL_S("session", s->id));
        fl_session_attach_or_probe(s);
        return;
    }
    fl_journal_done(&j);
    if (r == 0 && !log.ended && !log.run && fl_now_ms() - s->accepted_ms < START_AGAIN_MS) {
        fl_session_start(s);
        return;
    }
    if (r == 0 && log.ended)
        fl_session_ended_by_journal(s, &log);
    else
        fl_session_ended(s, FL_SESSION_FAILED,
                         "fairlead: the node's agent or the node itself was stopped in the middle "
                         "of this session",
                         true);
    fl_session_left(s);
}

static void load_entry(struct fl_sessions *all, const char *dir, const char *name)
{
    fl_autofree char *path = fl_path_join(dir, name);
    fl_autofd int dir_fd = -1;
    fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
    struct fl_session record;
    struct fl_err err = { 0 };
    struct session *s;
    int r;

    if (!path || !fl_session_id_valid(name))
        return;
    dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir_fd < 0)
        return;
    r = fl_sessiondir_load(dir_fd, &arena, &record, &err);
    if (r == 0 && (strcmp(record.session_id, name) != 0 ||
                   strcmp(record.node_id, all->conf.net->node_id) != 0))
        r = fl_err_set(&err, -EXDEV, NULL, "it is another's");
    if (r < 0) {
        /* Never accepted, damaged, or of another registration: there is nobody to tell. */
        fl_log_warn("session folder removed", FL_S("session", name),
                    FL_S("error", fl_err_text(&err)));
        fl_dir_remove(path, NULL);
        return;
    }
    s = add_session(all, dir, &record);
    if (s)
        resume(s, dir_fd);
}

static void load(struct fl_sessions *all, const char *path)
{
    DIR *dir = opendir(path);

    for (struct dirent *e; dir && (e = readdir(dir));)
        load_entry(all, path, e->d_name);
    if (dir)
        closedir(dir);
}

int fl_sessions_new(const struct fl_sessions_conf *conf, struct fl_sessions **ret_sessions,
                    struct fl_err *err)
{
    struct fl_sessions *all = calloc(1, sizeof(*all));
    fl_autofree char *seen = fl_path_join(conf->paths->state, "seen-sessions");
    int r = 0;

    if (!all)
        return -ENOMEM;
    all->conf = *conf;
    all->seen.fd = -1;
    TAILQ_INIT(&all->list);
    all->dirs[0] = fl_path_join(conf->paths->state, "sessions");
    all->dirs[1] = fl_path_join(conf->paths->runtime, "sessions");
    all->timer = fl_timer_new(conf->loop, on_timer, all);
    if (!seen || !all->dirs[0] || !all->dirs[1] || !all->timer)
        r = fl_err_nomem(err);
    if (r == 0)
        r = fl_seen_open(seen, fl_now_ms(), &all->seen, err);
    if (r < 0) {
        fl_sessions_free(all);
        return r;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(all->dirs); i++)
        load(all, all->dirs[i]);
    *ret_sessions = all;
    return 0;
}

struct fl_sessions *fl_sessions_free(struct fl_sessions *all)
{
    struct session *s;

    if (!all)
        return NULL;
    while ((s = TAILQ_FIRST(&all->list))) {
        TAILQ_REMOVE(&all->list, s, entry);
        free_session(s);
    }
    fl_timer_free(all->timer);
    fl_seen_close(&all->seen);
    for (size_t i = 0; i < FL_ARRAY_LEN(all->dirs); i++)
        free(all->dirs[i]);
    free(all);
    return NULL;
}

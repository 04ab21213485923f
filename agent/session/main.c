/* main.c - fairlead-agent-session: one session's part that faces the network (session.h). */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include "agent/lib/begun.h"
#include "agent/lib/role.h"
#include "agent/lib/sandbox.h"
#include "agent/lib/text.h"
#include "agent/session/session.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define MAX_START_BYTES (1u << 20)
#define MAX_CREDS_BYTES (64u << 10)
#define MMAP_THRESHOLD  65536 /* large buffers go back to the system when freed */

static struct {
    int argc;
    char **argv;
} command_line;

int64_t fl_sess_now_ms(const struct fl_sess *s)
{
    return fl_boot_ms() + s->creds.offset_ms;
}

bool fl_sess_is_ours(const struct fl_sess *s)
{
    return s->start.max_payload > 0 || s->start.handshake || s->start.end_of_input;
}

/* A struct outlives its message by a round through its packed form. */
static int keep(uint16_t type, const void *in, struct fl_arena *arena, void *out)
{
    fl_autobuf struct fl_buf packed = FL_BUF(MAX_START_BYTES);
    const struct fl_shape *shape = NULL;
    int r;

    packed.secret = true;
    for (size_t i = 0; i < FL_N_SESS_ROWS; i++)
        if (fl_sess_rows[i].type == type)
            shape = fl_sess_rows[i].shape;
    r = fl_pack_encode(shape, in, &packed);
    return r < 0 ? r : fl_pack_decode(shape, packed.data, packed.len, arena, out);
}

/* ---- what the holder is told ---- */

void fl_sess_run(struct fl_sess *s)
{
    fl_ipc_send(s->holder, FL_SESS_RUN, 0, &s->size, NULL, 0);
}

void fl_sess_signal(struct fl_sess *s, int signo)
{
    fl_ipc_send(s->holder, FL_SESS_SIGNAL, 0, &(struct fl_sess_signal){ signo }, NULL, 0);
}

void fl_sess_over(struct fl_sess *s)
{
    const struct fl_sess_over over = { .status = s->status ? s->status : fl_text(FL_SESSION_FAILED),
                                       .output = s->output ? s->output : fl_text("") };

    if (fl_ipc_send(s->holder, FL_SESS_OVER, 0, &over, NULL, 0) < 0)
        fl_loop_stop(s->loop);
}

/* ---- what it says ---- */

static char *none_if_empty(char *text)
{
    return text && *text ? text : NULL;
}

static int set_up(struct fl_sess *s, struct fl_err *err)
{
    const struct fl_sess_start *in = &s->start;
    struct fl_ws_client_conf ws_conf = { .proxy = &s->proxy };
    int r;

    s->proxy.http = in->proxy_http ? strdup(in->proxy_http) : NULL;
    s->proxy.https = in->proxy_https ? strdup(in->proxy_https) : NULL;
    s->proxy.no_proxy = in->no_proxy ? strdup(in->no_proxy) : NULL;
    s->ca_path = fl_role_ca_path(command_line.argc, command_line.argv, in->ca_file);
    ws_conf.ca_file = s->ca_path;
    r = fl_ws_client_new(s->loop, &ws_conf, &s->ws_client, err);
    if (r < 0)
        fl_role_ca_rename(err, in->ca_file);
    if (r == 0)
        r = fl_sess_new(s, err);
    if (r == 0)
        r = fl_data_new(s, &s->data, err);
    return r;
}

static int on_start(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_sess *s = arg;
    struct fl_sess_start *in = &s->start;
    int r;

    if (in->session_id)
        return fl_err_set(err, -EPROTO, NULL, "a second start");
    r = keep(FL_SESS_START, msg->in, &s->start_arena, in);
    if (r < 0)
        return r;
    if (msg->n_fds == 1) {
        s->record_fd = FL_TAKE_FD(msg->fds[0]);
        s->record_left = in->record_max_bytes;
    }
    fl_role_log_setup(in->log_level, in->log_format, "session");
    in->ca_file = none_if_empty(in->ca_file);
    in->proxy_http = none_if_empty(in->proxy_http);
    in->proxy_https = none_if_empty(in->proxy_https);
    in->no_proxy = none_if_empty(in->no_proxy);
    if (!in->session_id || !in->node_id || !in->region || !in->mgs_region || !in->mgs_url ||
        !in->kms_url || !in->agent_version || !in->type)
        return fl_err_set(err, -EPROTO, NULL, "an incomplete start");
    r = set_up(s, err);
    if (r < 0) {
        fl_sess_end(s, FL_SESSION_FAILED, fl_err_text(err));
        return 0;
    }
    return 0;
}

static int on_creds(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_sess *s = arg;
    int r;

    if (!s->start.session_id)
        return fl_err_set(err, -EPROTO, NULL, "credentials before start");
    fl_arena_done(&s->creds_arena);
    fl_arena_init(&s->creds_arena, MAX_CREDS_BYTES);
    s->creds_arena.secret = true;
    s->creds = (struct fl_holder_creds){ 0 };
    r = keep(FL_SESS_CREDS, msg->in, &s->creds_arena, &s->creds);
    if (r < 0 || !s->creds.access_key_id || !s->creds.secret_access_key)
        return fl_err_set(err, -EPROTO, NULL, "incomplete credentials");
    if (s->data) {
        fl_data_fresh_creds(s->data);
        fl_data_start(s->data);
    }
    return 0;
}

static int on_child(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_sess_child *in = msg->in;
    struct fl_sess *s = arg;
    struct fl_err why = { 0 };

    if (!s->type || !s->type->child)
        return fl_err_set(err, -EPROTO, NULL, "nobody asked for a child");
    if (s->phase != FL_SESS_CARRYING)
        return 0;
    if (!in->ok)
        s->type->not_started(s, in->error ? in->error : "");
    else if (s->type->child(s, msg->fds, msg->n_fds, &why) < 0)
        fl_sess_finish(s, FL_SESSION_FAILED, fl_err_text(&why));
    return 0;
}

static int on_exited(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_sess_exited *in = msg->in;
    struct fl_sess *s = arg;

    if (s->type && s->type->exited && s->phase == FL_SESS_CARRYING)
        s->type->exited(s, in->code);
    return 0;
}

static int on_end(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    fl_sess_end(arg, FL_SESSION_SUCCESS, "");
    return 0;
}

static int on_kept(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_sess *s = arg;

    s->kept = true;
    if (s->data)
        fl_data_kept(s->data);
    return 0;
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    struct fl_sess *s = arg;

    if (why != 0)
        fl_log_error("connection to the holder ended", FL_S("error", fl_err_text(err)));
    fl_loop_stop(s->loop);
}

static const struct fl_ipc_binding bindings[] = {
    { FL_SESS_START, on_start },   { FL_SESS_CREDS, on_creds }, { FL_SESS_CHILD, on_child },
    { FL_SESS_EXITED, on_exited }, { FL_SESS_END, on_end },     { FL_SESS_KEPT, on_kept },
};

/* ---- the process ---- */

static void tear_down(struct fl_sess *s)
{
    s->phase = FL_SESS_ENDED;
    /* Calls go before what they are made with; connections end with their callbacks, so what those
     * call goes after them. */
    fl_greet_free(s);
    fl_data_stop(s->data);
    s->ws_client = fl_ws_client_free(s->ws_client);
    s->data = fl_data_free(s->data);
    fl_sess_free(s);
    s->holder = fl_ipc_free(s->holder);
    s->loop = fl_loop_free(s->loop);
    fl_proxy_conf_done(&s->proxy);
    fl_arena_done(&s->start_arena);
    fl_arena_done(&s->creds_arena);
    if (s->record_fd >= 0)
        close(s->record_fd);
}

int main(int argc, char **argv)
{
    struct fl_sess s = { .record_fd = -1 };
    struct fl_err err = { 0 };
    int r;

    if (!fl_begun("fairlead-agent-session", fl_begun_with_socket(FL_ROLE_SOCKET_FD)))
        return 2;
    prctl(PR_SET_NAME, "fairlead-sess"); /* it was run through a descriptor */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    mallopt(M_TRIM_THRESHOLD, MMAP_THRESHOLD);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* of a terminal: the agent's */
    fl_role_log_setup(NULL, NULL, "session");
    command_line.argc = argc;
    command_line.argv = argv;
    fl_arena_init(&s.start_arena, MAX_START_BYTES);
    fl_arena_init(&s.creds_arena, MAX_CREDS_BYTES);
    fl_ipc_bind(fl_sess_rows, FL_N_SESS_ROWS, bindings, FL_ARRAY_LEN(bindings), s.rows);
    fl_loop_pool_size(1); /* for name lookups, one at a time */
    r = fl_sandbox_enter(&err);
    if (r == 0)
        r = fl_loop_new(&s.loop);
    if (r == 0)
        r = fl_ipc_new(s.loop, FL_ROLE_SOCKET_FD, s.rows, FL_N_SESS_ROWS, on_close, &s, &s.holder);
    if (r < 0) {
        fl_log_error("cannot start", FL_S("error", err.text[0] ? err.text : strerror(-r)));
        return 1;
    }
    fl_loop_run(s.loop);
    tear_down(&s);
    return 0;
}

/* main.c - fairlead-agent-fetch: HTTP calls for a process of the agent that asks over descriptor 3.
 *
 * Unprivileged and short-lived: it ends after a while without calls, so that the idle agent carries
 * no HTTP library. Whoever holds the other end is trusted no further than the calls it may ask for.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include "agent/fetch/fetch.h"
#include "agent/lib/begun.h"
#include "agent/lib/role.h"
#include "agent/lib/sandbox.h"
#include "common/base/log.h"

#define DEFAULT_IDLE_MS 10000
#define FIRST_CALL_MS   30000
#define MAX_CONF_BYTES  (256 << 10)

static void on_idle(void *arg)
{
    struct fl_fetch *f = arg;

    fl_loop_stop(f->loop);
}

static char *copy(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

static int on_conf(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    fl_autobuf struct fl_buf packed = FL_BUF(MAX_CONF_BYTES);
    struct fl_fetch *f = arg;
    int r;

    if (f->http)
        return fl_err_set(err, -EPROTO, NULL, "a second configuration");
    /* A struct outlives its message by a round through its packed form. */
    r = fl_pack_encode(&fl_shape_fetch_conf, msg->in, &packed);
    if (r == 0)
        r = fl_pack_decode(&fl_shape_fetch_conf, packed.data, packed.len, &f->conf_arena, &f->conf);
    if (r < 0)
        return r;
    if (packed.data)
        explicit_bzero(packed.data, packed.len);
    fl_role_log_setup(f->conf.log_level, f->conf.log_format, "fetch");
    f->conf.idle_ms = f->conf.idle_ms > 0 ? f->conf.idle_ms : DEFAULT_IDLE_MS;
    f->offset_ms = f->conf.offset_ms;
    f->proxy.http = copy(f->conf.proxy_http);
    f->proxy.https = copy(f->conf.proxy_https);
    f->proxy.no_proxy = copy(f->conf.no_proxy);
    r = fl_proxy_from_env(&f->proxy);
    if (r < 0)
        return r;
    return fl_http_new(
        f->loop,
        &(struct fl_http_conf){ .ca_file = fl_role_ca_path(f->argc, f->argv, f->conf.ca_file),
                                .proxy = &f->proxy,
                                .user_agent = f->conf.user_agent },
        &f->http, err);
}

static int on_call(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    return fl_fetch_begin(arg, msg, err);
}

static int on_cancel(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    fl_fetch_cancel(arg, msg->id);
    return 0;
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    struct fl_fetch *f = arg;

    if (why != 0)
        fl_log_error("connection to the agent ended", FL_S("error", fl_err_text(err)));
    fl_loop_stop(f->loop);
}

int main(int argc, char **argv)
{
    struct fl_fetch f = { .conf.idle_ms = DEFAULT_IDLE_MS, .argc = argc, .argv = argv };
    static const struct fl_ipc_binding bindings[] = { { FL_FETCH_CONF, on_conf },
                                                      { FL_FETCH_CALL, on_call },
                                                      { FL_FETCH_CANCEL, on_cancel } };
    struct fl_ipc_row rows[FL_N_FETCH_ROWS];
    struct fl_err err = { 0 };
    int r;

    if (!fl_begun("fairlead-agent-fetch", fl_begun_with_socket(FL_ROLE_SOCKET_FD)))
        return 2;
    prctl(PR_SET_NAME,
          "fairlead-fetch"); /* it was run through a descriptor, whose number it would bear */
    mallopt(M_ARENA_MAX, 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* of a terminal: whoever asks ends us in order */
    fl_role_log_setup(NULL, NULL, "fetch");
    fl_arena_init(&f.conf_arena, 2 * MAX_CONF_BYTES);
    LIST_INIT(&f.tasks);
    fl_ipc_bind(fl_fetch_rows, fl_n_fetch_rows, bindings, FL_ARRAY_LEN(bindings), rows);

    r = fl_sandbox_enter(&err);
    if (r == 0)
        r = fl_loop_new(&f.loop);
    if (r == 0) {
        f.idle = fl_timer_new(f.loop, on_idle, &f);
        r = f.idle ? fl_ipc_new(f.loop, FL_ROLE_SOCKET_FD, rows, FL_ARRAY_LEN(rows), on_close, &f,
                                &f.ipc)
                   : -ENOMEM;
    }
    if (r < 0) {
        fl_log_error("cannot start", FL_S("error", err.text[0] ? err.text : strerror(-r)));
        return 1;
    }
    fl_timer_start(f.idle, FIRST_CALL_MS);
    fl_loop_run(f.loop);

    /* First the calls, whose callbacks still want to answer. */
    f.http = fl_http_free(f.http);
    f.ipc = fl_ipc_free(f.ipc);
    f.idle = fl_timer_free(f.idle);
    f.loop = fl_loop_free(f.loop);
    fl_proxy_conf_done(&f.proxy);
    fl_arena_done(&f.conf_arena);
    return 0;
}

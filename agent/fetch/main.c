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
#include "agent/lib/ipc_net.h"
#include "agent/lib/role.h"
#include "agent/lib/sandbox.h"
#include "agent/lib/text.h"
#include "common/base/log.h"
#include "common/net/http.h"

#define MAX_CALLS          64
#define MAX_HEADERS        64
#define MAX_RESPONSE_BYTES (3u << 20) /* an answer must fit a frame */
#define DEFAULT_IDLE_MS    10000
#define FIRST_CALL_MS      30000

struct fetch {
    struct fl_loop *loop;
    struct fl_ipc *ipc;
    struct fl_timer *idle;
    struct fl_http *http;
    struct fl_proxy_conf proxy;
    char *ca_file; /* as the user named it */
    char *ca_path; /* as it is opened */
    char *user_agent;
    int64_t idle_ms;
    unsigned n_calls;
    int argc;
    char **argv;
};

struct call {
    struct fetch *fetch;
    uint32_t id;
};

static void on_idle(void *arg)
{
    struct fetch *f = arg;

    fl_loop_stop(f->loop);
}

static void answer(struct fetch *f, uint32_t id, const struct fl_fetch_answer *a)
{
    if (fl_ipc_send(f->ipc, FL_FETCH_ANSWER, id, a, NULL, 0) < 0)
        fl_ipc_send(f->ipc, FL_FETCH_ANSWER, id,
                    &(struct fl_fetch_answer){ .error = -EMSGSIZE,
                                               .error_text = fl_text("answer is too large") },
                    NULL, 0);
}

static void on_done(void *arg, int r, const struct fl_http_response *resp, const struct fl_err *err)
{
    struct call *c = arg;
    struct fetch *f = c->fetch;
    struct fl_fetch_answer a = { .error = r };
    struct fl_err words = { 0 };

    if (err)
        words = *err;
    fl_role_ca_rename(&words, f->ca_file);
    if (resp) {
        /* Read as a C string from here on: a NUL must not hide what follows. */
        for (size_t i = 0; i < resp->body_len; i++)
            if (resp->body[i] == '\0')
                (fl_text(resp->body))[i] = ' ';
        a.status = resp->status;
        a.body = fl_text(resp->body);
        a.date = fl_text(resp->date);
    }
    if (r < 0)
        a.error_text = fl_text(fl_err_text(&words));
    answer(f, c->id, &a);
    free(c);
    if (--f->n_calls == 0)
        fl_timer_start(f->idle, (uint64_t)f->idle_ms);
}

static char *copy(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

static int on_conf(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_fetch_conf *in = msg->in;
    struct fetch *f = arg;
    int r;

    if (f->http)
        return fl_err_set(err, -EPROTO, NULL, "a second configuration");
    fl_role_log_setup(in->log_level, in->log_format, "fetch");
    f->proxy.http = copy(in->proxy_http);
    f->proxy.https = copy(in->proxy_https);
    f->proxy.no_proxy = copy(in->no_proxy);
    f->user_agent = copy(in->user_agent);
    f->ca_file = copy(in->ca_file);
    f->ca_path = copy(fl_role_ca_path(f->argc, f->argv, f->ca_file));
    f->idle_ms = in->idle_ms > 0 ? in->idle_ms : DEFAULT_IDLE_MS;
    r = fl_proxy_from_env(&f->proxy);
    if (r < 0)
        return r;
    return fl_http_new(f->loop,
                       &(struct fl_http_conf){
                           .ca_file = f->ca_path, .proxy = &f->proxy, .user_agent = f->user_agent },
                       &f->http, err);
}

static int on_call(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_fetch_call *in = msg->in;
    struct fl_http_header headers[MAX_HEADERS];
    struct fetch *f = arg;
    struct fl_http_call *http_call;
    struct fl_err why = { 0 };
    struct call *c;
    int r;

    if (!f->http || !in->method || !in->url || in->n_headers > MAX_HEADERS)
        return fl_err_set(err, -EPROTO, NULL, "a call that makes no sense");
    for (size_t i = 0; i < in->n_headers; i++)
        headers[i] = (struct fl_http_header){ in->headers[i].name, in->headers[i].value };
    c = f->n_calls < MAX_CALLS ? calloc(1, sizeof(*c)) : NULL;
    r = c ? 0 : fl_err_set(&why, -EBUSY, NULL, "too many calls at once");
    if (r == 0) {
        *c = (struct call){ f, msg->id };
        r = fl_http_start(
            f->http,
            &(struct fl_http_request){
                .method = in->method,
                .url = in->url,
                .headers = headers,
                .n_headers = in->n_headers,
                .body = in->body,
                .body_len = in->body ? strlen(in->body) : 0,
                .timeout_ms = (uint32_t)FL_MIN(FL_MAX(in->timeout_ms, 0), 600000),
                .max_response_bytes =
                    in->max_response_bytes > 0
                        ? (size_t)FL_MIN(in->max_response_bytes, (int64_t)MAX_RESPONSE_BYTES)
                        : 0,
            },
            on_done, c, &http_call, &why);
    }
    if (r < 0) {
        free(c);
        fl_role_ca_rename(&why, f->ca_file);
        answer(f, msg->id,
               &(struct fl_fetch_answer){ .error = r, .error_text = fl_text(fl_err_text(&why)) });
        return 0;
    }
    f->n_calls++;
    fl_timer_stop(f->idle);
    return 0;
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    struct fetch *f = arg;

    if (why != 0)
        fl_log_error("connection to the agent ended", FL_S("error", fl_err_text(err)));
    fl_loop_stop(f->loop);
}

int main(int argc, char **argv)
{
    struct fetch f = { .idle_ms = DEFAULT_IDLE_MS, .argc = argc, .argv = argv };
    static const struct fl_ipc_binding bindings[] = { { FL_FETCH_CONF, on_conf },
                                                      { FL_FETCH_CALL, on_call } };
    struct fl_ipc_row rows[FL_N_FETCH_ROWS];
    struct fl_err err = { 0 };
    int r;

    prctl(PR_SET_NAME,
          "fairlead-fetch"); /* it was run through a descriptor, whose number it would bear */
    mallopt(M_ARENA_MAX, 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* of a terminal: whoever asks ends us in order */
    fl_role_log_setup(NULL, NULL, "fetch");
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
    free(f.ca_file);
    free(f.ca_path);
    free(f.user_agent);
    return 0;
}

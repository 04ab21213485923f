/* forward.c - `fairlead forward`: local ports that end on a node, or on a host it reaches. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "cli/command.h"
#include "cli/nodes.h"
#include "cli/params.h"
#include "cli/term.h"
#include "cli/tunnel.h"

#define ARENA_BYTES   (4 << 20)
#define FORWARDS_MAX  32
#define DOCUMENT      "AWS-StartPortForwardingSession"
#define HOST_DOCUMENT "AWS-StartPortForwardingSessionToRemoteHost"

struct forward {
    struct forwards *all;
    struct fl_forward_spec spec;
    struct fl_tunnel *tunnel;
    struct fl_session *session;
    const char *id; /* NULL: not started */
    bool ended;
};

struct forwards {
    struct fl_cli *cli;
    const char *node; /* as the user wrote it */
    struct forward v[FORWARDS_MAX];
    size_t n;
    bool quiet, done;
    int status;
};

struct forward_options {
    const char *host, *reason;
    bool quiet;
};
static const struct fl_opt forward_options[] = {
#define O(...) FL_OPT(struct forward_options, __VA_ARGS__)
    O(host, 'H', "host", "HOST", "a host that the node reaches, in place of the node itself"),
    O(reason, 'm', "reason", "TEXT", "what it is for; lists and audit show it"),
    O(quiet, 'q', "quiet", NULL, "print nothing but errors"),
#undef O
};

extern const struct fl_command fl_cmd_forward;

static void leave(struct forwards *all, int status)
{
    all->status = status;
    all->done = true;
    fl_loop_stop(fl_cli_loop(all->cli, NULL));
}

/* ---- a session ---- */

static void put_listening(const struct forward *f)
{
    const char *host = f->spec.host[0] ? f->spec.host : f->all->node;

    if (f->all->cli->json)
        printf("{\"Local\":\"%s\",\"LocalPort\":%u,\"Remote\":\"%s\",\"RemotePort\":%u,"
               "\"SessionId\":\"%s\"}\n",
               fl_tunnel_name(f->tunnel), fl_tunnel_port(f->tunnel), host, f->spec.remote, f->id);
    else if (!f->all->quiet)
        printf("%s -> %s:%u\n", fl_tunnel_name(f->tunnel), host, f->spec.remote);
    fflush(stdout);
}

static void on_ready(void *arg, const struct fl_session_info *info)
{
    struct forward *f = arg;
    struct fl_err err = { 0 };
    int r;

    if (f->all->done)
        return;
    r = fl_tunnel_begin(f->tunnel, f->session, info, NULL, NULL);
    if (r < 0) {
        leave(f->all, fl_cli_failed(r, &err));
    } else {
        put_listening(f);
    }
}

static void on_output(void *arg, uint32_t type, const char *data, size_t len)
{
    struct forward *f = arg;

    if (!f->all->done && type == FL_DATA_TYPE_OUTPUT && fl_tunnel_input(f->tunnel, data, len) < 0)
        leave(f->all, fl_cli_fail(&(struct fl_err){
                          .code = -EBADMSG, .text = "the node sent what cannot be understood" }));
}

static void on_room(void *arg)
{
    struct forward *f = arg;

    if (!f->all->done)
        fl_tunnel_room(f->tunnel);
}

static void on_note(void *arg, const char *text)
{
    const struct forward *f = arg;

    if (f->all->quiet)
        return;
    fprintf(stderr, "fairlead: %s: ", fl_tunnel_name(f->tunnel));
    fl_put_text(stderr, text);
    fputc('\n', stderr);
}

/* Once for each connection that the node could not make. */
static void on_flag(void *arg, uint32_t flag, const char *why)
{
    const struct forward *f = arg;

    if (flag != FL_DATA_FLAG_CONNECT_ERROR || f->all->done)
        return;
    fprintf(stderr, "fairlead: %s: the node could not connect to %s:%u%s",
            fl_tunnel_name(f->tunnel), f->spec.host[0] ? f->spec.host : "localhost", f->spec.remote,
            *why ? ": " : "");
    fl_put_text(stderr, why);
    fputc('\n', stderr);
}

static void on_end(void *arg, int r, const char *text)
{
    struct forward *f = arg;

    (void)r;
    text = fl_session_words(text);
    f->ended = true;
    if (f->all->done)
        return;
    fprintf(stderr, "fairlead: %s: the session has ended%s", fl_tunnel_name(f->tunnel),
            *text ? ": " : "");
    fl_put_text(stderr, text);
    fputc('\n', stderr);
    leave(f->all, FL_EXIT_SERVICE);
}

static const struct fl_session_events session_events = {
    .on_ready = on_ready,
    .on_output = on_output,
    .on_flag = on_flag,
    .on_room = on_room,
    .on_note = on_note,
    .on_end = on_end,
};

/* ---- all of them ---- */

static int read_specs(struct forwards *all, const struct fl_args *args,
                      const struct forward_options *o)
{
    for (size_t i = 1; i < args->n; i++) {
        struct forward *f = &all->v[all->n];
        struct fl_err err = { 0 };

        if (fl_forward_spec_parse(args->v[i], &f->spec, &err) < 0)
            return fl_usage(&fl_cmd_forward, "%s", fl_err_text(&err));
        if (o->host && strlen(o->host) >= sizeof(f->spec.host))
            return fl_usage(&fl_cmd_forward, "--host: too long");
        if (o->host && !f->spec.host[0])
            snprintf(f->spec.host, sizeof(f->spec.host), "%s", o->host);
        f->all = all;
        all->n++;
    }
    return FL_EXIT_OK;
}

static int start_one(struct forward *f, const char *node, const char *reason,
                     struct fl_arena *arena, struct fl_err *err)
{
    struct fl_session_wish wish = { .node = node,
                                    .document = f->spec.host[0] ? HOST_DOCUMENT : DOCUMENT,
                                    .reason = reason };
    json_t *all = json_object();
    struct fl_session_grant grant;
    char port[8], local[8];
    int r = 0;

    snprintf(port, sizeof(port), "%u", f->spec.remote);
    snprintf(local, sizeof(local), "%u", fl_tunnel_port(f->tunnel));
    if (f->spec.host[0])
        r = fl_params_add(all, "host", f->spec.host);
    if (r == 0)
        r = fl_params_add(all, "portNumber", port);
    if (r == 0)
        r = fl_params_add(all, "localPortNumber", local);
    if (r == 0)
        r = fl_params_raw(all, arena, &wish.parameters);
    json_decref(all);
    if (r == 0)
        r = fl_session_start(f->all->cli, &wish, arena, &grant, err);
    if (r < 0)
        return r;
    f->id = grant.id;
    return fl_session_new(f->all->cli, &grant, &session_events, f, &f->session, err);
}

/* All listeners first: a port that is taken is found before anything was started. */
static int start_all(struct forwards *all, const struct forward_options *o, struct fl_arena *arena,
                     struct fl_err *err)
{
    struct fl_loop *loop = fl_cli_loop(all->cli, err);
    const char *id = NULL;
    int r = loop ? 0 : -ENOMEM;

    for (size_t i = 0; i < all->n && r == 0; i++)
        r = fl_tunnel_new(loop, &all->v[i].spec, &all->v[i].tunnel, err);
    if (r == 0)
        r = fl_node_find_one(all->cli, all->node, arena, &id, err);
    for (size_t i = 0; i < all->n && r == 0; i++)
        r = start_one(&all->v[i], id, o->reason, arena, err);
    return r;
}

static void end_all(struct forwards *all)
{
    for (size_t i = 0; i < all->n; i++) {
        struct forward *f = &all->v[i];

        fl_tunnel_free(f->tunnel);
        if (f->session && !f->ended)
            fl_session_leave(f->session);
        if (f->id && !f->ended)
            fl_session_terminate(all->cli, f->id, NULL);
        fl_session_free(f->session);
    }
}

static void on_signal(void *arg, int signo)
{
    leave(arg, 128 + signo);
}

static int run_forward(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    static const int signos[] = { SIGINT, SIGTERM, SIGHUP };
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct forward_options *o = options;
    struct forwards all = { .cli = cli, .node = args->v[0], .quiet = o->quiet };
    struct fl_signal *signals[FL_ARRAY_LEN(signos)] = { 0 };
    struct fl_err err = { 0 };
    int r = read_specs(&all, args, o);

    if (r)
        return r;
    for (size_t i = 0; i < FL_ARRAY_LEN(signos) && r == 0; i++) {
        struct fl_loop *loop = fl_cli_loop(cli, &err);

        signals[i] = loop ? fl_signal_new(loop, signos[i], on_signal, &all) : NULL;
        r = signals[i] ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = start_all(&all, o, &arena, &err);
    if (r == 0)
        fl_cli_wait(cli, &all.done, 0);
    end_all(&all);
    for (size_t i = 0; i < FL_ARRAY_LEN(signos); i++)
        fl_signal_free(signals[i]);
    if (r == 0)
        return all.status;
    return fl_cli_failed(r, &err);
}

const struct fl_command fl_cmd_forward = {
    .name = "forward",
    .args = "NODE [BIND:]LOCAL:[HOST:]REMOTE...",
    .summary = "Make ports of a node, or of hosts it reaches, local ones",
    .text =
        "Each argument is one forward. LOCAL is a port to listen on here, 0 for any that is free, "
        "or the path of a Unix socket; PORT alone is PORT:PORT. BIND is an address to listen on, "
        "* for all; without, it is loopback. REMOTE is the port on the node, or on HOST as the "
        "node sees it. For each forward that is open, a line \"ADDRESS -> HOST:PORT\" is "
        "printed.\n\n"
        "It runs until Ctrl-C. A connection to the plane that is lost is made again, and the "
        "forwarded connections go on.\n\n"
        "    fairlead forward web1 8080:80\n"
        "    fairlead forward web1 0:5432 /tmp/db.sock:db.internal:5432",
    FL_OPTIONS(struct forward_options, forward_options),
    .min_args = 2,
    .max_args = FORWARDS_MAX + 1,
    .complete = FL_COMPLETE_NODE,
    .run = run_forward,
};

/* server_lws.c - see server_lws.h. The only module that sees libwebsockets.
 *
 * Facts about Debian's lws 4.1.6 that shape it, each of them seen here:
 * - lws_write() keeps the rest of a partial write and reads nothing more from that connection until
 *   it is gone, while the poll stays armed: a busy loop, and a deadlock when both ends do so. So
 *   bytes are written here, with SSL_write or send, and lws only tells when there is room.
 * - With a borrowed libuv loop, destroying a context takes two calls: the first closes the handles,
 *   the second, after the loop has run their close callbacks, frees the memory.
 * - Its timers are armed only after lws has served some event, and "cancel" fires at once: timers
 * are the loop's here.
 * - Every vhost reads the proxy variables from the environment unless it is given an address.
 * - It puts every connection into one list sorted by time-out and walks that list to do so. With
 *   10,000 idle connections left in it, that walk was most of what a new connection cost.
 */
#include "common/net/server_lws.h"
#include <errno.h>
#include <libwebsockets.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/net/tls_suites.h"

#define READ_BYTES (17 * 1024) /* a whole TLS record at a time: none is left inside OpenSSL */
#define LONG_S     86400       /* lws's own handshake timeout, beyond any of ours */

#define TLS_OPTIONS (SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT)

#define PROTOCOL_NAME    "fairlead"
#define TICKET_KEY_BYTES 80 /* what OpenSSL wants: name, HMAC key, AES key */

struct lws_stream {
    struct fl_stream base;
    LIST_ENTRY(lws_stream) link;
    struct lws *wsi;        /* NULL until lws made it */
    struct fl_timer *timer; /* the user's; closes the stream once it is aborted */
    bool busy;              /* inside a callback, whose result closes it */
    bool off_list;          /* taken out of lws's list of time-outs */
};

struct fl_lws {
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct fl_loop *loop;
    bool tls;
    SSL_CTX *ctx;   /* the vhost's */
    SSL_CTX *certs; /* the certificate of now, if it is not the one of the start */
    LIST_HEAD(, lws_stream) streams;
};

/* What is left of a freed context until libuv has closed its handles. */
struct grave {
    uv_idle_t handle;
    struct lws_context *context;
    unsigned turns;
};

/* Making and destroying contexts touches tables that all of them share. */
static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;

static void log_line(int level, const char *line)
{
    char text[256], *said = text;

    snprintf(text, sizeof(text), "%.*s", (int)strcspn(line, "\n"), line);
    fl_log_debug("libwebsockets", FL_S("said", said));
}

/* ---- the transport ---- */

static struct lws *wsi_of(struct fl_stream *s)
{
    return ((struct lws_stream *)s)->wsi;
}

static ssize_t stream_write(struct fl_stream *s, const void *data, size_t len)
{
    SSL *ssl = lws_get_ssl(wsi_of(s));
    ssize_t n;

    if (!ssl) {
        n = send(lws_get_socket_fd(wsi_of(s)), data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            return n;
        return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
    }
    ERR_clear_error();
    n = SSL_write(ssl, data, (int)len);
    if (n > 0)
        return n;
    switch (SSL_get_error(ssl, (int)n)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return 0;
    default:
        return -EPIPE;
    }
}

static void stream_want_write(struct fl_stream *s)
{
    lws_callback_on_writable(wsi_of(s));
}

static void stream_pause(struct fl_stream *s, bool paused)
{
    lws_rx_flow_control(wsi_of(s), !paused);
}

static void stream_timer(struct fl_stream *s, uint32_t ms)
{
    struct fl_timer *timer = ((struct lws_stream *)s)->timer;

    if (ms)
        fl_timer_start(timer, ms);
    else
        fl_timer_stop(timer);
}

static void stream_fin(struct fl_stream *s)
{
    SSL *ssl = lws_get_ssl(wsi_of(s));

    if (ssl) {
        ERR_clear_error();
        SSL_shutdown(ssl);
    }
    shutdown(lws_get_socket_fd(wsi_of(s)), SHUT_WR);
}

static void stream_kill(struct fl_stream *s)
{
    if (!((struct lws_stream *)s)->busy)
        fl_timer_start(((struct lws_stream *)s)->timer, 0);
}

static const struct fl_transport transport = {
    .write = stream_write,
    .want_write = stream_want_write,
    .pause = stream_pause,
    .timer = stream_timer,
    .fin = stream_fin,
    .kill = stream_kill,
};

/* ---- what lws calls ---- */

static void on_timer(void *arg)
{
    struct lws_stream *s = arg;

    fl_stream_timeout(&s->base);
    if (s->base.aborted)
        lws_set_timeout(s->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

static void gone(struct lws_stream *s, const char *why)
{
    if (s->wsi)
        lws_set_opaque_user_data(s->wsi, NULL);
    LIST_REMOVE(s, link);
    fl_timer_free(s->timer);
    fl_stream_closed(&s->base, why);
    free(s);
}

static void name_sessions(SSL_CTX *ctx)
{
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)PROTOCOL_NAME,
                                   sizeof(PROTOCOL_NAME) - 1);
}

/* Sessions go on at whichever loop's listener the peer comes back to: one ticket key for all of the
 * process, and one name of what they belong to (lws gives each context another). Called with
 * contexts_lock held. */
static void share_sessions(SSL_CTX *ctx)
{
    static unsigned char keys[TICKET_KEY_BYTES];
    static bool made;

    if (!made)
        fl_random_bytes(keys, sizeof(keys));
    made = true;
    SSL_CTX_set_tlsext_ticket_keys(ctx, keys, sizeof(keys));
    name_sessions(ctx);
}

/* The SSL_CTX that lws just made: what its own settings cannot express. */
static void setup_tls(SSL_CTX *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* Idle connections hold no record buffers; writes may be retried from another address. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_num_tickets(ctx, 1);
    share_sessions(ctx);
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    struct lws_stream *s;

    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {
        ((struct fl_lws *)lws_context_user(lws_get_context(wsi)))->ctx = user;
        setup_tls(user);
        return 0;
    }
    s = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (!s)
        return 0;

    s->wsi = wsi; /* the first callbacks come before lws returns it */
    s->busy = true;
    switch (reason) {
    case LWS_CALLBACK_RAW_RX:
        if (!s->off_list)
            lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
        s->off_list = true;
        fl_stream_readable(&s->base, in, len);
        explicit_bzero(in, len); /* lws's own buffer, which would hold it until the next read */
        break;
    case LWS_CALLBACK_RAW_WRITEABLE:
        fl_stream_writable(&s->base);
        break;
    case LWS_CALLBACK_RAW_CLOSE:
    case LWS_CALLBACK_WSI_DESTROY:
        gone(s, s->base.aborted ? "dropped" : "closed by the peer");
        return 0;
    default:
        break;
    }
    s->busy = false;
    return s->base.aborted ? -1 : 0;
}

static const struct lws_protocols protocols[] = {
    { .name = PROTOCOL_NAME, .callback = on_lws },
    { 0 },
};

/* ---- contexts ---- */

static void bury(uv_handle_t *handle)
{
    struct grave *g = FL_CONTAINER_OF(handle, struct grave, handle);

    /* One turn of the loop closes the connections' handles, the next the context's own, and each
     * close callback runs a turn later. A closing handle keeps the loop alive until it is over. */
    if (--g->turns) {
        uv_idle_init(handle->loop, &g->handle);
        uv_close((uv_handle_t *)&g->handle, bury);
        return;
    }
    pthread_mutex_lock(&contexts_lock);
    lws_context_destroy(g->context);
    pthread_mutex_unlock(&contexts_lock);
    free(g);
}

static void destroy_context(struct fl_loop *loop, struct lws_context *context)
{
    struct grave *g = calloc(1, sizeof(*g));

    pthread_mutex_lock(&contexts_lock);
    lws_context_destroy(context);
    pthread_mutex_unlock(&contexts_lock);
    if (!g)
        return; /* leaks what the second call would have freed */
    g->context = context;
    g->turns = 4;
    uv_idle_init(fl_loop_uv(loop), &g->handle);
    uv_close((uv_handle_t *)&g->handle, bury);
}

static int make_context(struct fl_lws *lws, const char *cert_file, const char *key_file)
{
    void *loops[1] = { fl_loop_uv(lws->loop) };
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .foreign_loops = loops,
        .user = lws,
        .uid = -1,
        .gid = -1,
        .pt_serv_buf_size = READ_BYTES,
        .timeout_secs = LONG_S,
        .http_proxy_address = "",
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME |
                   LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN |
                   LWS_SERVER_OPTION_NO_LWS_SYSTEM_STATES,
    };

    lws_set_log_level(LLL_ERR | LLL_WARN, log_line);
    if (lws->tls)
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    lws->context = lws_create_context(&info);
    if (!lws->context)
        return -ENOMEM;
    info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    info.alpn = "http/1.1";
    info.ssl_options_set = TLS_OPTIONS;
    info.ssl_cipher_list = FL_TLS12_CIPHERS;
    info.ssl_cert_filepath = cert_file;
    info.ssl_private_key_filepath = key_file;
    if (lws->tls) {
        /* One for all, kept for good. What lws makes by itself for a vhost it finds again by an
         * index that every further context moves on: with two contexts it leaks. */
        static SSL_CTX *no_client;

        if (!no_client)
            no_client = SSL_CTX_new(TLS_client_method());
        if (!no_client)
            return -ENOMEM;
        info.provided_client_ssl_ctx = no_client;
    }
    lws->vhost = lws_create_vhost(lws->context, &info);
    return lws->vhost ? 0 : -EINVAL;
}

/* A context that holds nothing but the certificate and its key. */
static int load_files(const char *cert_file, const char *key_file, SSL_CTX **ret_ctx,
                      struct fl_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    const char *bad = NULL;
    unsigned long e;

    if (!ctx)
        return -ENOMEM;
    name_sessions(ctx); /* of a connection are those of its certificate's context */
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        bad = cert_file;
    else if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(ctx) != 1)
        bad = key_file;
    if (!bad) {
        *ret_ctx = ctx;
        return 0;
    }
    e = ERR_peek_last_error();
    SSL_CTX_free(ctx);
    return fl_err_set(err, -EINVAL, NULL, "%s: not usable for TLS: %s", bad,
                      ERR_reason_error_string(e) ? ERR_reason_error_string(e) : "unreadable");
}

/* A full handshake begins. Not SSL_CTX_use_certificate once: a context keeps one certificate of
 * each type of key, and would go on showing the old one if the types differ. */
static int choose_certificate(SSL *ssl, void *arg)
{
    const struct fl_lws *lws = arg;

    return SSL_set_SSL_CTX(ssl, lws->certs) != NULL;
}

int fl_lws_reload(struct fl_lws *lws, const char *cert_file, const char *key_file,
                  struct fl_err *err)
{
    SSL_CTX *certs;
    int r = load_files(cert_file, key_file, &certs, err);

    if (r < 0)
        return r;
    SSL_CTX_free(lws->certs);
    lws->certs = certs;
    SSL_CTX_set_cert_cb(lws->ctx, choose_certificate, lws);
    return 0;
}

int fl_lws_new(struct fl_loop *loop, const char *cert_file, const char *key_file,
               struct fl_lws **ret_lws, struct fl_err *err)
{
    struct fl_lws *lws;
    SSL_CTX *ctx = NULL;
    int r;

    /* lws only says "no" to a bad file, so try them first, for the words. */
    if (cert_file && (r = load_files(cert_file, key_file, &ctx, err)) < 0)
        return r;
    SSL_CTX_free(ctx);
    lws = calloc(1, sizeof(*lws));
    if (!lws)
        return -ENOMEM;
    LIST_INIT(&lws->streams);
    lws->loop = loop;
    lws->tls = cert_file != NULL;
    pthread_mutex_lock(&contexts_lock);
    r = make_context(lws, cert_file, key_file);
    pthread_mutex_unlock(&contexts_lock);
    if (r < 0) {
        fl_err_set(err, r, NULL, "libwebsockets did not start; is its libuv plugin installed?");
        fl_lws_free(lws);
        return r;
    }
    *ret_lws = lws;
    return 0;
}

struct fl_lws *fl_lws_free(struct fl_lws *lws)
{
    struct lws_stream *s;

    if (!lws)
        return NULL;
    while ((s = LIST_FIRST(&lws->streams)))
        gone(s, "shutting down");
    if (lws->context)
        destroy_context(lws->loop, lws->context);
    SSL_CTX_free(lws->certs);
    free(lws);
    return NULL;
}

static void note_close(void *arg, const char *why)
{
    *(bool *)arg = true;
}

/* Until lws has taken it: the owner does not know the stream yet. */
static struct lws_stream *stream_new(struct fl_lws *lws, bool *gone_flag)
{
    static const struct fl_stream_ops early_ops = { .on_close = note_close };
    struct lws_stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->timer = fl_timer_new(lws->loop, on_timer, s);
    if (!s->timer) {
        free(s);
        return NULL;
    }
    fl_stream_init(&s->base, &transport);
    fl_stream_set_ops(&s->base, &early_ops, gone_flag);
    LIST_INSERT_HEAD(&lws->streams, s, link);
    return s;
}

int fl_lws_adopt(struct fl_lws *lws, int fd, const struct fl_stream_ops *ops, void *arg,
                 struct fl_stream **ret_stream)
{
    bool freed = false;
    struct lws_stream *s = stream_new(lws, &freed);
    lws_adopt_desc_t how = {
        .vh = lws->vhost,
        .type = LWS_ADOPT_SOCKET | (lws->tls ? LWS_ADOPT_ALLOW_SSL : 0),
        .fd.sockfd = fd,
        .vh_prot_name = PROTOCOL_NAME,
        .opaque = s,
    };
    struct lws *wsi;

    if (!s) {
        close(fd);
        return -ENOMEM;
    }
    wsi = lws_adopt_descriptor_vhost_via_info(&how); /* closes fd if it fails */
    if (!wsi) {
        if (!freed)
            gone(s, "not adopted");
        return -ENOMEM;
    }
    s->wsi = wsi;
    fl_stream_set_ops(&s->base, ops, arg);
    *ret_stream = &s->base;
    return 0;
}

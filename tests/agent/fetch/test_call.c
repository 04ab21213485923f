/* Calls of the fetch process against a server: all in one process, over a real socket pair. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/fetch/fetch.h"
#include "agent/lib/fetcher.h"
#include "agent/lib/sign.h"
#include "agent/lib/text.h"
#include "common/base/clock.h"
#include "common/net/server.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG"

struct fixture {
    struct fl_loop *loop;
    struct fl_server *server;
    struct fl_fetch fetch;
    struct fl_ipc_row rows[FL_N_FETCH_ROWS];
    struct fl_fetcher *fetcher;
    struct fl_fetch_endpoint endpoint;
    char endpoint_url[64];
    unsigned requests, needs;
    /* the newest answer */
    bool done;
    int error, status;
    char body[4096], error_text[256], type[64], sha256[65];
    size_t body_len;
    int64_t written;
};

/* ---- the server ---- */

static const char *header(struct fl_server_req *req, const char *name)
{
    const char *v = fl_server_req_header(req, name);

    return v ? v : "";
}

/* Is it signed as it must be? "good", or what is wrong. */
static const char *judge_signature(struct fl_server_req *req)
{
    static const char *const names[] = {
        "Host",         "X-Amz-Date",           "X-Amz-Security-Token",
        "X-Amz-Target", "X-Amz-Content-Sha256", "Content-Type"
    };
    struct fl_http_header headers[FL_ARRAY_LEN(names)];
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    char hash[FL_SHA256_HEX_BYTES];
    struct fl_sigv4_request q = { .method = fl_server_req_method(req),
                                  .path = fl_server_req_path(req),
                                  .query = fl_server_req_query(req),
                                  .headers = headers,
                                  .body_sha256 = hash };
    struct fl_sigv4_auth auth;
    size_t len;
    const char *body = fl_server_req_body(req, &len);
    int64_t at_ms = 0;

    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++)
        if (fl_server_req_header(req, names[i]))
            headers[q.n_headers++] =
                (struct fl_http_header){ names[i], fl_server_req_header(req, names[i]) };
    if (fl_sigv4_parse(fl_server_req_header(req, "Authorization"), &arena, &auth, NULL) < 0)
        return "not signed";
    q.service = auth.service;
    fl_sha256_hex(body, len, hash);
    if (strcmp(auth.service, "s3") == 0)
        snprintf(hash, sizeof(hash), "%s", header(req, "X-Amz-Content-Sha256"));
    if (fl_sigv4_verify(&q, &auth, header(req, "X-Amz-Date"), SECRET, NULL) < 0)
        return "wrong signature";
    if (strcmp(header(req, "X-Amz-Security-Token"), "token") != 0)
        return "no token";
    fl_time_parse_compact(header(req, "X-Amz-Date"), &at_ms);
    return llabs(at_ms - fl_now_ms()) < 300000 ? "good" : "late";
}

static void reply_json(struct fl_server_req *req, int status, const char *name)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "{\"__type\":\"%s\",\"message\":\"words\"}", name);

    fl_server_reply(req, status, "application/json", NULL, 0, text, (size_t)n);
}

static void reply_text(struct fl_server_req *req, const char *text)
{
    fl_server_reply(req, 200, "text/plain", NULL, 0, text, strlen(text));
}

static void reply_signed(struct fl_server_req *req)
{
    const char *verdict = judge_signature(req);

    if (strcmp(verdict, "late") == 0)
        reply_json(req, 403, "SignatureDoesNotMatch");
    else
        reply_text(req, verdict);
}

static void reply_redirect(struct fl_server_req *req)
{
    const struct fl_http_header to = { "Location", fl_server_req_query(req) };

    fl_server_reply(req, 302, "text/plain", &to, 1, "moved", 5);
}

static void reply_auth(struct fl_server_req *req, const char *scheme, const char *challenge)
{
    const struct fl_http_header ask = { "WWW-Authenticate", challenge };
    const char *given = header(req, "Authorization");

    if (strncmp(given, scheme, strlen(scheme)) == 0)
        reply_text(req, given);
    else
        fl_server_reply(req, 401, "text/plain", &ask, 1, "no", 2);
}

static void reply_big(struct fl_server_req *req)
{
    size_t n = strtoul(fl_server_req_query(req), NULL, 10);
    char *big = malloc(n + 1);

    assert_non_null(big);
    memset(big, 'x', n);
    fl_server_reply(req, 200, "text/plain", NULL, 0, big, n);
    free(big);
}

static void on_request(void *arg, struct fl_server_req *req)
{
    struct fixture *t = arg;
    const char *path = fl_server_req_path(req);
    size_t len;
    const char *body = fl_server_req_body(req, &len);

    t->requests++;
    if (strcmp(path, "/echo") == 0)
        fl_server_reply(req, 200, "x/echo", NULL, 0, body, len);
    else if (strcmp(path, "/signed") == 0)
        reply_signed(req);
    else if (strcmp(path, "/to") == 0)
        reply_redirect(req);
    else if (strcmp(path, "/authorization") == 0)
        reply_text(req, header(req, "Authorization"));
    else if (strcmp(path, "/basic") == 0)
        reply_auth(req, "Basic dTpwOnc=", "Basic realm=\"r\"");
    else if (strcmp(path, "/digest") == 0)
        reply_auth(req, "Digest ", "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"");
    else if (strcmp(path, "/expired") == 0)
        reply_json(req, 400, "ExpiredTokenException");
    else if (strcmp(path, "/big") == 0)
        reply_big(req);
    else if (strcmp(path, "/missing") == 0)
        reply_json(req, 404, "Missing");
    /* "/never": no answer */
}

static void on_abort(void *arg, struct fl_server_req *req)
{
}

/* ---- the process ---- */

static void on_fetch_close(void *arg, int why, const struct fl_err *err)
{
}

static void on_idle(void *arg)
{
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

static const struct fl_ipc_binding bindings[] = { { FL_FETCH_CALL, on_call },
                                                  { FL_FETCH_CANCEL, on_cancel } };

/* The process of the test is used again whenever one is asked for. */
static void on_need(void *arg)
{
    struct fixture *t = arg;
    int fds[2];

    t->needs++;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    t->fetch.ipc = fl_ipc_free(t->fetch.ipc);
    assert_int_equal(fl_ipc_new(t->loop, fds[1], t->rows, FL_N_FETCH_ROWS, on_fetch_close,
                                &t->fetch, &t->fetch.ipc),
                     0);
    fl_fetcher_attach(t->fetcher, fds[0]);
}

static int setup(void **state)
{
    static const struct fl_server_events events = { .on_request = on_request,
                                                    .on_abort = on_abort };
    const struct fl_server_conf conf = { .bind = "127.0.0.1", .max_body_bytes = 8 << 20 };
    struct fixture *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    assert_int_equal(fl_loop_new(&t->loop), 0);
    assert_int_equal(fl_server_new(t->loop, &conf, &events, t, &t->server, NULL), 0);
    snprintf(t->endpoint_url, sizeof(t->endpoint_url), "http://127.0.0.1:%u",
             fl_server_port(t->server));
    t->endpoint = (struct fl_fetch_endpoint){ .service = fl_text("ssm"), .url = t->endpoint_url };
    t->fetch = (struct fl_fetch){
        .loop = t->loop,
        .conf = { .idle_ms = 3600000,
                  .region = fl_text("local"),
                  .access_key_id = fl_text("AKID"),
                  .secret_access_key = fl_text(SECRET),
                  .session_token = fl_text("token"),
                  .endpoints = &t->endpoint,
                  .n_endpoints = 1 },
        .offset_ms = fl_now_ms() - fl_boot_ms(),
    };
    LIST_INIT(&t->fetch.tasks);
    t->fetch.idle = fl_timer_new(t->loop, on_idle, t);
    assert_non_null(t->fetch.idle);
    assert_int_equal(fl_http_new(t->loop, &(struct fl_http_conf){ 0 }, &t->fetch.http, NULL), 0);
    fl_ipc_bind(fl_fetch_rows, fl_n_fetch_rows, bindings, FL_ARRAY_LEN(bindings), t->rows);
    assert_int_equal(fl_fetcher_new(t->loop, NULL, on_need, t, &t->fetcher), 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *t = *state;

    fl_fetcher_free(t->fetcher);
    fl_http_free(t->fetch.http);
    fl_ipc_free(t->fetch.ipc);
    fl_timer_free(t->fetch.idle);
    fl_server_free(t->server);
    fl_loop_free(t->loop);
    free(t);
    return 0;
}

/* ---- calls ---- */

static void on_done(void *arg, const struct fl_fetch_answer *a)
{
    struct fixture *t = arg;

    t->done = true;
    t->error = a->error;
    t->status = a->status;
    t->written = a->written;
    t->body_len = a->body_len;
    if (a->body)
        memcpy(t->body, a->body, FL_MIN(a->body_len + 1, sizeof(t->body)));
    snprintf(t->error_text, sizeof(t->error_text), "%s", a->error_text ? a->error_text : "");
    snprintf(t->sha256, sizeof(t->sha256), "%s", a->sha256 ? a->sha256 : "");
    t->type[0] = '\0';
    for (size_t i = 0; i < a->n_headers; i++)
        if (strcmp(a->headers[i].name, "Content-Type") == 0)
            snprintf(t->type, sizeof(t->type), "%s", a->headers[i].value);
}

/* By either name: to a client these are two hosts. */
static char *url_at(const struct fixture *t, const char *host, const char *path)
{
    static char text[2][500];
    static unsigned i;

    i ^= 1;
    snprintf(text[i], sizeof(text[i]), "http://%s:%u%s", host, fl_server_port(t->server), path);
    return text[i];
}

static char *url(const struct fixture *t, const char *path)
{
    return url_at(t, "127.0.0.1", path);
}

static void call(struct fixture *t, struct fl_fetch_call c, const struct fl_fetcher_files *files)
{
    if (!c.method)
        c.method = fl_text("GET");
    if (!c.timeout_ms)
        c.timeout_ms = 60000;
    t->done = false;
    memset(t->body, 0, sizeof(t->body));
    assert_int_equal(fl_fetcher_call(t->fetcher, &c, files, on_done, t, NULL), 0);
    while (!t->done)
        fl_loop_run_once(t->loop, true);
}

static int temp_file(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static void bodies_may_be_any_bytes(void **state)
{
    struct fixture *t = *state;

    call(t,
         (struct fl_fetch_call){ .method = fl_text("POST"),
                                 .url = url(t, "/echo"),
                                 .body = fl_text("a\0b\xff"),
                                 .body_len = 4 },
         NULL);
    assert_int_equal(t->error, 0);
    assert_int_equal(t->body_len, 4);
    assert_memory_equal(t->body, "a\0b\xff", 5);
    assert_string_equal(t->type, "x/echo");
}

static void files_are_sent_and_filled(void **state)
{
    struct fixture *t = *state;
    int from = temp_file("0123456789"), to = temp_file("kept");
    const struct fl_fetcher_files files = { from, to };
    char got[32] = "";

    call(t,
         (struct fl_fetch_call){ .method = fl_text("PUT"),
                                 .url = url(t, "/echo"),
                                 .body_offset = 2,
                                 .body_bytes = 5,
                                 .to_max_bytes = 100 },
         &files);
    assert_int_equal(t->error, 0);
    assert_int_equal(t->status, 200);
    assert_int_equal(t->body_len, 0);
    assert_int_equal(t->written, 5);
    assert_string_equal(t->sha256, /* of "23456" */
                        "9b56ca8566a48b98a8c29a7fd307038ed555123439a937eb85d9c45166881e6e");
    assert_int_equal(pread(to, got, sizeof(got), 0), 9);
    assert_string_equal(got, "kept23456");
    close(from);
    close(to);
}

static void an_error_answer_stays_out_of_the_file(void **state)
{
    struct fixture *t = *state;
    int to = temp_file("");

    call(t, (struct fl_fetch_call){ .url = url(t, "/missing"), .to_max_bytes = 100 },
         &(struct fl_fetcher_files){ -1, to });
    assert_int_equal(t->status, 404);
    assert_int_equal(t->written, 0);
    assert_non_null(strstr(t->body, "Missing"));
    assert_int_equal(lseek(to, 0, SEEK_END), 0);
    close(to);
}

static void a_file_has_a_limit(void **state)
{
    struct fixture *t = *state;
    int to = temp_file("");
    const struct fl_fetcher_files files = { -1, to };

    call(t, (struct fl_fetch_call){ .url = url(t, "/big?200000"), .to_max_bytes = 200000 }, &files);
    assert_int_equal(t->error, 0);
    assert_int_equal(t->written, 200000);
    call(t, (struct fl_fetch_call){ .url = url(t, "/big?200000"), .to_max_bytes = 199999 }, &files);
    assert_int_equal(t->error, -EMSGSIZE);
    assert_non_null(strstr(t->error_text, "over the limit"));
    close(to);
}

static void a_full_disk_is_named(void **state)
{
    struct fixture *t = *state;
    int to = open("/dev/full", O_WRONLY | O_CLOEXEC);

    call(t, (struct fl_fetch_call){ .url = url(t, "/big?10"), .to_max_bytes = 100 },
         &(struct fl_fetcher_files){ -1, to });
    assert_int_equal(t->error, -ENOSPC);
    assert_non_null(strstr(t->error_text, "No space left"));
    close(to);
}

static void a_body_shorter_than_said_fails(void **state)
{
    struct fixture *t = *state;
    int from = temp_file("short");

    call(
        t,
        (struct fl_fetch_call){ .method = fl_text("PUT"), .url = url(t, "/echo"), .body_bytes = 6 },
        &(struct fl_fetcher_files){ from, -1 });
    assert_int_equal(t->error, -EIO);
    close(from);
}

static void calls_of_a_service_are_signed(void **state)
{
    struct fixture *t = *state;
    struct fl_fetch_header target = { fl_text("X-Amz-Target"), fl_text("AmazonSSM.GetDocument") };
    int from = temp_file("0123456789");

    call(t,
         (struct fl_fetch_call){ .method = fl_text("POST"),
                                 .service = fl_text("ssm"),
                                 .path_query = fl_text("/signed?b=2&a=1"),
                                 .headers = &target,
                                 .n_headers = 1,
                                 .body = fl_text("{}"),
                                 .body_len = 2 },
         NULL);
    assert_string_equal(t->body, "good");
    call(t,
         (struct fl_fetch_call){ .method = fl_text("PUT"),
                                 .service = fl_text("s3"),
                                 .region = fl_text("eu-central-1"),
                                 .url = url(t, "/signed"),
                                 .body_bytes = 10 },
         &(struct fl_fetcher_files){ from, -1 });
    assert_string_equal(t->body, "good");
    /* Only s3 takes a body that is not signed. */
    call(t,
         (struct fl_fetch_call){ .method = fl_text("PUT"),
                                 .service = fl_text("logs"),
                                 .url = url(t, "/signed"),
                                 .body_bytes = 10 },
         &(struct fl_fetcher_files){ from, -1 });
    assert_int_equal(t->error, -EINVAL);
    call(t, (struct fl_fetch_call){ .service = fl_text("nobody") }, NULL);
    assert_int_equal(t->error, -EINVAL);
    close(from);
}

static void a_wrong_clock_is_set_right_once(void **state)
{
    struct fixture *t = *state;
    const struct fl_fetch_call c = { .service = fl_text("ssm"), .path_query = fl_text("/signed") };

    t->fetch.offset_ms -= 7200000;
    call(t, c, NULL);
    assert_string_equal(t->body, "good");
    assert_int_equal(t->requests, 2);
    call(t, c, NULL);
    assert_int_equal(t->requests, 3);
}

/* The call waits for a process that has good ones. */
static void credentials_that_ended_are_replaced(void **state)
{
    struct fixture *t = *state;
    const struct fl_fetch_call c = { .service = fl_text("ssm"),
                                     .path_query = fl_text("/signed"),
                                     .timeout_ms = 60000,
                                     .method = fl_text("GET") };
    char *key = FL_TAKE(t->fetch.conf.access_key_id);

    t->done = false;
    assert_int_equal(fl_fetcher_call(t->fetcher, &c, NULL, on_done, t, NULL), 0);
    while (t->needs < 2)
        fl_loop_run_once(t->loop, true);
    assert_int_equal(t->requests, 0);
    t->fetch.conf.access_key_id = key;
    t->fetch.conf.expires_ms = fl_now_ms() - 1;
    while (t->needs < 4)
        fl_loop_run_once(t->loop, true);
    assert_int_equal(t->requests, 0);
    t->fetch.conf.expires_ms = fl_now_ms() + 3600000;
    while (!t->done)
        fl_loop_run_once(t->loop, true);
    assert_int_equal(t->error, 0);
    assert_string_equal(t->body, "good");
}

static void credentials_the_service_refuses_are_replaced(void **state)
{
    struct fixture *t = *state;
    const struct fl_fetch_call c = { .service = fl_text("ssm"),
                                     .path_query = fl_text("/expired"),
                                     .timeout_ms = 60000,
                                     .method = fl_text("GET") };
    uint32_t id;

    t->done = false;
    assert_int_equal(fl_fetcher_call(t->fetcher, &c, NULL, on_done, t, &id), 0);
    while (t->needs < 3)
        fl_loop_run_once(t->loop, true);
    assert_false(t->done);
    assert_true(t->requests >= 2);
    fl_fetcher_cancel(t->fetcher, id);
}

static void passwords_are_given_as_asked(void **state)
{
    struct fixture *t = *state;

    call(t,
         (struct fl_fetch_call){ .url = url(t, "/basic"),
                                 .auth = FL_HTTP_AUTH_BASIC,
                                 .user = fl_text("u"),
                                 .password = fl_text("p:w") },
         NULL);
    assert_string_equal(t->body, "Basic dTpwOnc=");
    call(t,
         (struct fl_fetch_call){ .url = url(t, "/digest"),
                                 .auth = FL_HTTP_AUTH_DIGEST,
                                 .user = fl_text("u"),
                                 .password = fl_text("p:w") },
         NULL);
    assert_int_equal(t->status, 200);
    assert_non_null(strstr(t->body, "username=\"u\""));
    call(t, (struct fl_fetch_call){ .url = url(t, "/basic") }, NULL);
    assert_int_equal(t->status, 401);
}

static void redirects_are_followed_as_far_as_allowed(void **state)
{
    struct fixture *t = *state;
    struct fl_fetch_header token = { fl_text("Authorization"), fl_text("token t") };
    struct fl_fetch_call c = { .headers = &token, .n_headers = 1 };
    char path[400];

    /* Not at all unless asked for. */
    c.url = url(t, "/to?/authorization");
    call(t, c, NULL);
    assert_int_equal(t->status, 302);
    c.max_redirects = 2;
    call(t, c, NULL);
    assert_int_equal(t->status, 200);
    assert_string_equal(t->body, "token t");

    /* To another host, without what belongs to the first; and back again, too. */
    snprintf(path, sizeof(path), "/to?%s", url_at(t, "localhost", "/authorization"));
    c.url = url(t, path);
    call(t, c, NULL);
    assert_int_equal(t->status, 200);
    assert_string_equal(t->body, "");

    /* Round and round. */
    c.url = url(t, "/to?/to?/to?/authorization");
    call(t, c, NULL);
    assert_int_equal(t->error, -ELOOP);
}

static void a_password_does_not_follow_to_another_host(void **state)
{
    struct fixture *t = *state;
    char path[400];

    snprintf(path, sizeof(path), "/to?%s", url_at(t, "localhost", "/authorization"));
    call(t,
         (struct fl_fetch_call){ .url = url(t, path),
                                 .auth = FL_HTTP_AUTH_BASIC,
                                 .user = fl_text("u"),
                                 .password = fl_text("pw"),
                                 .max_redirects = 1 },
         NULL);
    assert_int_equal(t->status, 200);
    assert_string_equal(t->body, "");
}

static void only_reading_calls_are_led_elsewhere(void **state)
{
    struct fixture *t = *state;

    call(t,
         (struct fl_fetch_call){
             .method = fl_text("POST"), .url = url(t, "/to?/authorization"), .max_redirects = 1 },
         NULL);
    assert_int_equal(t->status, 302);
    /* A signature holds for one place. */
    call(t,
         (struct fl_fetch_call){ .service = fl_text("ssm"),
                                 .path_query = fl_text("/to?/authorization"),
                                 .max_redirects = 1 },
         NULL);
    assert_int_equal(t->status, 302);
}

static void a_cancelled_call_ends_at_its_process(void **state)
{
    struct fixture *t = *state;
    const struct fl_fetch_call c = { .method = fl_text("GET"),
                                     .url = url(t, "/never"),
                                     .timeout_ms = 60000 };
    uint32_t id;

    assert_int_equal(fl_fetcher_call(t->fetcher, &c, NULL, on_done, t, &id), 0);
    while (t->requests == 0)
        fl_loop_run_once(t->loop, true);
    assert_int_equal(t->fetch.n_tasks, 1);
    fl_fetcher_cancel(t->fetcher, id);
    while (t->fetch.n_tasks > 0)
        fl_loop_run_once(t->loop, true);
    assert_false(t->done);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bodies_may_be_any_bytes),
        TEST(files_are_sent_and_filled),
        TEST(an_error_answer_stays_out_of_the_file),
        TEST(a_file_has_a_limit),
        TEST(a_full_disk_is_named),
        TEST(a_body_shorter_than_said_fails),
        TEST(calls_of_a_service_are_signed),
        TEST(a_wrong_clock_is_set_right_once),
        TEST(credentials_that_ended_are_replaced),
        TEST(credentials_the_service_refuses_are_replaced),
        TEST(passwords_are_given_as_asked),
        TEST(redirects_are_followed_as_far_as_allowed),
        TEST(a_password_does_not_follow_to_another_host),
        TEST(only_reading_calls_are_led_elsewhere),
        TEST(a_cancelled_call_ends_at_its_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

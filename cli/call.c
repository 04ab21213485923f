/* call.c - one signed call, and `fairlead call`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/codec/codec.h"
#include "common/net/http.h"

#define MAX_BODY_BYTES     (1 << 20)
#define MAX_RESPONSE_BYTES (16 << 20)
#define MAX_HEADERS        8

struct api_error {
    char *type;
    char *message;
};
static const struct fl_field api_error_fields[] = {
    FL_FIELD(struct api_error, type, "__type", 0),
    FL_FIELD(struct api_error, message, "message", 0),
};
static const struct fl_shape api_error_shape =
    FL_SHAPE(struct api_error, "error", api_error_fields);

struct wait {
    struct fl_loop *loop;
    int r;
    int status;
    char *body;
    struct fl_err err;
};

static void on_done(void *arg, int r, const struct fl_http_response *resp, const struct fl_err *err)
{
    struct wait *w = arg;

    w->r = r;
    if (r < 0) {
        w->err = *err;
    } else {
        w->status = resp->status;
        w->body = strndup(resp->body, resp->body_len);
    }
    fl_loop_stop(w->loop);
}

static int send_and_wait(const struct fl_cli *cli, const struct fl_http_request *req,
                         struct wait *w, struct fl_err *err)
{
    struct fl_proxy_conf proxy = { 0 };
    struct fl_http_conf conf = { .ca_file = cli->ca_file,
                                 .proxy = &proxy,
                                 .user_agent = "fairlead/" FL_VERSION };
    struct fl_http *http = NULL;
    int r;

    r = fl_proxy_from_env(&proxy);
    if (r == 0)
        r = fl_loop_new(&w->loop);
    if (r == 0)
        r = fl_http_new(w->loop, &conf, &http, err);
    if (r == 0)
        r = fl_http_start(http, req, on_done, w, NULL, err);
    if (r == 0)
        fl_loop_run(w->loop);
    fl_http_free(http);
    fl_loop_free(w->loop);
    fl_proxy_conf_done(&proxy);
    if (r == 0 && w->r < 0) {
        *err = w->err;
        r = w->r;
    }
    return r;
}

static int api_failure(int status, const char *body, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct api_error e;
    const char *type;

    if (fl_json_decode(&api_error_shape, body, strlen(body), FL_DECODE_NOCASE, &arena, &e, NULL) <
            0 ||
        !e.type)
        return fl_err_set(err, -EREMOTEIO, NULL, "the endpoint answered HTTP %d", status);
    type = strrchr(e.type, '#');
    return fl_err_set(err, -EREMOTEIO, NULL, "%s: %s", type ? type + 1 : e.type,
                      e.message ? e.message : "(no message)");
}

int fl_cli_call(const struct fl_cli *cli, const char *operation, const char *body, char **ret_body,
                struct fl_err *err)
{
    struct fl_aws_creds creds = { cli->access_key_id, cli->secret_access_key, cli->session_token };
    char host[300], date[FL_COMPACT_BYTES], target[128], hash[FL_SHA256_HEX_BYTES];
    struct fl_http_header headers[MAX_HEADERS];
    fl_autofree char *authorization = NULL;
    fl_autofree char *url = NULL;
    struct wait w = { 0 };
    size_t n = 0;
    int r;

    r = fl_url_authority(cli->endpoint, false, host, sizeof(host));
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: not an endpoint URL", cli->endpoint);
    fl_time_compact(fl_now_ms(), date);
    snprintf(target, sizeof(target), "AmazonSSM.%s", operation);
    fl_sha256_hex(body, strlen(body), hash);
    headers[n++] = (struct fl_http_header){ "host", host };
    headers[n++] = (struct fl_http_header){ "content-type", "application/x-amz-json-1.1" };
    headers[n++] = (struct fl_http_header){ "x-amz-date", date };
    headers[n++] = (struct fl_http_header){ "x-amz-target", target };
    if (creds.session_token)
        headers[n++] = (struct fl_http_header){ "x-amz-security-token", creds.session_token };

    struct fl_sigv4_request sign = { .method = "POST",
                                     .path = "/",
                                     .query = "",
                                     .headers = headers,
                                     .n_headers = n,
                                     .body_sha256 = hash,
                                     .service = "ssm" };
    r = fl_sigv4_sign(&sign, &creds, cli->region, date, &authorization, err);
    if (r < 0)
        return r;
    headers[n++] = (struct fl_http_header){ "authorization", authorization };

    url = fl_path_join(cli->endpoint, "");
    if (!url)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    struct fl_http_request req = { .method = "POST",
                                   .url = url,
                                   .headers = headers,
                                   .n_headers = n,
                                   .body = body,
                                   .body_len = strlen(body),
                                   .max_response_bytes = MAX_RESPONSE_BYTES };
    r = send_and_wait(cli, &req, &w, err);
    if (r == 0 && !w.body)
        r = fl_err_set(err, -ENOMEM, NULL, "out of memory");
    if (r == 0 && w.status != 200)
        r = api_failure(w.status, w.body, err);
    if (r == 0)
        *ret_body = FL_TAKE(w.body);
    free(w.body);
    return r;
}

static int run_call(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autofree char *input = NULL;
    fl_autofree char *answer = NULL;
    struct fl_err err = { 0 };
    const char *body = "{}";

    (void)options;
    if (args->n == 2 && strcmp(args->v[1], "-") == 0) {
        size_t len;
        int r = fl_fd_read_all(STDIN_FILENO, MAX_BODY_BYTES, &input, &len);

        if (r < 0) {
            fl_err_set(&err, r, NULL, "standard input: %s", strerror(-r));
            return fl_cli_fail(&err);
        }
        body = input;
    } else if (args->n == 2) {
        body = args->v[1];
    }
    if (fl_cli_call(cli, args->v[0], body, &answer, &err) < 0)
        return fl_cli_fail(&err);
    printf("%s\n", answer);
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_call = {
    .name = "call",
    .args = "OPERATION [JSON|-]",
    .summary = "Call one operation of the API and print its answer",
    .text = "OPERATION is a name of the API of AWS Systems Manager, such as ListCommands. JSON is "
            "its input, {} without; \"-\" reads it from standard input.",
    .min_args = 1,
    .max_args = 2,
    .run = run_call,
};

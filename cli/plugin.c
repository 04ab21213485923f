/* plugin.c - see plugin.h. */
#include "cli/plugin.h"
#include <errno.h>
#include <string.h>
#include "cli/attach.h"
#include "cli/session_hello.h"

#define NAME        "session-manager-plugin"
#define RESPONSE    "AWS_SSM_START_SESSION_RESPONSE"
#define OPERATION   "StartSession"
#define SSH_TYPE    "AWS-StartSSHSession"
#define ARENA_BYTES (4 << 20)

enum { PROGRAM, ARG_RESPONSE, ARG_REGION, ARG_OPERATION, ARG_PROFILE, ARG_REQUEST, ARG_ENDPOINT };

struct request {
    char *target, *document;
};
static const struct fl_field request_fields[] = {
    FL_FIELD(struct request, target, "Target", 0),
    FL_FIELD(struct request, document, "DocumentName", 0),
};
static const struct fl_shape request_shape =
    FL_SHAPE(struct request, "StartSession", request_fields);

bool fl_plugin_called(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');

    return strcmp(slash ? slash + 1 : argv0, NAME) == 0;
}

/* The answer of StartSession: JSON, or a word that begins with the name of the variable that has
 * it. No child is to see its token. */
static char *take_response(const char *word, struct fl_arena *arena)
{
    char *text;

    if (strncmp(word, RESPONSE, strlen(RESPONSE)) != 0)
        return fl_arena_strdup(arena, word);
    text = getenv(word) ? fl_arena_strdup(arena, getenv(word)) : NULL;
    unsetenv(word);
    return text;
}

static const char *argument(int argc, char **argv, int i)
{
    return i < argc && *argv[i] ? argv[i] : NULL;
}

int fl_plugin_parse(int argc, char **argv, struct fl_arena *arena, struct fl_plugin_call *ret,
                    struct fl_err *err)
{
    struct fl_plugin_call call = { 0 };
    struct request request = { 0 };
    const char *text;
    int r;

    if (argc <= 1) {
        printf(
            "\nThe Session Manager plugin was installed successfully. Use the AWS CLI to start a "
            "session.\n\n");
        return 1;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s\n", FL_SESSION_CLIENT_VERSION);
        return 1;
    }
    if (argc <= ARG_OPERATION)
        return fl_err_set(err, -EINVAL, NULL, "Invalid Operation");
    if (strcmp(argv[ARG_OPERATION], OPERATION) != 0)
        return fl_err_set(err, -EINVAL, NULL, "Invalid Operation");
    text = take_response(argv[ARG_RESPONSE], arena);
    r = text ? fl_json_decode(&fl_session_grant_shape, text, strlen(text), FL_DECODE_LAX, arena,
                              &call.grant, err)
             : -EINVAL;
    if (r < 0 || !call.grant.token || !call.grant.url || !call.grant.id ||
        !fl_session_id_valid(call.grant.id))
        return fl_err_set(err, -EINVAL, NULL,
                          "the first argument holds no answer of StartSession with SessionId, "
                          "TokenValue and StreamUrl");
    text = argument(argc, argv, ARG_REQUEST);
    if (text)
        r = fl_json_decode(&request_shape, text, strlen(text), FL_DECODE_LAX, arena, &request, err);
    if (r < 0 || (text && !request.target))
        return fl_err_set(err, -EINVAL, NULL, "the fifth argument holds no request with a Target");
    call.region = argument(argc, argv, ARG_REGION);
    call.profile = argument(argc, argv, ARG_PROFILE);
    call.endpoint = argument(argc, argv, ARG_ENDPOINT);
    call.document = request.document;
    call.grant.node = request.target;
    *ret = call;
    return 0;
}

int fl_plugin_main(int argc, char **argv)
{
    fl_autoarena struct fl_arena arena = { .max_bytes = ARENA_BYTES, .secret = true };
    struct fl_attach_conf conf = { .plugin = true, .listens = true, .failure = FL_EXIT_FAILED };
    struct fl_plugin_call call;
    struct fl_err err = { 0 };
    struct fl_cli cli = { 0 };
    int r = fl_plugin_parse(argc, argv, &arena, &call, &err);
    int status;

    if (r < 0)
        fprintf(stderr, "%s\n", fl_err_text(&err));
    if (r != 0)
        return r < 0 ? FL_EXIT_FAILED : FL_EXIT_OK;
    /* A byte stream for ssh has no text in front. */
    conf.no_texts = call.document && strcmp(call.document, SSH_TYPE) == 0;
    cli.given = (struct fl_cli_given){ call.profile, call.endpoint, call.region, NULL };
    /* Without credentials of its own (a profile of a kind that only the AWS CLI knows) the session
     * runs all the same; it cannot be taken up again. */
    fl_cli_load(&cli, NULL);
    status = fl_attach(&cli, &call.grant, &conf);
    fl_cli_done(&cli);
    return status;
}

/* The keeper of the node's identity against a service that this test plays: whatever is lost or
 * dies in a key rotation, the node is never locked out, and in the end one key is left on both
 * sides.
 *
 * fairlead-agent-key is this program under that name: it keeps numbers instead of keys, in the
 * files that the keeper looks for, and "signs" with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "agent/lib/keyproc.h"
#include "agent/monitor/identity.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tests/agent/tmpdir.h"
#include "tests/program.h"
#include "tests/runmode.h"

#define PATIENCE_MS   patience_ms(20000)
#define TOKEN_LIFE_MS 30000 /* too short for a new keeper to go on with: it asks at once */
#define LONG_LIFE_MS  3600000
#define TOKEN_OP      "RequestManagedInstanceRoleToken"
#define UPDATE_OP     "UpdateManagedInstancePublicKey"

/* ---- the key process ---- */
#define KEY_FILE     "Vault/Store/RegistrationKey"
#define PENDING_FILE "Vault/Store/RegistrationKey.pending"
#define CREDS_FILE   "runtimeconfig/credentials.json"
#define MADE_FILE    "made"  /* number of the newest key */
#define DEATH_FILE   "death" /* "<op> before" or "<op> after": it dies there, once */

static int read_number(const char *dir, const char *name)
{
    fl_autofree char *path = fl_path_join(dir, name);
    fl_autofree char *text = NULL;

    return fl_file_read(path, 64, &text, NULL, NULL) < 0 ? 0 : atoi(text);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    fl_autofree char *path = fl_path_join(dir, name);

    if (!text)
        unlink(path);
    else if (fl_file_replace(path, 0600, text, strlen(text), NULL) < 0)
        abort();
}

static void write_number(const char *dir, const char *name, int n)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", n);
    write_text(dir, name, n ? text : NULL);
}

static void die_if_told(const char *dir, const char *op, const char *when)
{
    fl_autofree char *path = fl_path_join(dir, DEATH_FILE);
    fl_autofree char *text = NULL;
    char here[64];

    snprintf(here, sizeof(here), "%s %s", op, when);
    if (fl_file_read(path, 64, &text, NULL, NULL) == 0 && strcmp(text, here) == 0) {
        unlink(path);
        _exit(1);
    }
}

static void run_op(const char *dir, const struct fl_key_request *req, struct fl_key_answer *a)
{
    static char operation[64], sign[32], body[32], fixed[] = "x";
    static char print[] = "11111111-2222-4333-8444-555555555555";
    int key = read_number(dir, KEY_FILE), pending = read_number(dir, PENDING_FILE);

    *a = (struct fl_key_answer){ .operation = operation,
                                 .authorization = sign,
                                 .body = body,
                                 .amz_date = fixed,
                                 .content_sha256 = fixed,
                                 .host = fixed,
                                 .fingerprint = print };
    snprintf(sign, sizeof(sign), "%d", req->pending ? pending : key);
    if (strcmp(req->op, FL_KEY_SIGN_TOKEN) == 0) {
        strcpy(operation, TOKEN_OP);
    } else if (strcmp(req->op, FL_KEY_ROTATE_BEGIN) == 0) {
        if (!pending) {
            pending = read_number(dir, MADE_FILE) + 1;
            write_number(dir, MADE_FILE, pending);
            write_number(dir, PENDING_FILE, pending);
        }
        strcpy(operation, UPDATE_OP);
        snprintf(body, sizeof(body), "%d", pending);
    } else if (strcmp(req->op, FL_KEY_PROMOTE) == 0) {
        if (!pending)
            abort();
        write_number(dir, KEY_FILE, pending);
        die_if_told(dir, req->op, "between");
        write_number(dir, PENDING_FILE, 0);
    } else if (strcmp(req->op, FL_KEY_DROP) == 0) {
        write_number(dir, PENDING_FILE, 0);
    }
}

static int key_main(const char *dir)
{
    static char line[FL_KEY_MAX_LINE_BYTES];

    while (fgets(line, sizeof(line), stdin)) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        fl_autobuf struct fl_buf out = FL_BUF(FL_KEY_MAX_LINE_BYTES);
        struct fl_key_request req;
        struct fl_key_answer answer;

        if (fl_json_decode(&fl_shape_key_request, line, strlen(line), 0, &arena, &req, NULL) < 0)
            return 2;
        die_if_told(dir, req.op, "before");
        run_op(dir, &req, &answer);
        die_if_told(dir, req.op, "after");
        if (fl_json_encode(&fl_shape_key_answer, &answer, &out) < 0)
            return 2;
        puts(out.data);
        fflush(stdout);
    }
    return 0;
}

/* ---- the service ---- */
enum fault {
    NONE,
    REQUEST_LOST, /* and with it the connection of net */
    ANSWER_LOST,
    UNREACHABLE,     /* no connection */
    SAYS_500,        /* and has done nothing */
    DONE_BUT_500,    /* did it, but says that it failed */
    THROTTLES,       /* 400 ThrottlingException */
    REFUSES_THE_KEY, /* 400 InvalidPublicKey */
    MONITOR_DIES_BEFORE,
    MONITOR_DIES_AFTER,
};

struct fixture {
    char dir[TMPDIR_BYTES];
    struct fl_paths paths;
    struct fl_agent_config config;
    struct fl_loop *loop;
    struct fl_identity_keeper *keeper;
    int current, previous; /* keys that the service accepts */
    bool wants_rotation;
    bool forgets; /* like a service that accepts the old key no more once it has a new one */
    enum fault fault;
    const char *fault_op;       /* at the next call of this name */
    bool faulted, faults_again; /* not only once */
    int64_t life_ms;
    unsigned calls; /* of all kinds, answered or not */
    unsigned tokens, updates, locked_out;
    struct fl_net_token_result res;
    int next; /* what becomes of the call under way */
};

enum { ANSWER, NET_FALLS, RESTART };

static void new_keeper(struct fixture *f);

static void after_call(void *arg)
{
    struct fixture *f = arg;

    if (!f->keeper)
        return; /* the monitor is gone that asked */
    if (f->next == ANSWER) {
        fl_identity_keeper_result(f->keeper, &f->res);
    } else if (f->next == NET_FALLS) {
        fl_identity_keeper_net_down(f->keeper);
        fl_identity_keeper_net_up(f->keeper);
    } else {
        f->keeper = fl_identity_keeper_free(f->keeper);
        new_keeper(f);
    }
}

static void refuse(struct fixture *f, int status, const char *name)
{
    f->res = (struct fl_net_token_result){ .http_status = status,
                                           .error_name = (char *)name,
                                           .error_text = "no" };
}

static void serve(struct fixture *f, const struct fl_net_signed_call *call)
{
    int key = atoi(call->authorization);
    bool is_update = strcmp(call->operation, UPDATE_OP) == 0;

    if (key != f->current && (!f->previous || key != f->previous)) {
        f->locked_out++;
        refuse(f, 400, "InvalidSignatureException");
        return;
    }
    f->res = (struct fl_net_token_result){ .http_status = 200 };
    if (is_update) {
        int fresh = atoi(call->body);

        f->updates++;
        f->wants_rotation = false;
        if (fresh == f->current)
            return;
        f->previous = f->forgets ? 0 : key;
        f->current = fresh;
        return;
    }
    f->tokens++;
    if (key == f->current)
        f->previous = 0;
    f->res.access_key_id = "ASIA";
    f->res.secret_access_key = "secret";
    f->res.session_token = "token";
    f->res.expires_ms = fl_now_ms() + f->life_ms;
    f->res.update_key_pair = f->wants_rotation;
}

static int send_call(void *arg, const struct fl_net_signed_call *call)
{
    struct fixture *f = arg;
    enum fault fault = NONE;

    f->calls++;
    if ((!f->faulted || f->faults_again) && f->fault != NONE &&
        strcmp(call->operation, f->fault_op) == 0) {
        f->faulted = true;
        fault = f->fault;
    }
    f->next = ANSWER;
    if (fault == REQUEST_LOST || fault == ANSWER_LOST)
        f->next = NET_FALLS;
    if (fault == MONITOR_DIES_BEFORE || fault == MONITOR_DIES_AFTER)
        f->next = RESTART;
    if (fault == UNREACHABLE)
        refuse(f, 0, "RequestError");
    else if (fault == SAYS_500)
        refuse(f, 500, "InternalServerError");
    else if (fault == THROTTLES)
        refuse(f, 400, "ThrottlingException");
    else if (fault == REFUSES_THE_KEY)
        refuse(f, 400, "InvalidPublicKey");
    else if (fault != REQUEST_LOST && fault != MONITOR_DIES_BEFORE)
        serve(f, call);
    if (fault == DONE_BUT_500)
        refuse(f, 500, "InternalServerError");
    fl_loop_post(f->loop, after_call, f);
    return 0;
}

static void take_creds(void *arg, const struct fl_net_creds *creds)
{
}

static void new_keeper(struct fixture *f)
{
    static const struct fl_identity_events events = { send_call, take_creds };
    const struct fl_registration reg = { .node_id = "mi-0123456789abcdef0", .region = "local" };
    struct fl_err err = { 0 };

    if (fl_identity_keeper_new(f->loop, &f->paths, &f->config, &reg, &events, f, &f->keeper, &err) <
        0)
        fail_msg("%s", fl_err_text(&err));
    fl_identity_keeper_net_up(f->keeper);
}

/* ---- the fixture ---- */
static void make_below(const char *dir, const char *name)
{
    fl_autofree char *path = fl_path_join(dir, name);

    assert_int_equal(fl_dir_make(path, 0700, NULL), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    fl_autofree char *program = NULL;

    make_tmpdir(f->dir);
    program = fl_path_join(f->dir, "fairlead-agent-key");
    assert_int_equal(symlink(this_program(), program), 0);
    make_below(f->dir, "Vault/Store");
    f->paths = (struct fl_paths){ .state = f->dir, .runtime = f->dir, .libexec = f->dir };
    f->config = (struct fl_agent_config){ .service_domain = "",
                                          .ssm_endpoint = "https://127.0.0.1:1",
                                          .credentials_file = "",
                                          .share_profile = "" };
    write_number(f->dir, KEY_FILE, 1);
    write_number(f->dir, MADE_FILE, 1);
    f->current = 1;
    f->life_ms = TOKEN_LIFE_MS;
    f->wants_rotation = true;
    assert_int_equal(fl_loop_new(&f->loop), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    f->keeper = fl_identity_keeper_free(f->keeper);
    for (int i = 0; i < 50; i++) /* files still being written */
        fl_loop_run_once(f->loop, false);
    fl_loop_free(f->loop);
    fl_dir_remove(f->dir, NULL);
    free(f);
    return 0;
}

static bool rotated(struct fixture *f)
{
    int key = read_number(f->dir, KEY_FILE);

    return key > 1 && key == f->current && read_number(f->dir, PENDING_FILE) == 0;
}

static void on_patience(void *arg)
{
    *(bool *)arg = true;
}

/* Turns the loop until the test holds; fails with the state of both sides if it never does. */
static void run_until(struct fixture *f, bool (*test)(struct fixture *f))
{
    bool over = false;
    struct fl_timer *t = fl_timer_new(f->loop, on_patience, &over);

    assert_non_null(t);
    fl_timer_start(t, PATIENCE_MS);
    while (!test(f) && !over)
        fl_loop_run_once(f->loop, true);
    fl_timer_free(t);
    if (!test(f))
        fail_msg("node: key %d, pending %d; service: %d, %d; fault %d",
                 read_number(f->dir, KEY_FILE), read_number(f->dir, PENDING_FILE), f->current,
                 f->previous, (int)f->fault);
}

static void bounce(struct fixture *f)
{
    fl_identity_keeper_net_down(f->keeper);
    fl_identity_keeper_net_up(f->keeper);
}

/* After the rotation: the next token request leaves the service with one key. */
static bool one_key(struct fixture *f)
{
    return rotated(f) && f->previous == 0;
}

static void assert_one_key_in_the_end(struct fixture *f)
{
    run_until(f, rotated);
    f->keeper = fl_identity_keeper_free(f->keeper);
    new_keeper(f);
    run_until(f, one_key);
    assert_int_equal(read_number(f->dir, KEY_FILE), f->current);
}

/* ---- tests ---- */
static void a_rotation_is_asked_for_and_done(void **state)
{
    struct fixture *f = *state;

    new_keeper(f);
    assert_one_key_in_the_end(f);
    assert_int_equal(f->current, 2);
    assert_int_equal(f->updates, 1);
    assert_int_equal(f->locked_out, 0);
}

static bool fault_over(struct fixture *f)
{
    return f->faulted && read_number(f->dir, PENDING_FILE) != 0 && f->tokens >= 2;
}

/* Each call of a rotation lost on each side of its effect, with a service that keeps the old key
 * for a while and with one that does not. */
static void no_lost_call_locks_the_node_out(void **state)
{
    static const enum fault faults[] = { REQUEST_LOST,      ANSWER_LOST, SAYS_500,
                                         DONE_BUT_500,      THROTTLES,   MONITOR_DIES_BEFORE,
                                         MONITOR_DIES_AFTER };

    for (size_t i = 0; i < FL_ARRAY_LEN(faults); i++)
        for (int forgets = 0; forgets < 2; forgets++) {
            struct fixture *f;

            setup(state);
            f = *state;
            f->fault = faults[i];
            f->fault_op = UPDATE_OP;
            f->forgets = forgets;
            new_keeper(f);
            if (faults[i] == SAYS_500 || faults[i] == THROTTLES ||
                (faults[i] == DONE_BUT_500 && !forgets)) {
                /* The old key works: it waits before it says it again, and keeps the key. */
                run_until(f, fault_over);
                assert_int_equal(f->updates, faults[i] == DONE_BUT_500 ? 1 : 0);
                bounce(f);
            }
            assert_one_key_in_the_end(f);
            assert_int_equal(f->current, 2); /* the key that was made first */
            teardown(state);
        }
}

static bool dropped(struct fixture *f)
{
    return f->faulted && read_number(f->dir, PENDING_FILE) == 0;
}

static void a_refused_key_is_forgotten(void **state)
{
    struct fixture *f = *state;

    f->fault = REFUSES_THE_KEY;
    f->fault_op = UPDATE_OP;
    new_keeper(f);
    run_until(f, dropped);
    assert_int_equal(read_number(f->dir, KEY_FILE), 1);
    assert_int_equal(f->current, 1);
    assert_int_equal(f->updates, 0);
    assert_int_equal(f->tokens, 2); /* the second one proves that the old key works */
}

static bool has_died(struct fixture *f)
{
    fl_autofree char *path = fl_path_join(f->dir, DEATH_FILE);

    return access(path, F_OK) < 0 && fl_identity_keeper_error(f->keeper) != NULL;
}

/* The key process dies at each of its steps; the monitor goes on, or is restarted. */
static void no_death_of_the_key_process_locks_the_node_out(void **state)
{
    static const struct {
        const char *where;
        bool begun; /* a key was stored: the rotation goes on by itself */
    } deaths[] = {
        { "rotate-begin before", false }, { "rotate-begin after", true },
        { "promote before", true },       { "promote between", true },
        { "promote after", true },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(deaths); i++)
        for (int restart = 0; restart < 2; restart++) {
            struct fixture *f;

            setup(state);
            f = *state;
            write_text(f->dir, DEATH_FILE, deaths[i].where);
            new_keeper(f);
            run_until(f, has_died);
            assert_int_equal(read_number(f->dir, MADE_FILE), deaths[i].begun ? 2 : 1);
            if (restart || !deaths[i].begun) {
                f->keeper = fl_identity_keeper_free(f->keeper);
                new_keeper(f);
            } else {
                bounce(f);
            }
            assert_one_key_in_the_end(f);
            assert_int_equal(f->current, 2);
            teardown(state);
        }
}

static bool has_token(struct fixture *f)
{
    fl_autofree char *path = fl_path_join(f->dir, CREDS_FILE);

    return f->tokens > 0 && access(path, F_OK) == 0;
}

static bool was_asked(struct fixture *f)
{
    return f->calls > 0 && fl_identity_keeper_error(f->keeper) != NULL;
}

/* In the place of the C library's: a key process that is started is seen by it. */
static unsigned n_pairs;
int socketpair(int domain, int type, int protocol, int fds[2])
{
    n_pairs++;
    return (int)syscall(SYS_socketpair, domain, type, protocol, fds);
}

static bool refusal_begins_a_request(struct fixture *f)
{
    n_pairs = 0;
    fl_identity_keeper_refused(f->keeper);
    return n_pairs > 0;
}

/* A channel whose credentials are refused says so with each of its tries: one token is asked for,
 * and whatever the answer is, the next tries add nothing to what is planned. */
static void refused_credentials_are_exchanged_once(void **state)
{
    static const enum fault faults[] = { UNREACHABLE, SAYS_500, THROTTLES };

    for (size_t i = 0; i < FL_ARRAY_LEN(faults); i++) {
        struct fixture *f;

        setup(state);
        f = *state;
        f->wants_rotation = false;
        f->life_ms = LONG_LIFE_MS;
        new_keeper(f);
        run_until(f, has_token);
        f->keeper = fl_identity_keeper_free(f->keeper);
        new_keeper(f); /* goes on with what was kept */
        f->calls = 0;
        f->fault = faults[i];
        f->fault_op = TOKEN_OP;
        f->faults_again = true;
        assert_true(refusal_begins_a_request(f));
        run_until(f, was_asked);
        assert_false(refusal_begins_a_request(f));
        teardown(state);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rotation_is_asked_for_and_done, setup, teardown),
        cmocka_unit_test(no_lost_call_locks_the_node_out),
        cmocka_unit_test_setup_teardown(a_refused_key_is_forgotten, setup, teardown),
        cmocka_unit_test(no_death_of_the_key_process_locks_the_node_out),
        cmocka_unit_test(refused_credentials_are_exchanged_once),
    };

    if (strcmp(argv[0], "fairlead-agent-key") == 0)
        return key_main(argv[2]);
    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

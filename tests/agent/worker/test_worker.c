/* Real workers on real job folders: the conformance cases, death at every record, floods of output.
 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include "common/base/log.h"
#include "tests/agent/worker/worker_fixture.h"

/* ---- the conformance file ---- */

static const struct step *step_named(const struct outcome *o, const char *key)
{
    for (int i = 0; i < o->dones; i++)
        if (!key || strcmp(o->steps[i].key, key) == 0)
            return &o->steps[i];
    return NULL;
}

static void check_text(const char *name, const json_t *want, const char *what, const char *json)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const char *got = json_string_value(value);
    size_t len = json_string_length(value), n;
    char key[32];
    const json_t *w;

    w = json_object_get(want, what);
    if (w && strcmp(json_string_value(w), got) != 0)
        fail_msg("%s: %s is\n%s", name, what, got);
    snprintf(key, sizeof(key), "%s_prefix", what);
    w = json_object_get(want, key);
    if (w && strncmp(got, json_string_value(w), json_string_length(w)) != 0)
        fail_msg("%s: %s begins\n%s", name, what, got);
    snprintf(key, sizeof(key), "%s_suffix", what);
    w = json_object_get(want, key);
    n = json_string_length(w);
    if (w && (len < n || strcmp(got + len - n, json_string_value(w)) != 0))
        fail_msg("%s: %s ends otherwise", name, what);
    snprintf(key, sizeof(key), "%s_length", what);
    w = json_object_get(want, key);
    if (w && (size_t)json_integer_value(w) != len)
        fail_msg("%s: %s has %zu bytes", name, what, len);
    json_decref(value);
}

static void check_case(const char *name, const json_t *want, const struct outcome *o)
{
    const char *error = json_string_value(json_object_get(want, "error"));
    const char *prefix = json_string_value(json_object_get(want, "error_prefix"));
    const json_t *steps = json_object_get(want, "steps"), *status;
    const struct step *s;
    const char *key;

    if (error || prefix) {
        assert_int_equal(o->dones, 0);
        assert_string_equal(o->status, "Failed");
        if (error ? strcmp(o->error, error) : strncmp(o->error, prefix, strlen(prefix)))
            fail_msg("%s: %s", name, o->error);
        return;
    }
    if (strcmp(o->status, json_string_value(json_object_get(want, "status"))) != 0)
        fail_msg("%s: document %s", name, o->status);
    assert_int_equal(o->dones, json_object_size(steps));
    json_object_foreach((json_t *)steps, key, status)
    {
        s = step_named(o, key);
        if (!s || strcmp(s->status, json_string_value(status)) != 0)
            fail_msg("%s: step %s %s", name, key, s ? s->status : "absent");
    }
    s = step_named(o, json_string_value(json_object_get(want, "of")));
    if (json_object_get(want, "code") &&
        json_integer_value(json_object_get(want, "code")) != s->code)
        fail_msg("%s: code %lld", name, (long long)s->code);
    check_text(name, want, "output", s->text[0]);
    check_text(name, want, "stdout", s->text[1]);
    check_text(name, want, "stderr", s->text[2]);
}

static void conformance(void **state)
{
    json_t *cases = json_load_file("tests/vectors/documents-conformance.json", 0, NULL);
    size_t n = 0;

    assert_true(json_array_size(cases) > 30);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *c = json_array_get(cases, i), *payload;
        const char *name = json_string_value(json_object_get(c, "name"));
        struct outcome o;
        char *content;

        payload = json_pack("{s:O,s:O,s:s}", "Parameters", json_object_get(c, "parameters"),
                            "DocumentContent", json_object_get(c, "document"), "CommandId", "c1");
        content = json_dumps(payload, 0);
        make_job(content);
        run_to_boot();
        read_outcome(&o);
        assert_int_equal(o.ends + o.reboots, 1);
        check_case(name, json_object_get(c, "expect"), &o);
        free_outcome(&o);
        free(content);
        json_decref(payload);
        n++;
    }
    assert_int_equal(n, json_array_size(cases));
    json_decref(cases);
}

/* ---- what scripts find around them ---- */

/* Stands for pwsh: tells what it was started with. */
static void make_stand_in(void)
{
    static const char text[] = "#!/bin/sh\n"
                               "echo \"$0 $1 ${2##*/}\"\n"
                               "head -c 3 \"$2\" | od -An -tx1\n"
                               "tail -c +4 \"$2\"\n"
                               "echo \"home=$HOME term=${TERM-none} mine=$MINE\"\n"
                               "exit 7\n";
    char path[TMPDIR_BYTES + 64];

    snprintf(path, sizeof(path), "%s/pwsh", dir);
    assert_int_equal(fl_file_replace(path, 0755, text, sizeof(text) - 1, NULL), 0);
}

static void powershell_gets_its_file(void **state)
{
    fl_autofree char *path = strdup(getenv("PATH"));
    char with[TMPDIR_BYTES + 16 + 4096], want[TMPDIR_BYTES + 256];
    struct outcome o;

    make_stand_in();
    snprintf(with, sizeof(with), "%s:%s", dir, path);
    setenv("PATH", with, 1);
    setenv("TERM", "vt100", 1);
    make_document("{\"action\":\"aws:runPowerShellScript\",\"name\":\"a\",\"inputs\":{"
                  "\"environment\":{\"MINE\":\"yes\"},\"runCommand\":[\"Get-Date\",\"ls\"]}}");
    run_worker();
    setenv("PATH", path, 1);
    read_outcome(&o);
    snprintf(
        want, sizeof(want),
        "\"%s/pwsh -f _script.ps1\\n ef bb bf\\nGet-Date\\nls\\nhome=/ term=none mine=yes\\n\"",
        dir);
    assert_string_equal(o.steps[0].text[1], want);
    assert_string_equal(o.steps[0].text[2], "\"failed to run commands: exit status 7\"");
    assert_int_equal(o.steps[0].code, 7);
    free_outcome(&o);

    /* Without any the official agent's path stands in the error. */
    setenv("PATH", "/nonexistent", 1);
    make_document("{\"action\":\"aws:runPowerShellScript\",\"name\":\"a\",\"inputs\":{}}");
    run_worker();
    setenv("PATH", path, 1);
    read_outcome(&o);
    assert_string_equal(
        o.steps[0].text[2],
        "\"failed to run commands: fork/exec /usr/bin/pwsh: no such file or directory\"");
    free_outcome(&o);
}

static void parameters_reach_scripts_as_variables(void **state)
{
    struct outcome o;

    make_job(
        "{\"CommandId\":\"c1\",\"Parameters\":{\"evil\":\"$(id) 'x' {{ plain }}\",\"plain\":\"p\"},"
        "\"DocumentContent\":{\"schemaVersion\":\"2.2\",\"parameters\":{"
        "\"evil\":{\"type\":\"String\",\"interpolationType\":\"ENV_VAR\"},"
        "\"own\":{\"type\":\"String\",\"interpolationType\":\"ENV_VAR\",\"default\":\"d\"},"
        "\"plain\":{\"type\":\"String\"}},\"mainSteps\":[{\"action\":\"aws:runShellScript\","
        "\"name\":\"a\",\"inputs\":{\"environment\":{\"SSM_own\":\"the step's\"},\"runCommand\":["
        "\"echo \\\"$SSM_evil|$SSM_own|${SSM_plain-unset}\\\"\"]}}]}}");
    run_worker();
    read_outcome(&o);
    assert_string_equal(o.steps[0].text[1], "\"$(id) 'x' {{ plain }}|the step's|unset\\n\"");
    free_outcome(&o);
}

/* ---- death ---- */

/* Three steps that leave a mark each time they run. */
static void make_marking_document(void)
{
    char steps[3 * (TMPDIR_BYTES + 200)];

    snprintf(
        steps, sizeof(steps),
        SHELL("a", "echo a >> %s/marks; echo a") "," SHELL(
            "b", "echo b >> %s/marks; echo b; exit 3") "," SHELL("c", "echo c >> %s/marks; echo c"),
        dir, dir, dir);
    make_document(steps);
}

/* Whatever happened: every step ran at most once, each has one result, the document has one end. */
static void check_marks(int killed_at)
{
    char path[TMPDIR_BYTES + 64];
    fl_autofree char *marks = NULL;
    struct outcome o;
    size_t len = 0;
    int ran[3] = { 0 };

    read_outcome(&o);
    assert_int_equal(o.ends, 1);
    assert_int_equal(o.dones, 3);
    assert_int_equal(o.n_results, 3);
    snprintf(path, sizeof(path), "%s/marks", dir);
    if (fl_file_read(path, 1000, &marks, &len, NULL) == 0)
        for (size_t i = 0; i < len; i += 2)
            ran[marks[i] - 'a']++;
    for (int i = 0; i < 3; i++) {
        bool interrupted = strstr(o.steps[i].text[2], "the worker was interrupted") != NULL;

        assert_int_equal(o.steps[i].index, i);
        if (ran[i] > 1 || (ran[i] == 0 && !interrupted))
            fail_msg("killed at %d: step %d ran %d times", killed_at, i, ran[i]);
        if (!interrupted)
            assert_string_equal(o.steps[i].status, i == 1 ? "Failed" : "Success");
        else
            assert_string_equal(o.steps[i].status, "Failed");
    }
    assert_string_equal(o.status, "Failed");
    free_outcome(&o);
    unlink(path);
}

/* The journal as it is when the worker dies between two records, or in the middle of one. */
static void goes_on_from_every_prefix_of_the_journal(void **state)
{
    char journal[TMPDIR_BYTES + 64], marks[TMPDIR_BYTES + 64], sock[TMPDIR_BYTES + 64];
    fl_autofree char *whole = NULL;
    struct outcome o;
    size_t len;

    job_path(journal, "/journal");
    job_path(sock, "/sock");
    snprintf(marks, sizeof(marks), "%s/marks", dir);
    make_marking_document();
    run_worker();
    read_outcome(&o);
    free_outcome(&o);
    assert_int_equal(fl_file_read(journal, 1 << 20, &whole, &len, NULL), 0);

    for (int i = 0; i < 2 * o.n_records; i++) {
        uint64_t begin = i / 2 == 0 ? 0 : o.ends_at[i / 2 - 1];
        uint64_t size = i % 2 ? begin + (o.ends_at[i / 2] - begin) / 2 : begin;
        struct outcome before;

        make_marking_document();
        assert_int_equal(fl_file_replace(journal, 0600, whole, size, NULL), 0);
        /* What the dead worker's steps had done by then. */
        read_outcome(&before);
        unlink(marks);
        if (before.dones > 0)
            assert_int_equal(
                fl_file_replace(marks, 0600, "a\nb\nc\n", 2 * (size_t)before.dones, NULL), 0);
        free_outcome(&before);
        run_worker();
        check_marks(i);
    }
}

/* Killed while it runs, at whatever it is doing after the n-th change of its journal. */
static void killed_at_every_change_of_the_journal(void **state)
{
    char journal[TMPDIR_BYTES + 64], events[4096];

    job_path(journal, "/journal");
    for (int n = 0; n < 14; n++) {
        int watch = inotify_init1(IN_CLOEXEC), status;
        pid_t pid;

        make_marking_document();
        assert_true(inotify_add_watch(watch, journal, IN_MODIFY) >= 0);
        pid = start_worker(NULL);
        for (int seen = 0; seen < n;) {
            struct timeval tv = { .tv_usec = 300000 };
            fd_set set;
            ssize_t got;

            FD_ZERO(&set);
            FD_SET(watch, &set);
            if (select(watch + 1, &set, NULL, NULL, &tv) <= 0)
                break; /* it has come to its end */
            got = read(watch, events, sizeof(events));
            seen += (int)(got / (ssize_t)sizeof(struct inotify_event));
        }
        kill(pid, SIGKILL);
        status = wait_worker(pid);
        close(watch);
        if (status != 0)
            run_worker();
        check_marks(n);
    }
}

static void what_a_dead_worker_left_running_is_ended(void **state)
{
    char path[TMPDIR_BYTES + 64], steps[1024], stat_path[64];
    fl_autofree char *text = NULL;
    struct outcome o;
    pid_t worker, left;

    /* The shell tells its pid, then ignores everything that can be ignored. */
    snprintf(steps, sizeof(steps),
             SHELL("a", "trap '' HUP INT TERM; sh -c 'sleep 77; true' & echo $!; wait"));
    make_document(steps);
    worker = start_worker(NULL);
    job_path(path, "/steps/0/stdout");
    for (int i = 0; i < 500 && access(path, F_OK) < 0; i++)
        usleep(10000);
    for (int i = 0; i < 500; i++) {
        free(FL_TAKE(text));
        if (fl_file_read(path, 100, &text, NULL, NULL) == 0 && strchr(text, '\n'))
            break;
        usleep(10000);
    }
    left = (pid_t)atoi(text);
    assert_true(left > 1);
    kill(worker, SIGKILL);
    wait_worker(worker);
    assert_int_equal(kill(left, 0), 0); /* the background process is still there */

    run_worker();
    read_outcome(&o);
    assert_string_equal(o.steps[0].status, "Failed");
    assert_int_equal(o.steps[0].code, 1);
    assert_non_null(strstr(o.steps[0].text[2], "it was not run again"));
    free_outcome(&o);
    snprintf(stat_path, sizeof(stat_path), "/proc/%d/cwd", left);
    for (int i = 0; i < 200 && access(stat_path, F_OK) == 0; i++)
        usleep(10000);
    assert_int_equal(access(stat_path, F_OK), -1);
}

static void only_one_worker_has_a_job(void **state)
{
    char path[TMPDIR_BYTES + 64];
    pid_t first;

    make_document(SHELL("a", "sleep 1"));
    first = start_worker(NULL);
    job_path(path, "/steps/0/_script.sh");
    for (int i = 0; i < 500 && access(path, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(WEXITSTATUS(wait_worker(start_worker(NULL))), FL_WORKER_EXIT_BUSY);
    assert_int_equal(wait_worker(first), 0);
    run_worker(); /* an ended document stays as it is */
}

static void started_for_a_cancel_it_runs_nothing(void **state)
{
    struct outcome o;

    make_document(SHELL("a", "echo ran") "," SHELL("b", "echo ran"));
    assert_int_equal(wait_worker(start_worker("--cancel")), 0);
    read_outcome(&o);
    assert_int_equal(o.starts, 0);
    assert_int_equal(o.dones, 2);
    assert_string_equal(o.steps[0].status, "Cancelled");
    assert_int_equal(o.steps[0].code, 1);
    assert_string_equal(o.status, "Cancelled");
    free_outcome(&o);
}

/* ---- output ---- */

static void floods_of_output(void **state)
{
    static const struct {
        const char *script;
        int64_t out, err;
    } cases[] = {
        { "head -c 200000000 /dev/zero", 200000000, 0 },
        { "head -c 3000000 /dev/urandom; head -c 3000000 /dev/urandom 1>&2", 3000000, 3000000 },
        { "i=0; while [ $i -lt 100000 ]; do echo; i=$((i+1)); done", 100000, 0 },
    };
    char path[TMPDIR_BYTES + 64];
    struct stat st;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char steps[512];
        struct outcome o;

        snprintf(steps, sizeof(steps), SHELL("a", "%s"), cases[i].script);
        make_document(steps);
        run_worker();
        read_outcome(&o);
        assert_string_equal(o.status, "Success");
        assert_int_equal(o.steps[0].bytes[0], cases[i].out);
        assert_int_equal(o.steps[0].bytes[1], cases[i].err);
        assert_true(strlen(o.steps[0].text[0]) + strlen(o.steps[0].text[1]) +
                        strlen(o.steps[0].text[2]) <=
                    108000);
        job_path(path, "/steps/0/stdout");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, FL_MIN(cases[i].out, (int64_t)1 << 20));
        free_outcome(&o);
    }
}

static void a_process_left_behind_keeps_the_step_open_until_it_closes_the_pipes(void **state)
{
    struct outcome o;
    int64_t begin = fl_mono_ms();

    make_document(SHELL("a", "(sleep 0.5; echo late) & echo early"));
    run_worker();
    read_outcome(&o);
    assert_true(fl_mono_ms() - begin >= 500);
    assert_string_equal(o.steps[0].text[1], "\"early\\nlate\\n\"");
    free_outcome(&o);
}

static void a_timeout_does_not_wait_for_who_left_the_group(void **state)
{
    struct outcome o;
    int64_t begin = fl_mono_ms();

    make_document(
        "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"inputs\":{\"timeoutSeconds\":5,"
        "\"runCommand\":[\"setsid sleep 9 & echo out\"]}}");
    run_worker();
    read_outcome(&o);
    assert_true(fl_mono_ms() - begin < 8000);
    assert_string_equal(o.steps[0].status, "TimedOut");
    assert_int_equal(o.steps[0].code, 137);
    assert_string_equal(o.steps[0].text[1], "\"out\\n\"");
    free_outcome(&o);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(conformance),
        T(powershell_gets_its_file),
        T(parameters_reach_scripts_as_variables),
        T(goes_on_from_every_prefix_of_the_journal),
        T(killed_at_every_change_of_the_journal),
        T(what_a_dead_worker_left_running_is_ended),
        T(only_one_worker_has_a_job),
        T(started_for_a_cancel_it_runs_nothing),
        T(floods_of_output),
        T(a_process_left_behind_keeps_the_step_open_until_it_closes_the_pipes),
        T(a_timeout_does_not_wait_for_who_left_the_group),
    };

    int role = run_role(argc, argv);

    return role >= 0 ? role : cmocka_run_group_tests(tests, NULL, NULL);
}

/* Transcripts: what is in the file, what shows that it was changed, what goes elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/wire/datachannel.h"
#include "server/audit.h"
#include "server/s3/service.h"
#include "server/session/session.h"
#include "server/session/transcript_priv.h"
#include "tests/server/fixture.h"

#define ID    "alice-0a1b2c3d4e5f6a7b8"
#define NODE  "mi-0123456789abcdef0"
#define KEY   "0123456789abcdef0123456789abcdef"
#define SHELL "{\"sessionType\":\"Standard_Stream\",\"inputs\":{}}"

static const uint8_t *key = (const uint8_t *)KEY;

/* ---- the file alone ---- */

static int put_text(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    fl_buf_printf(arg, "%c%lld:%.*s|", kind, (long long)wall_ms, (int)len, (const char *)data);
    return 0;
}

static int make_file(const void *data, size_t len)
{
    char path[] = "/tmp/fl-transcript-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(fl_fd_pwrite_all(fd, data, len, 0), 0);
    return fd;
}

/* Three blocks of two records. */
static struct fl_tf_end write_blocks(struct fl_buf *out, const char *session)
{
    struct fl_tf_end end;

    assert_int_equal(fl_tf_start(session, out, &end), 0);
    for (int i = 0; i < 3; i++) {
        fl_autobuf struct fl_buf body = FL_BUF(1000);

        fl_tf_record(&body, FL_TF_OUTPUT, 100 + i, "hello", 5);
        fl_tf_record(&body, FL_TF_SIZE, 200 + i, "80x24", 5);
        assert_int_equal(fl_tf_block(key, 1, body.data, body.len, out, &end), 0);
    }
    return end;
}

static void reads_back(void **state)
{
    fl_autobuf struct fl_buf file = FL_BUF(1 << 20), text = FL_BUF(1 << 20);
    struct fl_tf_end end = write_blocks(&file, ID), at = { 0 }, sought;
    int fd = make_file(file.data, file.len), n = 0, r;

    (void)state;
    do {
        r = fl_tf_read(fd, key, ID, &at, 1, put_text, &text, NULL);
        assert_true(r >= 0);
        assert_int_equal(fl_tf_seek(fd, ID, at.bytes, &sought, NULL), 0);
        assert_memory_equal(&sought, &at, sizeof(at));
        n++;
    } while (r > 0);
    assert_int_equal(n, 4);
    assert_memory_equal(&at, &end, sizeof(at));
    assert_string_equal(text.data,
                        "O100:hello|S200:80x24|O101:hello|S201:80x24|O102:hello|S202:80x24|");
    assert_int_equal(fl_tf_seek(fd, ID, at.bytes - 1, &sought, NULL), -EBADMSG);
    close(fd);
}

/* Reads all; what it finds must be wrong, or must end elsewhere than the whole one. */
static void must_show(const char *what, size_t at_byte, const void *data, size_t len,
                      const struct fl_tf_end *end)
{
    struct fl_tf_end at = { 0 };
    int fd = make_file(data, len), r = fl_tf_read(fd, key, ID, &at, SIZE_MAX, NULL, NULL, NULL);

    close(fd);
    if (r == 0 && memcmp(&at, end, sizeof(at)) == 0)
        fail_msg("%s at %zu was not found", what, at_byte);
}

static void every_byte_is_bound(void **state)
{
    fl_autobuf struct fl_buf file = FL_BUF(1 << 20);
    struct fl_tf_end end = write_blocks(&file, ID);
    size_t block = (file.len - 22) / 3;
    fl_autofree char *other = malloc(file.len + 1);

    (void)state;
    for (size_t i = 0; i < file.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(other, file.data, file.len);
            other[i] ^= (char)(1 << bit);
            must_show("a changed bit", i, other, file.len, &end);
        }
    for (size_t i = 0; i < file.len; i++)
        must_show("the end cut off", i, file.data, i, &end);
    for (size_t i = 0; i < file.len; i++) {
        memcpy(other, file.data, i);
        memcpy(other + i, file.data + i + 1, file.len - i - 1);
        must_show("a byte taken out", i, other, file.len - 1, &end);
        memcpy(other, file.data, i);
        other[i] = 'x';
        memcpy(other + i + 1, file.data + i, file.len - i);
        must_show("a byte put in", i, other, file.len + 1, &end);
    }
    /* whole blocks: taken out, exchanged, of another session */
    memcpy(other, file.data, file.len);
    memmove(other + 22, other + 22 + block, 2 * block);
    must_show("a block taken out", 0, other, file.len - block, &end);
    memcpy(other, file.data, file.len);
    memcpy(other + 22, file.data + 22 + block, block);
    memcpy(other + 22 + block, file.data + 22, block);
    must_show("blocks exchanged", 0, other, file.len, &end);
    fl_buf_reset(&file);
    write_blocks(&file, "bob-0a1b2c3d4e5f6a7b8");
    must_show("another session's", 0, file.data, file.len, &end);
}

/* ---- with a plane ---- */

struct talk {
    struct fl_fixture f;
    struct fl_pass *pass;
    void *state;
    int64_t sequence[2];
};

static void plane_open(struct talk *t)
{
    struct fl_err err = { 0 };

    if (t->f.plane.conf.transcript_days == 0) {
        t->f.plane.conf.transcript_days = 30;
        t->f.plane.conf.transcript_max_bytes = 1 << 20;
        t->f.plane.conf.transcripts_max_bytes = 1 << 30;
        t->f.plane.conf.logs_max_bytes = 1 << 30;
    }
    if (fl_transcripts_open(&t->f.plane, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
}

static void begin(struct talk *t, bool resumed, const char *document)
{
    fl_autobuf struct fl_buf content = FL_BUF(10000);
    struct fl_tap_session s = { .session_id = ID,
                                .node_id = NODE,
                                .owner = "arn:aws:iam::123456789012:user/alice",
                                .document_name = "SSM-SessionManagerRunShell",
                                .started_ms = fl_now_ms(),
                                .resumed = resumed,
                                .pass = t->pass };

    fl_buf_printf(&content,
                  "{\"SessionId\":\"" ID
                  "\",\"DocumentName\":\"d\",\"DocumentContent\":%s,\"Parameters\":"
                  "{\"portNumber\":\"5432\",\"host\":\"db.example\"},\"RunAsUser\":\"\","
                  "\"SessionOwner\":\"a\",\"Fairlead\":{\"KeepsBucket\":true,\"KeepsGroup\":true}}",
                  document);
    s.content = content.data;
    assert_int_equal(fl_tap_transcript.start(&t->f.plane, NULL, &s, &t->state), 0);
}

static void say(struct talk *t, bool input, uint32_t type, const char *text)
{
    struct fl_tap_message m = { .input = input,
                                .type = type,
                                .sequence = t->sequence[input]++,
                                .data = text,
                                .len = strlen(text),
                                .wall_ms = fl_now_ms() };

    fl_tap_transcript.message(t->state, &m);
}

static void end(struct talk *t, bool over)
{
    struct fl_tap_end e = { over, FL_SESS_TERMINATED, "", fl_now_ms() };

    fl_tap_transcript.end(t->state, &e);
    fl_transcripts_settle(t->f.plane.transcripts);
}

/* A session from its begin to its end, or (not `over`) to the plane's, with `shown` in between. */
static void run_part(struct talk *t, bool resumed, const char *shown, bool over)
{
    begin(t, resumed, SHELL);
    if (shown)
        say(t, false, FL_DATA_TYPE_OUTPUT, shown);
    end(t, over);
}

/* The plane stops and starts again. */
static void restart(struct talk *t)
{
    t->f.plane.transcripts = fl_transcripts_free(t->f.plane.transcripts);
    plane_open(t);
}

static int setup(void **state)
{
    struct talk *t = calloc(1, sizeof(*t));

    fl_fixture_open(&t->f);
    t->f.now_ms = fl_now_ms();
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct talk *t = *state;

    t->f.plane.transcripts = fl_transcripts_free(t->f.plane.transcripts);
    t->f.plane.s3 = fl_s3_free(t->f.plane.s3);
    fl_fixture_close(&t->f);
    free(t);
    return 0;
}

static char *file_path(struct talk *t)
{
    static char path[160];

    snprintf(path, sizeof(path), "%s/transcripts/" ID, t->f.dir);
    return path;
}

static void verified(struct talk *t, const char *valid)
{
    fl_fixture_ok(&t->f, "fairlead:VerifyTranscript", "{\"SessionId\":\"" ID "\"}");
    if (strcmp(fl_fixture_text(&t->f, "Valid"), valid) != 0)
        fail_msg("%s", t->f.reply);
}

/* The records' kinds, as they stand in the file. */
static void assert_kinds(struct talk *t, const char *wanted)
{
    char text[64], *out = text;

    fl_fixture_ok(&t->f, "fairlead:GetTranscript", "{\"SessionId\":\"" ID "\"}");
    for (int i = 0; i < fl_fixture_count(&t->f, "Records"); i++) {
        char path[40];

        snprintf(path, sizeof(path), "Records.%d.Kind", i);
        assert_true(out < text + sizeof(text) - 1);
        *out++ = *fl_fixture_text(&t->f, path);
    }
    *out = '\0';
    assert_string_equal(text, wanted);
}

static void a_session(void **state)
{
    struct talk *t = *state;
    struct stat st;

    plane_open(t);
    begin(t, false, SHELL);
    say(t, true, FL_DATA_TYPE_SIZE, "{\"cols\":80,\"rows\":24}");
    say(t, false, FL_DATA_TYPE_OUTPUT, "$ ");
    say(t, true, FL_DATA_TYPE_OUTPUT, "secret\r");
    say(t, false, FL_DATA_TYPE_OUTPUT, "\x1b[1mThe quick\x1b[0m brown fox\r\n");
    fl_transcripts_settle(t->f.plane.transcripts);
    verified(t, "true");
    end(t, true);
    verified(t, "true");
    assert_int_equal(stat(file_path(t), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_kinds(t, "BSOOZ"); /* what was typed is not there */
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_int_equal(fl_fixture_count(&t->f, "Transcripts"), 1);
    assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.SessionId"), ID);
    assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.BytesIn"), "7");
    assert_non_null(fl_fixture_text(&t->f, "Transcripts.0.EndDate"));
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{\"Target\":\"mi-ffffffffffffffff0\"}");
    assert_int_equal(fl_fixture_count(&t->f, "Transcripts"), 0);
    fl_fixture_ok(&t->f, "fairlead:SearchTranscripts", "{\"Text\":\"QUICK BROWN\"}");
    assert_int_equal(fl_fixture_count(&t->f, "Matches"), 1);
    assert_string_equal(fl_fixture_text(&t->f, "Matches.0.Line"), "$ The quick brown fox");
    fl_fixture_ok(&t->f, "fairlead:SearchTranscripts", "{\"Text\":\"secret\"}");
    assert_int_equal(fl_fixture_count(&t->f, "Matches"), 0);
    fl_fixture_fails(&t->f, "fairlead:GetTranscript", "{\"SessionId\":\"bob-1\"}",
                     "DoesNotExistException");
}

static void what_is_typed_if_wanted(void **state)
{
    struct talk *t = *state;

    t->f.plane.conf.transcript_input = true;
    plane_open(t);
    begin(t, false, SHELL);
    say(t, true, FL_DATA_TYPE_OUTPUT, "ls\r");
    end(t, true);
    assert_kinds(t, "BIZ");
}

/* The plane was killed: the chain goes on, half a block is cut off. */
static void goes_on_after_a_restart(void **state)
{
    struct talk *t = *state;
    int fd;

    plane_open(t);
    run_part(t, false, "before\r\n", false);
    fd = open(file_path(t), O_WRONLY | O_APPEND);
    for (int i = 0; i < 50; i++) /* longer than what is written over it */
        assert_int_equal(write(fd, "half a block", 12), 12);
    close(fd);
    restart(t);
    verified(t, "true");
    run_part(t, true, "after\r\n", true);
    verified(t, "true");
    assert_kinds(t, "BOROZ");
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.BytesOut"), "15");
}

/* What a row remembers is missing or changed: it is not gone on with, and told. */
static void a_changed_file_is_left_alone(void **state)
{
    static const struct {
        const char *what;
        int64_t at; /* from the end */
        bool cut;
    } cases[] = { { "cut", 10, true },
                  { "changed", 60, false },
                  { "a whole block cut off", 20 + 2 * (FL_TF_RECORD_BYTES + 8) + FL_TF_MAC_BYTES,
                    true },
                  { "emptied", 1 << 20, true } };
    struct talk *t = *state;

    for (size_t i = 0; i < 4; i++) {
        struct stat before, after;
        int fd;

        plane_open(t);
        run_part(t, false, "before\r\n", false);
        assert_int_equal(stat(file_path(t), &before), 0);
        fd = open(file_path(t), O_RDWR);
        if (cases[i].cut) {
            assert_int_equal(ftruncate(fd, FL_MAX(before.st_size - cases[i].at, 0)), 0);
        } else {
            assert_int_equal(pwrite(fd, "!", 1, before.st_size - cases[i].at), 1);
        }
        fstat(fd, &before);
        close(fd);
        verified(t, "false");
        restart(t);
        run_part(t, true, "after\r\n", true);
        assert_int_equal(stat(file_path(t), &after), 0);
        assert_int_equal(before.st_size, after.st_size);
        verified(t, "false");
        fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
        assert_non_null(fl_fixture_text(&t->f, "Transcripts.0.Note"));
        teardown(state);
        setup(state);
        t = *state;
    }
}

/* Power fails: whatever is left of the file, what is said of it is true. The row remembers what was
 * synced; two blocks more were written since. */
static void cut_off_at_every_byte(void **state)
{
    struct talk *t = *state;
    fl_autobuf struct fl_buf file = FL_BUF(1 << 20);
    fl_autofree char *synced = NULL;
    struct fl_tf_end at = { 0 };
    static const char *const told[] = { "BO", "BOO", "BOOO" };
    size_t len, whole[2];
    int fd;

    plane_open(t);
    pthread_mutex_lock(&t->f.plane.transcripts->lock);
    t->f.plane.transcripts->retire_at_ms = INT64_MAX; /* which would end it */
    pthread_mutex_unlock(&t->f.plane.transcripts->lock);
    begin(t, false, SHELL);
    say(t, false, FL_DATA_TYPE_OUTPUT, "one\r\n");
    end(t, false);
    fd = open(file_path(t), O_RDONLY);
    assert_int_equal(fl_tf_read(fd, fl_transcript_key(t->f.plane.transcripts), ID, &at, SIZE_MAX,
                                NULL, NULL, NULL),
                     0);
    close(fd);
    assert_int_equal(fl_file_read(file_path(t), 1 << 20, &synced, &len, NULL), 0);
    fl_buf_append(&file, synced, len);
    for (int i = 0; i < 2; i++) {
        fl_autobuf struct fl_buf body = FL_BUF(1000);

        fl_tf_record(&body, FL_TF_OUTPUT, 1, "more\r\n", 6);
        fl_tf_block(fl_transcript_key(t->f.plane.transcripts), 1, body.data, body.len, &file, &at);
        whole[i] = file.len;
    }
    for (size_t left = 0; left <= file.len; left++) {
        size_t blocks = (left >= whole[0]) + (left >= whole[1]);
        size_t good = blocks ? whole[blocks - 1] : len;

        assert_int_equal(fl_file_replace(file_path(t), 0600, file.data, left, NULL), 0);
        verified(t, left < len ? "false" : "true");
        assert_string_equal(fl_fixture_text(&t->f, "Ended"), "false");
        assert_int_equal(atoi(fl_fixture_text(&t->f, "Missing")), left < len ? len - left : 0);
        assert_int_equal(atoi(fl_fixture_text(&t->f, "Tail")), left < len ? 0 : left - good);
        if (left < len) {
            assert_non_null(strstr(fl_fixture_text(&t->f, "Error"), "missing at the end"));
            fl_fixture_fails(&t->f, "fairlead:GetTranscript", "{\"SessionId\":\"" ID "\"}",
                             "InvalidTranscript");
        } else {
            assert_kinds(t, told[blocks]);
        }
        fl_fixture_ok(&t->f, "fairlead:SearchTranscripts", "{\"Text\":\"one\"}");
    }
    restart(t);
    begin(t, true, SHELL);
    end(t, true);
    verified(t, "true");
    assert_string_equal(fl_fixture_text(&t->f, "Ended"), "true");
}

static void added_behind_the_end(void **state)
{
    struct talk *t = *state;
    int fd;

    plane_open(t);
    run_part(t, false, NULL, true);
    verified(t, "true");
    fd = open(file_path(t), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    verified(t, "false");
    unlink(file_path(t));
    verified(t, "false");
}

/* Who has the key, but not the database: the same blocks, with a letter changed. */
static void forged_with_the_key(void **state)
{
    struct talk *t = *state;
    fl_autofree char *old = NULL;
    fl_autobuf struct fl_buf file = FL_BUF(1 << 20);
    struct fl_tf_end at;
    size_t len, n;

    plane_open(t);
    run_part(t, false, NULL, true);
    verified(t, "true");
    assert_int_equal(fl_file_read(file_path(t), 1 << 20, &old, &len, NULL), 0);
    fl_tf_start(ID, &file, &at);
    old[len - FL_TF_MAC_BYTES - 1] = 'D'; /* "TerminateD" */
    for (size_t i = file.len; i < len; i += 20 + n + FL_TF_MAC_BYTES) {
        n = (uint8_t)old[i + 18] << 8 | (uint8_t)old[i + 19];
        fl_tf_block(fl_transcript_key(t->f.plane.transcripts), 1, old + i + 20, n, &file, &at);
    }
    assert_int_equal(file.len, len);
    assert_int_equal(fl_file_replace(file_path(t), 0600, file.data, file.len, NULL), 0);
    verified(t, "false");
    assert_non_null(strstr(fl_fixture_text(&t->f, "Error"), "does not end as it did"));
}

static void limits(void **state)
{
    struct talk *t = *state;

    plane_open(t);
    t->f.plane.conf.transcript_max_bytes = 10;
    begin(t, false, SHELL);
    say(t, false, FL_DATA_TYPE_OUTPUT, "12345678");
    say(t, false, FL_DATA_TYPE_OUTPUT, "too much");
    say(t, false, FL_DATA_TYPE_OUTPUT, "too");
    end(t, true);
    assert_kinds(t, "BOZG");
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.BytesOut"), "19");
    verified(t, "true");
}

/* Byte by byte, the file grows much faster than what is said. */
static void limit_of_the_file(void **state)
{
    struct talk *t = *state;
    struct fl_rec *rec;

    plane_open(t);
    begin(t, false, SHELL);
    say(t, false, FL_DATA_TYPE_OUTPUT, "1");
    fl_transcripts_settle(t->f.plane.transcripts);
    rec = t->state;
    pthread_mutex_lock(&rec->t->lock);
    rec->put.end.bytes = FL_TRANSCRIPT_FILE_TIMES * (1 << 20) + 1; /* as if it were so long */
    pthread_mutex_unlock(&rec->t->lock);
    say(t, false, FL_DATA_TYPE_OUTPUT, "2");
    end(t, true);
    assert_kinds(t, "BOZG");
    verified(t, "true");
}

/* What was recorded before the plane was started again counts. */
static void limits_outlive_the_plane(void **state)
{
    struct talk *t = *state;

    plane_open(t);
    t->f.plane.conf.transcript_max_bytes = 10;
    run_part(t, false, "12345678", false);
    restart(t);
    begin(t, true, SHELL);
    fl_transcripts_settle(t->f.plane.transcripts);
    say(t, false, FL_DATA_TYPE_OUTPUT, "too much");
    end(t, true);
    assert_kinds(t, "BORZG");
}

/* The plane was killed before agent and client had both come: to the next one, the session is new.
 */
static void begun_twice(void **state)
{
    struct talk *t = *state;

    plane_open(t);
    run_part(t, false, "before\r\n", false);
    restart(t);
    run_part(t, false, "after\r\n", true);
    verified(t, "true");
    assert_kinds(t, "BOROZ");
}

/* The plane was killed, and neither side came back. */
static void nobody_came_back(void **state)
{
    struct talk *t = *state;

    plane_open(t);
    begin(t, false, SHELL);
    say(t, false, FL_DATA_TYPE_OUTPUT, "before\r\n");
    fl_transcripts_settle(t->f.plane.transcripts);
    fl_transcripts_retire(t->f.plane.transcripts); /* not one that goes on */
    fl_transcripts_settle(t->f.plane.transcripts);
    assert_kinds(t, "BO");
    end(t, false);
    restart(t);
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_null(fl_fixture_text(&t->f, "Transcripts.0.EndDate"));
    fl_transcripts_retire(t->f.plane.transcripts);
    fl_transcripts_settle(t->f.plane.transcripts);
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_non_null(fl_fixture_text(&t->f, "Transcripts.0.EndDate"));
    assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.BytesOut"), "8");
    assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.Target"), NODE);
    verified(t, "true");
    assert_kinds(t, "BORZ");
}

static int insert_run(struct fl_call *call, void *arg)
{
    const struct fl_session s = { .id = (char *)ID,
                                  .node_id = (char *)NODE,
                                  .owner = (char *)"arn:alice",
                                  .owner_id = (char *)"",
                                  .document_name = (char *)"d",
                                  .session_type = (char *)"Standard_Stream",
                                  .content = (char *)"{}" };

    (void)arg;
    return fl_session_insert(call, &s, "", 0, NULL);
}

static int load_run(struct fl_call *call, void *arg)
{
    struct fl_session s;
    int r = fl_session_load(call, ID, &s, NULL);

    fl_buf_printf(arg, "%s: %s", fl_session_status_name((enum fl_session_status)s.status),
                  s.details);
    return r > 0 ? 0 : -ENOENT;
}

static void must_stand(struct talk *t, const char *want)
{
    fl_autobuf struct fl_buf text = FL_BUF(1000);

    assert_int_equal(fl_fixture_run(&t->f, FL_LANE_READ, load_run, &text), 0);
    assert_string_equal(text.data, want);
}

/* A session that must be recorded and cannot be is ended, and its user told why. */
static void what_cannot_be_recorded_ends(void **state)
{
    static const struct {
        const char *transcripts;
        bool no_folder;
        const char *want;
    } cases[] = {
        { "on", true, "Connecting: " },
        { "on", false, "Connecting: " },
        { "required", true,
          "Terminating: The session must be recorded, and it cannot be: transcript: No such file "
          "or directory." },
        { "required", false,
          "Terminating: The session must be recorded, and its transcript is full." },
    };
    struct talk *t = *state;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char dir[160];

        t->f.plane.conf.transcripts = cases[i].transcripts;
        plane_open(t);
        t->f.plane.conf.transcript_max_bytes = 10;
        assert_int_equal(fl_fixture_run(&t->f, FL_LANE_WRITE, insert_run, NULL), 0);
        snprintf(dir, sizeof(dir), "%s/transcripts", t->f.dir);
        if (cases[i].no_folder)
            assert_int_equal(rmdir(dir), 0);
        begin(t, false, SHELL);
        fl_transcripts_settle(t->f.plane.transcripts);
        if (!cases[i].no_folder) {
            must_stand(t, "Connecting: ");
            say(t, false, FL_DATA_TYPE_OUTPUT, "12345678901");
            fl_transcripts_settle(t->f.plane.transcripts);
        }
        must_stand(t, cases[i].want);
        end(t, true);
        teardown(state);
        setup(state);
        t = *state;
    }
}

static void what_must_be_recorded(void **state)
{
    struct fl_tap_session s = { .session_id = "..", .content = "{}" };
    struct talk *t = *state;
    struct fl_err err = { 0 };
    char dir[160];

    plane_open(t);
    assert_int_equal(fl_tap_transcript.start(&t->f.plane, NULL, &s, &t->state), -EINVAL);
    t->f.plane.transcripts = fl_transcripts_free(t->f.plane.transcripts);
    t->f.plane.conf.transcripts = "required";
    plane_open(t);
    assert_int_equal(fl_tap_transcript.start(&t->f.plane, NULL, &s, &t->state), -EACCES);
    assert_int_equal(fl_transcripts_ready(t->f.plane.transcripts, &err), 0);
    snprintf(dir, sizeof(dir), "%s/transcripts", t->f.dir);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(fl_transcripts_ready(t->f.plane.transcripts, &err), -EINVAL);
    assert_string_equal(err.name, "InternalServerError");
}

/* More than a block holds, at once: all of it is there. */
static void much_at_once(void **state)
{
    struct talk *t = *state;
    fl_autofree char *text = malloc(65536);
    struct stat st;

    memset(text, 'x', 65535);
    text[65535] = '\0';
    t->f.plane.conf.transcript_days = 30;
    t->f.plane.conf.transcript_max_bytes = 64 << 20;
    t->f.plane.conf.transcripts_max_bytes = 1ll << 40;
    plane_open(t);
    begin(t, false, SHELL);
    for (int i = 0; i < 100; i++)
        say(t, false, FL_DATA_TYPE_OUTPUT, text);
    end(t, true);
    verified(t, "true");
    assert_int_equal(stat(file_path(t), &st), 0);
    assert_true(st.st_size > 100 * 65535);
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_true(atoi(fl_fixture_text(&t->f, "Transcripts.0.Blocks")) >= 13);
}

/* Of tunnels, and of what the ends encrypt between them, only numbers. */
static void what_has_no_text(void **state)
{
    static const struct {
        const char *document, *recorded;
    } cases[] = {
        { "{\"sessionType\":\"Port\",\"properties\":{\"portNumber\":\"{{ portNumber }}\"}}",
          "counts" },
        { "{\"sessionType\":\"Standard_Stream\",\"inputs\":{\"kmsKeyId\":\"alias/x\"}}",
          "counts, encrypted" },
        { "{\"sessionType\":\"Standard_Stream\",\"parameters\":{\"k\":{\"type\":\"String\","
          "\"default\":\"alias/x\"}},\"inputs\":{\"kmsKeyId\":\"{{ k }}\"}}",
          "counts, encrypted" },
    };
    struct talk *t = *state;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        plane_open(t);
        begin(t, false, cases[i].document);
        say(t, false, FL_DATA_TYPE_OUTPUT, "private");
        say(t, true, FL_DATA_TYPE_OUTPUT, "private too");
        end(t, true);
        assert_kinds(t, "BZ");
        fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
        assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.Recorded"), cases[i].recorded);
        assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.BytesOut"), "7");
        assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.BytesIn"), "11");
        if (i == 0)
            assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.Endpoint"),
                                "db.example:5432");
        teardown(state);
        setup(state);
        t = *state;
    }
}

static void alarms_are_told(void **state)
{
    static const struct fl_conf_alarm rows[] = { { (char *)"sudo", (char *)"sudo su", false } };
    struct talk *t = *state;
    fl_autobuf struct fl_buf page = FL_BUF(1 << 20);

    t->f.plane.conf.alarms = rows;
    t->f.plane.conf.n_alarms = 1;
    plane_open(t);
    begin(t, false, SHELL);
    say(t, true, FL_DATA_TYPE_OUTPUT, "sudo su\r");
    say(t, false, FL_DATA_TYPE_OUTPUT, "$ sudo su\r\n");
    end(t, true);
    assert_kinds(t, "BAOZ");
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_string_equal(fl_fixture_text(&t->f, "Transcripts.0.Alarms"), "1");
    fl_metrics_render(t->f.plane.metrics, &t->f.plane, &page);
    assert_non_null(strstr(page.data, "fairlead_session_alarms_total 1"));
}

/* What comes while other things are being written, and is not to be, does not wait for what comes
 * next. */
static void what_is_not_recorded_passes(void **state)
{
    struct talk *t = *state;
    fl_autofree char *much = calloc(1, 60001);
    struct fl_rec *rec;

    t->f.plane.conf.transcripts = "required";
    plane_open(t);
    t->f.plane.conf.transcript_max_bytes = 1 << 30;
    t->pass = fl_pass_new(NULL, NULL, NULL);
    assert_non_null(t->pass);
    begin(t, false, SHELL);
    rec = t->state;
    memset(much, 'x', 60000);
    for (int hit = 0, tries = 0; hit < 5 && tries < 100; tries++) {
        bool queued = true, writing = false;

        for (int i = 0; i < 8; i++)
            say(t, false, FL_DATA_TYPE_OUTPUT, much);
        while (queued) {
            pthread_mutex_lock(&rec->t->lock);
            queued = rec->queued;
            writing = rec->writing;
            pthread_mutex_unlock(&rec->t->lock);
        }
        say(t, false, FL_DATA_TYPE_HANDSHAKE_COMPLETE, "{}");
        hit += writing;
        fl_transcripts_settle(rec->t);
        assert_int_equal(fl_pass_get(t->pass, FL_SIDE_AGENT), t->sequence[0]);
    }
    end(t, true);
    t->pass = fl_pass_unref(t->pass);
}

/* The reason is read by a thread that ends the session while more alarms are raised. */
static void the_first_alarm_is_the_reason(void **state)
{
    static const struct fl_conf_alarm rows[] = { { (char *)"one", (char *)"sudo su", true },
                                                 { (char *)"two", (char *)"rm -rf", true } };
    static const char *const typed[] = { "sudo su\r", "rm -rf\r" };
    struct talk *t = *state;
    const struct fl_rec *rec;

    t->f.plane.conf.alarms = rows;
    t->f.plane.conf.n_alarms = 2;
    plane_open(t);
    assert_int_equal(fl_fixture_run(&t->f, FL_LANE_WRITE, insert_run, NULL), 0);
    begin(t, false, SHELL);
    rec = t->state;
    for (size_t i = 0; i < FL_ARRAY_LEN(typed); i++) {
        say(t, true, FL_DATA_TYPE_OUTPUT, typed[i]);
        fl_transcripts_settle(t->f.plane.transcripts);
        must_stand(t, "Terminating: The session was ended by the alarm one.");
        assert_string_equal(rec->end_text, "The session was ended by the alarm one.");
    }
    end(t, true);
}

/* The document's log group, while it runs or at the end; its bucket. */
static void elsewhere(void **state)
{
    struct talk *t = *state;

    plane_open(t);
    fl_fixture_ok(&t->f, "logs:CreateLogGroup", "{\"logGroupName\":\"sessions\"}");
    begin(
        t, false,
        "{\"sessionType\":\"Standard_Stream\",\"inputs\":{\"cloudWatchLogGroupName\":\"sessions\","
        "\"cloudWatchStreamingEnabled\":true,\"runAsDefaultUser\":\"bob\"}}");
    say(t, false, FL_DATA_TYPE_OUTPUT, "\x1b[1mone\x1b[0m\r\ntwo\r\nthr");
    fl_transcripts_settle(t->f.plane.transcripts);
    fl_fixture_ok(&t->f, "logs:GetLogEvents",
                  "{\"logGroupName\":\"sessions\",\"logStreamName\":\"" ID "\"}");
    assert_int_equal(fl_fixture_count(&t->f, "events"), 1);
    assert_non_null(
        strstr(fl_fixture_text(&t->f, "events.0.message"),
               "\"target\":{\"id\":\"" NODE "\"},\"userIdentity\":{\"arn\":"
               "\"arn:aws:iam::123456789012:user/alice\"},\"runAsUser\":\"bob\",\"sessionId\":"
               "\"" ID "\",\"sessionData\":[\"one\",\"two\"]}"));
    say(t, false, FL_DATA_TYPE_OUTPUT, "ee");
    end(t, true);
    fl_fixture_ok(&t->f, "logs:GetLogEvents",
                  "{\"logGroupName\":\"sessions\",\"logStreamName\":\"" ID "\"}");
    assert_int_equal(fl_fixture_count(&t->f, "events"), 2);
    assert_non_null(
        strstr(fl_fixture_text(&t->f, "events.1.message"), "\"sessionData\":[\"three\"]"));
}

static void elsewhere_at_the_end(void **state)
{
    struct talk *t = *state;
    const char *message;

    plane_open(t);
    fl_fixture_ok(&t->f, "logs:CreateLogGroup", "{\"logGroupName\":\"sessions\"}");
    begin(t, false,
          "{\"sessionType\":\"InteractiveCommands\",\"inputs\":{\"cloudWatchLogGroupName\":"
          "\"sessions\"}}");
    say(t, false, FL_DATA_TYPE_OUTPUT, "one\r\ntwo");
    fl_transcripts_settle(t->f.plane.transcripts);
    end(t, true);
    fl_fixture_ok(&t->f, "logs:GetLogEvents",
                  "{\"logGroupName\":\"sessions\",\"logStreamName\":\"" ID "\"}");
    assert_int_equal(fl_fixture_count(&t->f, "events"), 1);
    message = fl_fixture_text(&t->f, "events.0.message");
    assert_memory_equal(message, "Script started on ", 18);
    assert_non_null(strstr(message, "\none\r\ntwo\nScript done on "));
}

static void old_ones_go(void **state)
{
    struct talk *t = *state;
    fl_autofree char *lines = NULL;
    char path[200];
    size_t len;

    t->f.plane.conf.transcript_days = -1; /* all that ended are old */
    t->f.plane.conf.transcript_max_bytes = 1 << 20;
    t->f.plane.conf.transcripts_max_bytes = 1 << 20;
    snprintf(path, sizeof(path), "%s/audit", t->f.dir);
    assert_int_equal(fl_audit_new(path, &t->f.plane.audit, NULL), 0);
    plane_open(t);
    begin(t, false, SHELL);
    fl_transcripts_settle(t->f.plane.transcripts);
    fl_transcripts_retire(t->f.plane.transcripts);
    assert_int_equal(access(file_path(t), F_OK), 0);
    end(t, true);
    fl_transcripts_retire(t->f.plane.transcripts);
    assert_int_equal(access(file_path(t), F_OK), -1);
    fl_fixture_ok(&t->f, "fairlead:ListTranscripts", "{}");
    assert_int_equal(fl_fixture_count(&t->f, "Transcripts"), 0);
    t->f.plane.audit = fl_audit_free(t->f.plane.audit);
    snprintf(path, sizeof(path), "%s/audit/audit.log", t->f.dir);
    assert_int_equal(fl_file_read(path, 1 << 20, &lines, &len, NULL), 0);
    assert_non_null(strstr(lines, "\"fairlead:TranscriptRemoved\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back),
        cmocka_unit_test(every_byte_is_bound),
#define WITH_PLANE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        WITH_PLANE(a_session),
        WITH_PLANE(what_is_typed_if_wanted),
        WITH_PLANE(goes_on_after_a_restart),
        WITH_PLANE(a_changed_file_is_left_alone),
        WITH_PLANE(cut_off_at_every_byte),
        WITH_PLANE(added_behind_the_end),
        WITH_PLANE(forged_with_the_key),
        WITH_PLANE(limits),
        WITH_PLANE(limit_of_the_file),
        WITH_PLANE(limits_outlive_the_plane),
        WITH_PLANE(begun_twice),
        WITH_PLANE(nobody_came_back),
        WITH_PLANE(what_cannot_be_recorded_ends),
        WITH_PLANE(what_must_be_recorded),
        WITH_PLANE(much_at_once),
        WITH_PLANE(what_has_no_text),
        WITH_PLANE(alarms_are_told),
        WITH_PLANE(the_first_alarm_is_the_reason),
        WITH_PLANE(what_is_not_recorded_passes),
        WITH_PLANE(elsewhere),
        WITH_PLANE(elsewhere_at_the_end),
        WITH_PLANE(old_ones_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "agent/lib/text.h"
#include "agent/monitor/identity_files.h"
#include "tests/agent/lib/tempdir.h"

static char shared[512];

static struct fl_identity_files files(void)
{
    return (struct fl_identity_files){
        .state_dir = tempdir,
        .share = true,
        .share_file = shared,
        .share_profile = "",
        .creds = { .node_id = fl_text("mi-1"),
                   .access_key_id = fl_text("ASIA1"),
                   .secret_access_key = fl_text("s/+="),
                   .session_token = fl_text("t//+=="),
                   .expires_ms = 1767326645000,
                   .retrieved_ms = 1767323045000 },
    };
}

static int write_files(const struct fl_identity_files *f, enum fl_share_outcome *outcome,
                       struct fl_err *share_err)
{
    return fl_identity_files_write(f, outcome, share_err, NULL);
}

static void put(const char *text)
{
    assert_int_equal(fl_dir_make(tempdir_path("home"), 0700, NULL), 0);
    assert_int_equal(fl_file_replace(shared, 0640, text, strlen(text), NULL), 0);
}

static char *get(const char *path)
{
    char *text = NULL;

    assert_int_equal(fl_file_read(path, 65536, &text, NULL, NULL), 0);
    return text;
}

#define OURS(profile)                  \
    "[" profile "]\n"                  \
    "aws_access_key_id     = ASIA1\n"  \
    "aws_secret_access_key = s/+=\n"   \
    "aws_session_token     = t//+==\n" \
    "fairlead_node         = mi-1\n"

static void whose_profile_it_is_decides(void **state)
{
    static const struct {
        const char *before; /* NULL: no file */
        enum fl_share_outcome want;
        const char *after;
    } cases[] = {
        { NULL, FL_SHARE_WRITTEN, OURS("default") },
        { "", FL_SHARE_WRITTEN, OURS("default") },
        { "[default]\naws_access_key_id = ASIA0\nfairlead_node = mi-0\n[b]\nx = y\n",
          FL_SHARE_WRITTEN, OURS("default") "[b]\nx = y\n" },
        { "# mine\n[default]\naws_access_key_id = AKIA\n", FL_SHARE_FALLBACK,
          "# mine\n[default]\naws_access_key_id = AKIA\n\n" OURS("fairlead") },
        { "[ default ]\nrole_arn = r\n[fairlead]\nfairlead_node = mi-0\n", FL_SHARE_FALLBACK,
          "[ default ]\nrole_arn = r\n" OURS("fairlead") },
        { "[default]\na = b\n[fairlead]\nc = d\n", FL_SHARE_TAKEN,
          "[default]\na = b\n[fairlead]\nc = d\n" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_identity_files f = files();
        enum fl_share_outcome outcome;
        fl_autofree char *text = NULL;

        unlink(shared);
        if (cases[i].before)
            put(cases[i].before);
        assert_int_equal(write_files(&f, &outcome, NULL), 0);
        assert_int_equal(outcome, cases[i].want);
        text = get(shared);
        assert_string_equal(text, cases[i].after);
    }
}

static void modes_are_kept_and_new_files_are_private(void **state)
{
    struct fl_identity_files f = files();
    enum fl_share_outcome outcome;
    struct stat st;

    put("");
    assert_int_equal(write_files(&f, &outcome, NULL), 0);
    assert_int_equal(stat(shared, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    unlink(shared);
    assert_int_equal(write_files(&f, &outcome, NULL), 0);
    assert_int_equal(stat(shared, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(tempdir_path("runtimeconfig/credentials.json"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_link_of_our_own_is_followed_and_others_are_not_files(void **state)
{
    struct fl_identity_files f = files();
    enum fl_share_outcome outcome;
    struct fl_err err = { 0 };
    struct stat st;

    unlink(shared);
    assert_int_equal(fl_file_replace(tempdir_path("real"), 0600, "", 0, NULL), 0);
    assert_int_equal(symlink(tempdir_path("real"), shared), 0);
    assert_int_equal(write_files(&f, &outcome, &err), 0);
    assert_int_equal(outcome, FL_SHARE_WRITTEN);
    assert_int_equal(lstat(shared, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    unlink(shared);
    assert_int_equal(mkdir(shared, 0700), 0);
    assert_int_equal(write_files(&f, &outcome, &err), 0);
    assert_int_equal(outcome, FL_SHARE_FAILED);
    assert_non_null(strstr(err.text, shared));
    assert_int_equal(rmdir(shared), 0);
}

static void identity_config_is_the_official_agents(void **state)
{
    struct fl_identity_files f = files();
    enum fl_share_outcome outcome;
    fl_autofree char *text = NULL;
    fl_autofree char *off = NULL;
    char want[1024];

    assert_int_equal(write_files(&f, &outcome, NULL), 0);
    text = get(tempdir_path("runtimeconfig/identity_config.json"));
    snprintf(want, sizeof(want),
             "{\"SchemaVersion\":\"1.1\",\"InstanceId\":\"mi-1\",\"IdentityType\":\"OnPrem\","
             "\"ShareFile\":\"%s\",\"ShareProfile\":\"\","
             "\"CredentialsExpiresAt\":\"2026-01-02T04:04:05Z\","
             "\"CredentialsRetrievedAt\":\"2026-01-02T03:04:05Z\",\"CredentialSource\":\"SSM\"}",
             shared);
    assert_string_equal(text, want);

    f.share = false;
    unlink(shared);
    assert_int_equal(write_files(&f, &outcome, NULL), 0);
    assert_int_equal(outcome, FL_SHARE_OFF);
    assert_int_equal(access(shared, F_OK), -1);
    off = get(tempdir_path("runtimeconfig/identity_config.json"));
    assert_non_null(strstr(off, "\"ShareFile\":\"\""));
}

static void the_cache_comes_back(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_credcache c;

    assert_int_equal(fl_credcache_load(tempdir, &arena, &c, NULL), 0);
    assert_string_equal(c.node_id, "mi-1");
    assert_string_equal(c.session_token, "t//+==");
    assert_int_equal(c.expires_ms, 1767326645000);
}

/* It is only a cache: whatever a power cut made of it, the agent says so and asks for fresh ones.
 */
static void a_cache_cut_at_any_byte_is_none(void **state)
{
    const char *path = tempdir_path("runtimeconfig/credentials.json");
    fl_autofree char *whole = NULL;
    size_t len;

    assert_int_equal(fl_file_read(path, 65536, &whole, &len, NULL), 0);
    for (size_t size = 0; size <= len + 7; size++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        fl_autofree char *text = calloc(1, len + 8);
        struct fl_err err = { 0 };
        struct fl_credcache c;

        memcpy(text, whole, FL_MIN(size, len));
        memset(text + len, '\xff', 8); /* garbage behind the end */
        assert_int_equal(fl_file_replace(path, 0600, text, size, NULL), 0);
        assert_int_equal(fl_credcache_load(tempdir, &arena, &c, &err), size == len ? 0 : -EBADMSG);
        assert_true(size == len ? c.node_id != NULL : c.node_id == NULL);
        assert_true(size == len || strstr(err.text, "credentials.json: damaged"));
    }
}

static int setup(void **state)
{
    if (tempdir_make(state) < 0)
        return -1;
    snprintf(shared, sizeof(shared), "%s/home/credentials", tempdir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_profile_it_is_decides),
        cmocka_unit_test(modes_are_kept_and_new_files_are_private),
        cmocka_unit_test(a_link_of_our_own_is_followed_and_others_are_not_files),
        cmocka_unit_test(identity_config_is_the_official_agents),
        cmocka_unit_test(the_cache_comes_back),
        cmocka_unit_test(a_cache_cut_at_any_byte_is_none),
    };

    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}

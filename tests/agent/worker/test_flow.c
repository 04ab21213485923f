/* Which steps run (protocol 4 §2.2) and what a result does to the rest (§2.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "agent/worker/flow.h"

#define RUN  FL_FLOW_RUN
#define SKIP FL_FLOW_SKIP
#define FAIL FL_FLOW_FAIL

static const struct {
    enum fl_doc_schema schema;
    const char *action;
    enum fl_doc_precondition pre;
    bool stopped, last, finally, handled;
    enum fl_flow_verdict want;
    const char *text; /* how it begins */
} decide_cases[] = {
    { FL_DOC_2_2, "aws:x", FL_PRE_NONE, false, false, false, true, RUN, NULL },
    { FL_DOC_2_2, "aws:x", FL_PRE_TRUE, false, false, false, true, RUN, NULL },
    { FL_DOC_2_2, "aws:x", FL_PRE_FALSE, false, false, false, true, SKIP,
      "Step execution skipped due to unsatisfied preconditions: 'LIST'. Step name: s" },
    { FL_DOC_2_2, "aws:x", FL_PRE_INVALID, false, false, false, true, FAIL,
      "Unrecognized precondition(s): 'LIST', please update agent to latest version. Step name: s" },
    { FL_DOC_2_0, "aws:x", FL_PRE_TRUE, false, false, false, true, FAIL,
      "Precondition is not supported for document schema version prior to 2.2. Step name: s" },
    { FL_DOC_2_2, "aws:x", FL_PRE_NONE, true, false, true, true, SKIP,
      "Plugin with name aws:x and id s skipped due to prior step with an exit condition" },
    { FL_DOC_2_2, "aws:x", FL_PRE_NONE, true, true, true, true, RUN, NULL },
    { FL_DOC_2_2, "aws:x", FL_PRE_NONE, true, true, false, true, SKIP, "Plugin with name aws:x" },
    { FL_DOC_2_2, "aws:bogus", FL_PRE_NONE, false, false, false, false, FAIL,
      "Plugin with name aws:bogus is not supported by this version of ssm agent, please update to "
      "latest "
      "version. Step name: s" },
    /* an action nobody knows fails only where the precondition lets it run */
    { FL_DOC_2_2, "aws:bogus", FL_PRE_TRUE, false, false, false, false, FAIL,
      "Plugin with name aws:bogus is not supported by" },
    { FL_DOC_2_2, "aws:bogus", FL_PRE_FALSE, false, false, false, false, SKIP,
      "Step execution skipped due to unsupported plugin: aws:bogus. Step name: s" },
    { FL_DOC_2_2, "aws:bogus", FL_PRE_INVALID, false, false, false, false, SKIP,
      "Step execution skipped due to unsupported plugin: aws:bogus. Step name: s" },
    { FL_DOC_2_0, "aws:bogus", FL_PRE_FALSE, false, false, false, false, FAIL,
      "Plugin with name aws:bogus is not supported by" },
    { FL_DOC_1, "aws:bogus", FL_PRE_NONE, false, false, false, false, FAIL,
      "Plugin with name aws:bogus is not supported by" },
    { FL_DOC_2_2, "aws:psModule", FL_PRE_NONE, false, false, false, false, SKIP,
      "Step execution skipped due to unsupported plugin: aws:psModule. Step name: s" },
    { FL_DOC_1, "aws:psModule", FL_PRE_NONE, false, false, false, false, FAIL,
      "Plugin with name aws:psModule not found. Step name: s" },
    { FL_DOC_2_0, "aws:psModule", FL_PRE_FALSE, false, false, false, false, FAIL,
      "Precondition is not supported" },
    /* An action of the official agent that is not built in here must never be skipped in silence.
     */
    { FL_DOC_2_2, "aws:domainJoin", FL_PRE_NONE, false, false, false, false, FAIL,
      "Plugin with name aws:domainJoin is not supported by" },
    { FL_DOC_2_2, "aws:domainJoin", FL_PRE_FALSE, false, false, false, false, SKIP,
      "Step execution skipped due to unsatisfied" },
    { FL_DOC_2_2, "aws:domainJoin", FL_PRE_INVALID, false, false, false, false, FAIL,
      "Unrecognized precondition(s): 'LIST'" },
    { FL_DOC_2_2, "aws:psModule", FL_PRE_FALSE, false, false, false, false, SKIP,
      "Step execution skipped due to unsupported plugin: aws:psModule. Step name: s" },
};

static void decisions(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(decide_cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 16);
        struct fl_flow_props props = { .finally = decide_cases[i].finally };
        char key[] = "s", list[] = "LIST";
        const struct fl_doc_step step = { .key = key,
                                          .action = (char *)decide_cases[i].action,
                                          .precondition = decide_cases[i].pre,
                                          .precondition_text = list };
        char *text = NULL;
        assert_int_equal(fl_flow_decide(decide_cases[i].schema, &step, &props,
                                        decide_cases[i].stopped, decide_cases[i].last,
                                        decide_cases[i].handled, &arena, &text),
                         decide_cases[i].want);
        if (decide_cases[i].text)
            assert_memory_equal(text, decide_cases[i].text, strlen(decide_cases[i].text));
        else
            assert_null(text);
    }
}

static void read_props(const char *inputs, struct fl_flow_props *ret)
{
    const struct fl_doc_step step = { .inputs = (char *)inputs };

    fl_flow_props_read(&step, ret);
}

#define ST_SUCC FL_STATUS_SUCCESS
#define ST_FAIL FL_STATUS_FAILED
#define ST_TIME FL_STATUS_TIMED_OUT
#define ST_CANC FL_STATUS_CANCELLED

static const struct {
    const char *inputs;
    enum fl_status status;
    int64_t code;
    enum fl_status want_status;
    int64_t want_code;
    bool clear, stop;
    const char *suffix;
} after_cases[] = {
    { "{}", ST_SUCC, 0, ST_SUCC, 0, false, false, NULL },
    { "{}", ST_FAIL, 3, ST_FAIL, 3, false, false, NULL },
    { "{}", ST_FAIL, 168, ST_SUCC, 168, true, true,
      "\nStep exited with code 168. Therefore, marking step as succeeded. Further document steps "
      "will be "
      "skipped." },
    { "{}", ST_FAIL, 169, ST_FAIL, 169, false, true,
      "\nStep exited with code 169. Therefore, marking step as Failed. Further document steps will "
      "be "
      "skipped." },
    { "{\"onFailure\":\"exit\"}", ST_FAIL, 3, ST_FAIL, 3, false, true,
      "\nStep was found to have onFailure property. Further document steps will be skipped." },
    { "{\"onFailure\":\"successAndExit\"}", ST_FAIL, 3, ST_SUCC, 168, false, true,
      "\nStep was found to have onFailure property. Further document steps will be skipped." },
    { "{\"onFailure\":\"exit\"}", ST_TIME, 137, ST_TIME, 137, false, false, NULL },
    { "{\"onFailure\":\"exit\"}", ST_CANC, 137, ST_CANC, 137, false, false, NULL },
    { "{\"onFailure\":\"exit\"}", ST_SUCC, 0, ST_SUCC, 0, false, false, NULL },
    { "{\"onFailure\":\"other\"}", ST_FAIL, 3, ST_FAIL, 3, false, false, NULL },
    { "{\"onSuccess\":\"exit\"}", ST_SUCC, 0, ST_SUCC, 0, false, true, NULL },
    { "{\"onSuccess\":\"exit\"}", ST_FAIL, 3, ST_FAIL, 3, false, false, NULL },
    { "[{\"onFailure\":\"exit\"}]", ST_FAIL, 3, ST_FAIL, 3, false, false, NULL },
    { "null", ST_FAIL, 3, ST_FAIL, 3, false, false, NULL },
};

static void effects(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(after_cases); i++) {
        struct fl_flow_result r = { .status = after_cases[i].status, .code = after_cases[i].code };
        struct fl_flow_props props;

        read_props(after_cases[i].inputs, &props);
        fl_flow_after(&props, &r);
        assert_int_equal(r.status, after_cases[i].want_status);
        assert_int_equal(r.code, after_cases[i].want_code);
        assert_int_equal(r.clear_stderr, after_cases[i].clear);
        assert_int_equal(r.stop, after_cases[i].stop);
        if (after_cases[i].suffix)
            assert_string_equal(r.suffix, after_cases[i].suffix);
        else
            assert_null(r.suffix);
    }
}

static void finally_as_text_or_boolean(void **state)
{
    struct fl_flow_props p;

    read_props("{\"finallyStep\":true}", &p);
    assert_true(p.finally);
    read_props("{\"finallyStep\":\"true\"}", &p);
    assert_true(p.finally);
    read_props("{\"finallyStep\":\"yes\"}", &p);
    assert_false(p.finally);
    read_props("{\"finallyStep\":1}", &p);
    assert_false(p.finally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions),
        cmocka_unit_test(effects),
        cmocka_unit_test(finally_as_text_or_boolean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* flow.c - see flow.h. */
#include "agent/worker/flow.h"
#include <jansson.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "plugins/exit.h"

/* Known to the official agent, without a handler on Linux. */
static const char *const no_handler_here[] = {
    "aws:applications",
    "aws:psModule",
    "aws:updateAgent",
    "aws:configureDaemon",
};

/* It has a handler for these, and we do not: a step that should have run is not skipped in silence.
 */
static const char *const only_official[] = {
    "aws:configureDocker",
    "aws:domainJoin",
    "aws:updateSsmAgent",
};

static bool is_value(const json_t *inputs, const char *key, const char *want)
{
    const json_t *v = json_object_get(inputs, key);

    if (json_is_true(v))
        return strcmp(want, "true") == 0;
    return json_is_string(v) && strcmp(json_string_value(v), want) == 0;
}

void fl_flow_props_read(const struct fl_doc_step *step, struct fl_flow_props *ret_props)
{
    json_t *in = fl_json_load_text(step->inputs, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const struct fl_doc_control *c = &step->control;

    /* An array of inputs cannot carry these keys: json_object_get of it finds nothing. */
    *ret_props = (struct fl_flow_props){
        .on_failure_exit = is_value(in, "onFailure", "exit"),
        .on_failure_success_and_exit = is_value(in, "onFailure", "successAndExit"),
        .on_success_exit = is_value(in, "onSuccess", "exit"),
        .finally = is_value(in, "finallyStep", "true"),
        .abort = c->on_failure == FL_ON_FAILURE_ABORT,
        .succeed = c->on_failure == FL_ON_FAILURE_SUCCEED,
        .has_failure_step = c->on_failure == FL_ON_FAILURE_GO_TO,
        .has_cancel_step = c->cancel_step > 0,
        .has_next_step = c->next_step > 0,
        .is_end = c->is_end,
        .control = *c,
    };
    json_decref(in);
}

/* ---- before a step ---- */

enum {
    STOPPED = 1,
    UNKNOWN = 2,    /* not an action of this agent */
    NO_HANDLER = 4, /* the official agent has no handler for it either */
    PRE_ANY = 8,
    PRE_FALSE = 16,
    PRE_INVALID = 32,
    PRE_OK = 64, /* none, or true */
};

#define OLD (1u << FL_DOC_1 | 1u << FL_DOC_2_0)
#define NEW (1u << FL_DOC_2_2)

/* First match rules. {A} action, {S} step, {L} list of preconditions. */
static const struct {
    unsigned schemas, needs;
    enum fl_flow_verdict verdict;
    const char *text;
} rules[] = {
    { OLD | NEW, STOPPED, FL_FLOW_SKIP,
      "Plugin with name {A} and id {S} skipped due to prior step with an exit condition" },
    { OLD, UNKNOWN, FL_FLOW_FAIL,
      "Plugin with name {A} is not supported by this version of ssm agent, please update to latest "
      "version. Step name: {S}" },
    { NEW, UNKNOWN | PRE_OK, FL_FLOW_FAIL,
      "Plugin with name {A} is not supported by this version of ssm agent, please update to latest "
      "version. Step name: {S}" },
    { OLD, PRE_ANY, FL_FLOW_FAIL,
      "Precondition is not supported for document schema version prior to 2.2. Step name: {S}" },
    { OLD, NO_HANDLER, FL_FLOW_FAIL, "Plugin with name {A} not found. Step name: {S}" },
    { NEW, NO_HANDLER, FL_FLOW_SKIP,
      "Step execution skipped due to unsupported plugin: {A}. Step name: {S}" },
    { NEW, PRE_FALSE, FL_FLOW_SKIP,
      "Step execution skipped due to unsatisfied preconditions: '{L}'. Step name: {S}" },
    { NEW, PRE_INVALID, FL_FLOW_FAIL,
      "Unrecognized precondition(s): '{L}', please update agent to latest version. Step name: "
      "{S}" },
};

static bool is_in(const char *const *list, size_t n, const char *action)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(action, list[i]) == 0)
            return true;
    return false;
}

static unsigned without_handler(const char *action)
{
    if (is_in(no_handler_here, FL_ARRAY_LEN(no_handler_here), action))
        return NO_HANDLER;
    return is_in(only_official, FL_ARRAY_LEN(only_official), action) ? UNKNOWN
                                                                     : UNKNOWN | NO_HANDLER;
}

static char *fill(const char *text, const struct fl_doc_step *step, struct fl_arena *arena)
{
    fl_autobuf struct fl_buf b = FL_BUF(1u << 20);
    int r = 0;
    for (const char *p = text; *p && r == 0; p++) {
        const char *value = NULL;

        if (p[0] == '{' && p[1] && p[2] == '}')
            value = p[1] == 'A'   ? step->action
                    : p[1] == 'S' ? step->key
                    : p[1] == 'L' ? step->precondition_text
                                  : NULL;
        r = value ? fl_buf_puts(&b, value) : fl_buf_append(&b, p, 1);
        p += value ? 2 : 0;
    }
    return r == 0 ? fl_arena_memdup(arena, b.data, b.len) : NULL;
}

enum fl_flow_verdict fl_flow_decide(enum fl_doc_schema schema, const struct fl_doc_step *step,
                                    const struct fl_flow_props *props, bool stopped, bool last,
                                    bool handled, struct fl_arena *arena, char **ret_text)
{
    static const unsigned pre_facts[] = {
        [FL_PRE_NONE] = PRE_OK,
        [FL_PRE_TRUE] = PRE_ANY | PRE_OK,
        [FL_PRE_FALSE] = PRE_ANY | PRE_FALSE,
        [FL_PRE_INVALID] = PRE_ANY | PRE_INVALID,
    };
    unsigned facts = pre_facts[step->precondition];

    if (stopped && !(last && props->finally))
        facts |= STOPPED;
    if (!handled)
        facts |= without_handler(step->action);
    for (size_t i = 0; i < FL_ARRAY_LEN(rules); i++)
        if ((rules[i].schemas & 1u << schema) && (facts & rules[i].needs) == rules[i].needs) {
            *ret_text = fill(rules[i].text, step, arena);
            return rules[i].verdict;
        }
    *ret_text = NULL;
    return FL_FLOW_RUN;
}

/* ---- after a step ---- */

#define SKIPPING   "Further document steps will be skipped."
#define ON_FAILURE "\nStep was found to have onFailure property. " SKIPPING
#define ANY        (-2)
#define KEEP       (-2)
#define STOP       SIZE_MAX /* for a step to go to: none */

#define SUCCESS   FL_STATUS_SUCCESS
#define FAILED    FL_STATUS_FAILED
#define TIMED_OUT FL_STATUS_TIMED_OUT
#define CANCELLED FL_STATUS_CANCELLED
static const struct {
    int64_t code; /* ANY, or the code that matches */
    enum fl_status status;
    size_t prop; /* offset of the property that must be set, SIZE_MAX for none */
    enum fl_status new_status;
    int64_t new_code; /* or KEEP */
    bool clear_stderr;
    const char *suffix;
    size_t go_to; /* offset of the step that is next, or STOP */
} effects[] = {
#define P(member) offsetof(struct fl_flow_props, member)
    { FL_EXIT_SUCCEED, FL_STATUS_FAILED, SIZE_MAX, FL_STATUS_SUCCESS, KEEP, true,
      "\nStep exited with code 168. Therefore, marking step as succeeded. " SKIPPING, STOP },
    { FL_EXIT_FAIL, FL_STATUS_FAILED, SIZE_MAX, FL_STATUS_FAILED, KEEP, false,
      "\nStep exited with code 169. Therefore, marking step as Failed. " SKIPPING, STOP },
    { ANY, FAILED, P(on_failure_exit), FAILED, KEEP, false, ON_FAILURE, STOP },
    { ANY, FAILED, P(on_failure_success_and_exit), SUCCESS, FL_EXIT_SUCCEED, false, ON_FAILURE,
      STOP },
    { ANY, SUCCESS, P(on_success_exit), SUCCESS, KEEP, false, NULL, STOP },

    /* What is written beside the inputs. A step that ran out of time has failed too. */
    { ANY, FAILED, P(abort), FAILED, KEEP, false, ON_FAILURE, STOP },
    { ANY, TIMED_OUT, P(abort), TIMED_OUT, KEEP, false, ON_FAILURE, STOP },
    { ANY, FAILED, P(succeed), SUCCESS, FL_EXIT_SUCCEED, false, ON_FAILURE, STOP },
    { ANY, TIMED_OUT, P(succeed), SUCCESS, FL_EXIT_SUCCEED, false, ON_FAILURE, STOP },
    { ANY, FAILED, P(has_failure_step), FAILED, KEEP, false, NULL, P(control.failure_step) },
    { ANY, TIMED_OUT, P(has_failure_step), TIMED_OUT, KEEP, false, NULL, P(control.failure_step) },
    { ANY, CANCELLED, P(has_cancel_step), CANCELLED, KEEP, false, NULL, P(control.cancel_step) },
    { ANY, SUCCESS, P(is_end), SUCCESS, KEEP, false, NULL, STOP },
    { ANY, FAILED, P(is_end), FAILED, KEEP, false, NULL, STOP },
    { ANY, TIMED_OUT, P(is_end), TIMED_OUT, KEEP, false, NULL, STOP },
    { ANY, SUCCESS, P(has_next_step), SUCCESS, KEEP, false, NULL, P(control.next_step) },
#undef P
#undef SUCCESS
#undef FAILED
#undef TIMED_OUT
#undef CANCELLED
};

void fl_flow_after(const struct fl_flow_props *props, struct fl_flow_result *result)
{
    result->clear_stderr = result->stop = false;
    result->suffix = NULL;
    result->go_to = 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(effects); i++) {
        if (effects[i].code != ANY && effects[i].code != result->code)
            continue;
        if (effects[i].status != result->status)
            continue;
        if (effects[i].prop != SIZE_MAX &&
            !*((const bool *)((const char *)props + effects[i].prop)))
            continue;
        result->status = effects[i].new_status;
        result->code = effects[i].new_code == KEEP ? result->code : effects[i].new_code;
        result->clear_stderr = effects[i].clear_stderr;
        result->suffix = effects[i].suffix;
        result->stop = effects[i].go_to == STOP;
        if (!result->stop)
            result->go_to = *(const size_t *)(const void *)((const char *)props + effects[i].go_to);
        return;
    }
}

/* policy.json, and a job under it: any bytes before the first NUL are a policy, those behind it a
 * job's content. A policy loads or is refused with words; a document is decided about, with words.
 */
#include <stdlib.h>
#include <string.h>
#include "agent/policy/decide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(64 << 20);
    fl_autofree char *text = malloc(size + 1);
    size_t policy_len = strnlen((const char *)data, size);
    struct fl_node_policy *policy = NULL;
    struct fl_err err = { 0 };
    struct fl_judgement j;
    struct fl_job job = { .document_name = "AWS-RunShellScript", .node_id = "mi-1" };

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (fl_node_policy_parse(text, policy_len, &policy, &err) < 0) {
        if (policy || err.code == 0 || !err.text[0])
            abort();
        return 0;
    }
    job.content = policy_len < size ? text + policy_len + 1 : text + size;
    fl_decide_job(policy, &job, "root", 1767355200000, &arena, &j);
    if (!j.broken && !j.why && j.document_sha256)
        abort(); /* a decision has words */
    if ((j.broken || !j.document_sha256) && j.allowed)
        abort();
    if (!j.allowed && !j.broken && !j.key)
        abort();
    fl_node_policy_free(policy);
    return 0;
}

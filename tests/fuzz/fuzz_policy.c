/* fuzz_policy.c - policies: any text is refused or evaluates, in both kinds. */
#include "server/auth/policy.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fl_strmap_entry tag = { (char *)"Env", (char *)"Dev" };
    static const struct fl_strmap tags = { &tag, 1 };
    const struct fl_policy_request req = {
        .action = "ssm:SendCommand",
        .resource = "arn:aws:ssm:local:123456789012:managed-instance/mi-0123456789abcdef0",
        .source_ip = "192.0.2.10",
        .username = "ann",
        .principal = "arn:aws:iam::123456789012:user/ann",
        .account = "123456789012",
        .resource_tags = &tags,
    };

    for (int kind = FL_POLICY_IDENTITY; kind <= FL_POLICY_TRUST; kind++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(16 << 20);
        const struct fl_policy *p;
        struct fl_err err = { 0 };

        if (fl_policy_parse((const char *)data, size, kind, &arena, &p, &err) >= 0)
            (void)fl_policy_eval(p, &req);
        else
            assert(err.text[0]);
    }
    return 0;
}

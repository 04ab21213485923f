/* What agents call: registration and its order of checks, role token, key change, ping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/log.h"
#include "server/auth/guard.h"
#include "tests/server/fixture.h"
#include "tests/vectors/rsa_keys.h"

#define FINGERPRINT "11111111-2222-4333-8444-555555555555"

static char *key_a, *key_b, *key_c; /* PublicKey texts */

static char *public_key(unsigned i)
{
    struct fl_rsa *key = test_rsa_key(i);
    char *text = NULL;

    assert_int_equal(fl_rsa_public_text(key, &text), 0);
    fl_rsa_free(key);
    return text;
}

static int make_keys(void **state)
{
    (void)state;
    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, NULL); /* refusals are warnings, and are meant here */
    key_a = public_key(0);
    key_b = public_key(1);
    key_c = public_key(2);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    free(key_a);
    free(key_b);
    free(key_c);
    return 0;
}

static char activation[64], code[64];

/* The counts of wrong codes live as long as the process: tests use different times and addresses.
 */
static int setup(void **state)
{
    static struct fl_fixture f;
    static int64_t later_ms;
    static char address[32];

    fl_fixture_open(&f);
    f.now_ms += later_ms += 3600000;
    snprintf(address, sizeof(address), "192.0.2.%d", (int)(later_ms / 3600000));
    f.who.source_ip = address;
    fl_fixture_ok(&f, "CreateActivation",
                  "{\"IamRole\":\"fleet\",\"RegistrationLimit\":2,\"DefaultInstanceName\":\"web\","
                  "\"Tags\":[{\"Key\":\"Env\",\"Value\":\"Dev\"}]}");
    snprintf(activation, sizeof(activation), "%s", fl_fixture_text(&f, "ActivationId"));
    snprintf(code, sizeof(code), "%s", fl_fixture_text(&f, "ActivationCode"));
    *state = &f;
    return 0;
}

static const char *request(const char *id, const char *with_code, const char *key, const char *type)
{
    static char text[8192];

    snprintf(text, sizeof(text),
             "{\"ActivationCode\":\"%s\",\"ActivationId\":\"%s\",\"Fingerprint\":\"" FINGERPRINT
             "\",\"PublicKey\":\"%s\",\"PublicKeyType\":\"%s\"}",
             with_code, id, key, type);
    return text;
}

static const char *register_node(struct fl_fixture *f, const char *key, char id[24])
{
    fl_fixture_ok(f, "RegisterManagedInstance", request(activation, code, key, "Rsa"));
    snprintf(id, 24, "%s", fl_fixture_text(f, "InstanceId"));
    return id;
}

static const char *described(struct fl_fixture *f, const char *member)
{
    char path[96];

    fl_fixture_ok(f, "DescribeInstanceInformation", "{}");
    snprintf(path, sizeof(path), "InstanceInformationList.0.%s", member);
    return fl_fixture_text(f, path);
}

static void a_node_bears_its_activation(void **state)
{
    struct fl_fixture *f = *state;
    char id[24];

    register_node(f, key_a, id);
    assert_string_equal(described(f, "InstanceId"), id);
    assert_string_equal(described(f, "Name"), "web");
    assert_string_equal(described(f, "IamRole"), "fleet");
    assert_string_equal(described(f, "ActivationId"), activation);
    assert_string_equal(described(f, "PingStatus"), "ConnectionLost"); /* it never pinged */
    assert_null(described(f, "LastPingDateTime"));
    assert_null(described(f, "AgentVersion"));
    fl_fixture_ok(f, "DescribeInstanceInformation",
                  "{\"Filters\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]}]}");
    assert_int_equal(fl_fixture_count(f, "InstanceInformationList"), 1);
    fl_fixture_ok(f, "DescribeActivations", "{}");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.RegistrationsCount"), "1");
}

static void the_same_key_is_the_same_node(void **state)
{
    struct fl_fixture *f = *state;
    char a[24], again[24], b[24], body[64];

    register_node(f, key_a, a);
    register_node(f, key_a, again);
    assert_string_equal(a, again);
    register_node(f, key_b, b);
    assert_string_not_equal(a, b);
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, code, key_c, "Rsa"),
                     "RegistrationLimitExceeded");
    register_node(f, key_b, again); /* a known pair still gets its answer */
    assert_string_equal(b, again);

    /* a deregistered id never comes back, and its slot is spent */
    snprintf(body, sizeof(body), "{\"InstanceId\":\"%s\"}", a);
    fl_fixture_ok(f, "DeregisterManagedInstance", body);
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, code, key_a, "Rsa"),
                     "RegistrationLimitExceeded");
}

static void checks_come_in_order(void **state)
{
    struct fl_fixture *f = *state;
    static const char unknown[] = "01234567-89ab-cdef-0123-456789abcdef";
    static const char wrong[] = "ABCDEFGHIJKLMNOPQRST";

    fl_fixture_fails(f, "RegisterManagedInstance", "{}", "ValidationException");
    fl_fixture_fails(f, "RegisterManagedInstance", request(unknown, code, "x", "Rsa"),
                     "InvalidActivation");
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, wrong, "x", "Rsa"),
                     "InvalidActivation");
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, code, "x", "Rsa"),
                     "InvalidPublicKey");
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, code, key_a, "Ec"),
                     "InvalidPublicKey");
    f->now_ms += 24 * 3600000LL; /* now expired: says so before it looks at the key */
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, wrong, "x", "Rsa"),
                     "InvalidActivation");
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, code, "x", "Rsa"),
                     "ActivationExpired");
    fl_fixture_ok(f, "DescribeActivations", "{}");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.RegistrationsCount"), "0");
}

/* With more wrong codes under way than are answered at a time nothing more is looked at; those who
 * ask from elsewhere, or for something else, do not notice. (The answers' delay is the exchange's.)
 */
static void guessing_is_slowed_down(void **state)
{
    struct fl_fixture *f = *state;
    char id[24], wrong[32];

    f->who.source_ip = "198.51.100.1";
    for (int i = 0; i < FL_GUARD_HELD; i++) {
        snprintf(wrong, sizeof(wrong), "AAAAAAAAAAAAAAAAAAA%d", i);
        fl_fixture_fails(f, "RegisterManagedInstance", request(activation, wrong, key_a, "Rsa"),
                         "InvalidActivation");
    }
    fl_fixture_fails(f, "RegisterManagedInstance", request(activation, code, key_a, "Rsa"),
                     "ThrottlingException");
    fl_fixture_fails(f, "RegisterManagedInstance",
                     request("00000000-0000-4000-8000-000000000000", code, key_a, "Rsa"),
                     "InvalidActivation");
    f->who.source_ip = "198.51.100.2";
    register_node(f, key_b, id);
    f->who.source_ip = "198.51.100.1";
    for (int i = 0; i < FL_GUARD_HELD; i++)
        fl_guard_answered(f->plane.guard, "198.51.100.1", activation);
    register_node(f, key_a, id);
}

static void token(struct fl_fixture *f, const char *error)
{
    static const char body[] = "{\"Fingerprint\":\"" FINGERPRINT "\"}";

    if (error)
        fl_fixture_fails(f, "RequestManagedInstanceRoleToken", body, error);
    else
        fl_fixture_ok(f, "RequestManagedInstanceRoleToken", body);
}

static int request_key_update(struct fl_call *call, void *arg)
{
    return fl_sql_exec(call->tx, FL_SQL_node_key_request, NULL, FL_T((const char *)arg),
                       FL_T(call->account), FL_T(call->region)) == 1
               ? 0
               : -1;
}

static void a_token_has_all_five_members(void **state)
{
    static const char *const members[] = { "AccessKeyId", "SecretAccessKey", "SessionToken",
                                           "TokenExpirationDate", "UpdateKeyPair" };
    struct fl_fixture *f = *state;
    char id[24];

    register_node(f, key_a, id);
    fl_fixture_as_node(f, id);
    fl_fixture_fails(f, "RequestManagedInstanceRoleToken",
                     "{\"Fingerprint\":\"11111111-2222-4333-8444-55555555555A\"}",
                     "MachineFingerprintDoesNotMatch");
    token(f, NULL);
    for (size_t i = 0; i < FL_ARRAY_LEN(members); i++)
        assert_non_null(fl_fixture_text(f, members[i]));
    assert_memory_equal(fl_fixture_text(f, "AccessKeyId"), "ASIA", 4);
    assert_string_equal(fl_fixture_text(f, "UpdateKeyPair"), "false");
    assert_int_equal(atoll(fl_fixture_text(f, "TokenExpirationDate")), f->now_ms / 1000 + 3600);

    assert_int_equal(fl_fixture_run(f, FL_LANE_WRITE, request_key_update, id), 0);
    token(f, NULL);
    assert_string_equal(fl_fixture_text(f, "UpdateKeyPair"), "true");
}

static void update_key(struct fl_fixture *f, bool with_current, const char *key, const char *error)
{
    char body[2048];

    f->who.node_key_current = with_current;
    snprintf(body, sizeof(body), "{\"NewPublicKey\":\"%s\",\"NewPublicKeyType\":\"Rsa\"}", key);
    if (error)
        fl_fixture_fails(f, "UpdateManagedInstancePublicKey", body, error);
    else
        fl_fixture_ok(f, "UpdateManagedInstancePublicKey", body);
}

struct keys {
    const char *id;
    char current[1024], previous[1024];
};

static int read_keys(struct fl_call *call, void *arg)
{
    struct keys *k = arg;
    fl_autocursor struct fl_cursor *c = NULL;

    assert_int_equal(fl_sql_open(call->tx, FL_SQL_node_auth, &c, NULL, FL_T(k->id)), 0);
    assert_int_equal(fl_sql_next(c, NULL), 1);
    snprintf(k->current, sizeof(k->current), "%s", fl_sql_text(c, 0));
    snprintf(k->previous, sizeof(k->previous), "%s", fl_sql_text(c, 1) ? fl_sql_text(c, 1) : "");
    assert_string_equal(fl_sql_text(c, 2), "active");
    return 0;
}

static void assert_keys(struct fl_fixture *f, const char *id, const char *current,
                        const char *previous)
{
    struct keys k = { .id = id };

    /* behind what a token request still writes */
    assert_int_equal(fl_fixture_run(f, FL_LANE_WRITE, read_keys, &k), 0);
    assert_string_equal(k.current, current);
    assert_string_equal(k.previous, previous);
}

static void the_old_key_lives_until_the_new_one_signs(void **state)
{
    struct fl_fixture *f = *state;
    char id[24], other[24];

    register_node(f, key_a, id);
    fl_fixture_as_node(f, id);
    assert_int_equal(fl_fixture_run(f, FL_LANE_WRITE, request_key_update, id), 0);

    update_key(f, true, key_b, NULL);
    assert_keys(f, id, key_b, key_a);
    update_key(f, false, key_b, NULL); /* a retry, signed with the old key */
    assert_keys(f, id, key_b, key_a);
    update_key(f, false, key_c, NULL); /* gave up on B, made C: A is still the proven one */
    assert_keys(f, id, key_c, key_a);
    f->who.node_key_current = false;
    token(f, NULL);
    assert_keys(f, id, key_c, key_a);
    /* done here, but the node does not use the new key: it is asked until one key is left */
    assert_string_equal(fl_fixture_text(f, "UpdateKeyPair"), "true");
    f->who.node_key_current = true;
    token(f, NULL);
    assert_string_equal(fl_fixture_text(f, "UpdateKeyPair"), "false");
    assert_keys(f, id, key_c, "");
    update_key(f, true, key_a, NULL); /* pushing the old key back */
    assert_keys(f, id, key_a, key_c);

    update_key(f, true, "x", "InvalidPublicKey");
    fl_fixture_as_admin(f);
    register_node(f, key_b, other);
    fl_fixture_as_node(f, other);
    update_key(f, true, key_a, "PublicKeyAlreadyRegistered");
    update_key(f, true, key_c, "PublicKeyAlreadyRegistered"); /* previous, but still accepted */
    assert_keys(f, other, key_b, "");
}

static void pings_are_kept(void **state)
{
    struct fl_fixture *f = *state;
    char id[24], body[1024];

    register_node(f, key_a, id);
    fl_fixture_as_node(f, id);
    snprintf(body, sizeof(body),
             "{\"AgentName\":\"amazon-ssm-agent\",\"AgentStatus\":\"Active\",\"AgentVersion\":"
             "\"3.3.0.0\",\"AvailabilityZone\":\"\",\"AvailabilityZoneId\":\"\",\"ComputerName\":"
             "\"web1.example.net\",\"IPAddress\":\"192.0.2.10\",\"InstanceId\":\"%s\","
             "\"PlatformName\":\"Debian GNU/Linux\",\"PlatformType\":\"Linux\",\"PlatformVersion\":"
             "\"12\",\"SSMConnectionChannel\":\"ssmmessages\"}",
             id);
    fl_fixture_ok(f, "UpdateInstanceInformation", body);
    assert_string_equal(f->reply, "{}");
    /* the empty ping forgets nothing */
    snprintf(body, sizeof(body),
             "{\"AgentName\":\"amazon-ssm-agent\",\"AgentVersion\":\"3.4.0.0\",\"InstanceId\":"
             "\"%s\",\"PlatformType\":\"Linux\",\"ComputerName\":\"\"}",
             id);
    fl_fixture_ok(f, "UpdateInstanceInformation", body);
    fl_fixture_as_admin(f);
    assert_string_equal(described(f, "PingStatus"), "Online");
    assert_string_equal(described(f, "AgentVersion"), "3.4.0.0");
    assert_string_equal(described(f, "ComputerName"), "web1.example.net");
    assert_string_equal(described(f, "IPAddress"), "192.0.2.10");
    assert_string_equal(described(f, "PlatformVersion"), "12");
}

static void bad_pings_are_refused(void **state)
{
    static const struct {
        const char *members, *error;
    } cases[] = {
        { "\"InstanceId\":\"mi-00000000000000000\"", "AccessDeniedException" },
        { "\"AgentVersion\":\"3.3.0.0\"", "ValidationException" },
        { "\"InstanceId\":\"%\",\"AgentVersion\":\"3.3\"", "InvalidInstanceInformationValue" },
        { "\"InstanceId\":\"%\",\"AgentVersion\":\"3.3.0.0.1\"",
          "InvalidInstanceInformationValue" },
        { "\"InstanceId\":\"%\",\"AgentVersion\":\"3.3.0.\"", "InvalidInstanceInformationValue" },
        { "\"InstanceId\":\"%\",\"AgentVersion\":\"3.3.0000000\"",
          "InvalidInstanceInformationValue" },
        { "\"InstanceId\":\"%\",\"PlatformType\":\"linux\"", "InvalidInstanceInformationValue" },
        { "\"InstanceId\":\"%\",\"IPAddress\":\"12345678901234567890123456789012345678901234567\"",
          "InvalidInstanceInformationValue" },
        { "\"InstanceId\":\"%\",\"AgentName\":7", "SerializationException" },
        { "\"InstanceId\":\"%\",\"AgentVersion\":\"3.3.0\"", NULL },
    };
    struct fl_fixture *f = *state;
    char id[24], body[256];

    register_node(f, key_a, id);
    fl_fixture_as_node(f, id);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const char *percent = strchr(cases[i].members, '%');

        if (percent)
            snprintf(body, sizeof(body), "{%.*s%s%s}", (int)(percent - cases[i].members),
                     cases[i].members, id, percent + 1);
        else
            snprintf(body, sizeof(body), "{%s}", cases[i].members);
        if (cases[i].error)
            fl_fixture_fails(f, "UpdateInstanceInformation", body, cases[i].error);
        else
            fl_fixture_ok(f, "UpdateInstanceInformation", body);
    }
}

static void there_are_no_associations(void **state)
{
    struct fl_fixture *f = *state;
    char id[24], body[128];

    register_node(f, key_a, id);
    fl_fixture_as_node(f, id);
    snprintf(body, sizeof(body), "{\"InstanceId\":\"%s\",\"MaxResults\":20}", id);
    fl_fixture_ok(f, "ListInstanceAssociations", body);
    assert_string_equal(f->reply, "{\"Associations\":[]}");
    snprintf(body, sizeof(body), "{\"InstanceId\":\"%s\",\"AssociationId\":\"a\"}", id);
    fl_fixture_fails(f, "UpdateInstanceAssociationStatus", body, "AssociationDoesNotExist");
    fl_fixture_fails(f, "ListInstanceAssociations", "{\"InstanceId\":\"mi-00000000000000000\"}",
                     "AccessDeniedException");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, fl_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(a_node_bears_its_activation),
        T(the_same_key_is_the_same_node),
        T(checks_come_in_order),
        T(guessing_is_slowed_down),
        T(a_token_has_all_five_members),
        T(the_old_key_lives_until_the_new_one_signs),
        T(pings_are_kept),
        T(bad_pings_are_refused),
        T(there_are_no_associations),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}

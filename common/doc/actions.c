/* actions.c - see actions.h. Inputs: protocol 4 §3 and §5, protocol 6 §4.2. */
#include "common/doc/actions.h"

#include <string.h>

#define ACTION_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* Any input may come from a parameter. */
#define STRING FL_IS_STRING
#define SCALAR (FL_IS_STRING | FL_IS_NUMBER | FL_IS_BOOL)
#define LIST   (FL_IS_LIST | FL_IS_REFERENCE)
#define MAP    (FL_IS_OBJECT | FL_IS_STRING) /* also as JSON text */

/* ---- what nodes run ---- */
static int check_line(struct fl_check *c, const json_t *v)
{
    return fl_check_type(c, v, FL_IS_STRING);
}

/* Lines of a script; numbers among them fail on the node. */
static int check_lines(struct fl_check *c, const json_t *v)
{
    return json_is_array(v) ? fl_check_each(c, v, check_line) : 0;
}

static const struct fl_member script_inputs[] = {
    { "runCommand", LIST, true, check_lines },
    { "timeoutSeconds", SCALAR, false, NULL },
    { "workingDirectory", STRING, false, NULL },
    { "environment", FL_IS_OBJECT | FL_IS_REFERENCE, false, NULL },
};
static const struct fl_member ps_module_inputs[] = {
    { "runCommand", FL_IS_STRING | FL_IS_LIST, false, check_lines },
};
static const struct fl_member run_document_inputs[] = {
    { "documentType", STRING, true, NULL },
    { "documentPath", STRING, true, NULL },
    { "documentParameters", MAP, false, NULL },
};
static const struct fl_member download_inputs[] = {
    { "sourceType", STRING, true, NULL },
    { "sourceInfo", MAP, true, NULL },
    { "destinationPath", STRING, false, NULL },
};
static const struct fl_member package_inputs[] = {
    { "name", STRING, true, NULL },
    { "action", STRING, true, NULL },
    { "version", STRING, false, NULL },
    { "installationType", STRING, false, NULL },
    { "additionalArguments", MAP, false, NULL },
};
static const struct fl_member association_inputs[] = {
    { "associationIds", LIST, false, check_lines },
};
static const struct fl_member action_inputs[] = { { "action", STRING, true, NULL } };
static const struct fl_member join_inputs[] = {
    { "directoryId", STRING, true, NULL },
    { "directoryName", STRING, true, NULL },
};

#define INPUTS(table) FL_MEMBERS(table, true)
#define ANY_INPUTS    \
    {                 \
        NULL, 0, true \
    }
#define UNIX (FL_DOC_LINUX | FL_DOC_MACOS)

static const struct fl_action node_actions[] = {
    { "aws:applications", FL_DOC_WINDOWS, INPUTS(action_inputs) },
    { "aws:cloudWatch", FL_DOC_WINDOWS, ANY_INPUTS },
    { "aws:configureDaemon", FL_DOC_ANYWHERE, ANY_INPUTS },
    { "aws:configureDocker", FL_DOC_LINUX | FL_DOC_WINDOWS, INPUTS(action_inputs) },
    { "aws:configurePackage", FL_DOC_ANYWHERE, INPUTS(package_inputs) },
    { "aws:domainJoin", FL_DOC_LINUX | FL_DOC_WINDOWS, INPUTS(join_inputs) },
    { "aws:downloadContent", FL_DOC_ANYWHERE, INPUTS(download_inputs) },
    { "aws:psModule", FL_DOC_WINDOWS, INPUTS(ps_module_inputs) },
    { "aws:refreshAssociation", FL_DOC_ANYWHERE, INPUTS(association_inputs) },
    { "aws:runDockerAction", FL_DOC_LINUX | FL_DOC_WINDOWS, INPUTS(action_inputs) },
    { "aws:runDocument", FL_DOC_ANYWHERE, INPUTS(run_document_inputs) },
    { "aws:runPowerShellScript", FL_DOC_WINDOWS, INPUTS(script_inputs) },
    { "aws:runShellScript", UNIX, INPUTS(script_inputs) },
    { "aws:softwareInventory", FL_DOC_ANYWHERE, ANY_INPUTS },
    { "aws:updateAgent", FL_DOC_WINDOWS, ANY_INPUTS },
    { "aws:updateSsmAgent", FL_DOC_ANYWHERE, ANY_INPUTS },
};

/* ---- what the plane runs ---- */
static const struct fl_member api_inputs[] = {
    { "Service", STRING, true, NULL },
    { "Api", STRING, true, NULL },
};
static const struct fl_member property_inputs[] = {
    { "Service", STRING, true, NULL },
    { "Api", STRING, true, NULL },
    { "PropertySelector", STRING, true, NULL },
    { "DesiredValues", LIST, true, NULL },
};
static const struct fl_member execute_script_inputs[] = {
    { "Runtime", STRING, true, NULL },
    { "Handler", STRING, false, NULL },
    { "Script", STRING, false, NULL },
    { "InputPayload", FL_IS_OBJECT | FL_IS_REFERENCE, false, NULL },
};
static const struct fl_member document_inputs[] = { { "DocumentName", STRING, true, NULL } };
static const struct fl_member branch_inputs[] = {
    { "Choices", FL_IS_LIST, true, NULL },
    { "Default", STRING, false, NULL },
};
static const struct fl_member loop_inputs[] = {
    { "Steps", FL_IS_LIST, true, fl_check_steps },
    { "Iterators", LIST, false, NULL },
    { "LoopCondition", FL_IS_OBJECT, false, NULL },
};
static const struct fl_member variable_inputs[] = {
    { "Name", STRING, true, NULL },
    { "Value", FL_IS_ANY, true, NULL },
};
static const struct fl_member sleep_inputs[] = {
    { "Duration", STRING, false, NULL },
    { "Timestamp", STRING, false, NULL },
};
static const struct fl_member approve_inputs[] = { { "Approvers", LIST, true, NULL } };
static const struct fl_member webhook_inputs[] = { { "IntegrationName", STRING, true, NULL } };

#define CLOUD(name)                       \
    {                                     \
        name, FL_DOC_ANYWHERE, ANY_INPUTS \
    }
static const struct fl_action runbook_actions[] = {
    { "aws:approve", FL_DOC_ANYWHERE, INPUTS(approve_inputs) },
    { "aws:assertAwsResourceProperty", FL_DOC_ANYWHERE, INPUTS(property_inputs) },
    { "aws:branch", FL_DOC_ANYWHERE, INPUTS(branch_inputs) },
    { "aws:executeAutomation", FL_DOC_ANYWHERE, INPUTS(document_inputs) },
    { "aws:executeAwsApi", FL_DOC_ANYWHERE, INPUTS(api_inputs) },
    { "aws:executeScript", FL_DOC_ANYWHERE, INPUTS(execute_script_inputs) },
    { "aws:invokeWebhook", FL_DOC_ANYWHERE, INPUTS(webhook_inputs) },
    { "aws:loop", FL_DOC_ANYWHERE, INPUTS(loop_inputs) },
    { "aws:pause", FL_DOC_ANYWHERE, ANY_INPUTS },
    { "aws:runCommand", FL_DOC_ANYWHERE, INPUTS(document_inputs) },
    { "aws:sleep", FL_DOC_ANYWHERE, INPUTS(sleep_inputs) },
    { "aws:updateVariable", FL_DOC_ANYWHERE, INPUTS(variable_inputs) },
    { "aws:waitForAwsResourceProperty", FL_DOC_ANYWHERE, INPUTS(property_inputs) },
    /* accepted; a step that comes to one of these fails */
    CLOUD("aws:changeInstanceState"),
    CLOUD("aws:copyImage"),
    CLOUD("aws:createImage"),
    CLOUD("aws:createStack"),
    CLOUD("aws:createTags"),
    CLOUD("aws:deleteImage"),
    CLOUD("aws:deleteStack"),
    CLOUD("aws:executeStateMachine"),
    CLOUD("aws:invokeLambdaFunction"),
    CLOUD("aws:runInstances"),
};

/* ---- what users add to their nodes ---- */
static const struct fl_action own_action = { "", FL_DOC_ANYWHERE, ANY_INPUTS };

/* <vendor>:<name>, with a vendor that is not aws. */
static bool is_own(const char *name)
{
    size_t vendor = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    size_t rest = name[vendor] == ':' ? strlen(name + vendor + 1) : 0;

    return vendor > 0 && rest > 0 && rest == strspn(name + vendor + 1, ACTION_CHARS) &&
           !(vendor == 3 && strncmp(name, "aws", 3) == 0);
}

static const struct fl_action *find(const struct fl_action *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const struct fl_action *fl_action_find(bool runbook, const char *name)
{
    const struct fl_action *a;

    if (runbook)
        return find(runbook_actions, FL_ARRAY_LEN(runbook_actions), name);
    a = find(node_actions, FL_ARRAY_LEN(node_actions), name);
    return !a && is_own(name) ? &own_action : a;
}

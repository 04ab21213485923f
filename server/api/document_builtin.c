/* document_builtin.c - see document_builtin.h. */
#include "server/api/document_builtin.h"

#include <string.h>
#include "gen/embedded.h"

#define CREATED_MS  1767225600000 /* 2026-01-01: the date of version "1" of all of them */
#define FILE_SUFFIX ".json"

static const char *const unix_platforms[] = { "Linux", "MacOS" };
static const char *const linux_platform[] = { "Linux" };
/* AWS also lists Linux and macOS here, for PowerShell installed by hand; on this plane such a node
 * must answer UnsupportedPlatformType (protocol 6 §7 row 33). */
static const char *const windows_platforms[] = { "Windows" };
static const char *const docker_platforms[] = { "Linux", "Windows" };
static const char *const all_platforms[] = { "Linux", "MacOS", "Windows" };

/* clang-format off */
#define ON(platforms) { (char **)(platforms), FL_ARRAY_LEN(platforms) } /* only read */
/* clang-format on */

/* In order of their names. */
static const struct {
    const char *name, *type;
    struct fl_strs platforms;
} builtins[] = {
    { "AWS-ApplyAnsiblePlaybooks", "Command", ON(unix_platforms) },
    { "AWS-ConfigureAWSPackage", "Command", ON(all_platforms) },
    { "AWS-Noop", "Command", ON(all_platforms) },
    { "AWS-PasswordReset", "Session", ON(all_platforms) },
    { "AWS-RefreshAssociation", "Command", ON(all_platforms) },
    { "AWS-RunDockerAction", "Command", ON(docker_platforms) },
    { "AWS-RunDocument", "Command", ON(all_platforms) },
    { "AWS-RunPowerShellScript", "Command", ON(windows_platforms) },
    { "AWS-RunRemoteScript", "Command", ON(all_platforms) },
    { "AWS-RunShellScript", "Command", ON(unix_platforms) },
    { "AWS-StartInteractiveCommand", "Session", ON(all_platforms) },
    { "AWS-StartNonInteractiveCommand", "Session", ON(all_platforms) },
    { "AWS-StartPortForwardingSession", "Session", ON(all_platforms) },
    { "AWS-StartPortForwardingSessionToRemoteHost", "Session", ON(all_platforms) },
    { "AWS-StartPortForwardingSessionToSocket", "Session", ON(all_platforms) },
    { "AWS-StartSSHSession", "Session", ON(all_platforms) },
    { "AWSFleetManager-AddUsersToGroups", "Command", ON(linux_platform) },
    { "AWSFleetManager-CopyFileSystemItem", "Command", ON(linux_platform) },
    { "AWSFleetManager-CreateDirectory", "Command", ON(linux_platform) },
    { "AWSFleetManager-CreateGroup", "Command", ON(linux_platform) },
    { "AWSFleetManager-CreateUser", "Command", ON(linux_platform) },
    { "AWSFleetManager-DeleteFileSystemItem", "Command", ON(linux_platform) },
    { "AWSFleetManager-DeleteGroup", "Command", ON(linux_platform) },
    { "AWSFleetManager-DeleteUser", "Command", ON(linux_platform) },
    { "AWSFleetManager-GetDiskInformation", "Command", ON(linux_platform) },
    { "AWSFleetManager-GetFileContent", "Command", ON(linux_platform) },
    { "AWSFleetManager-GetFileSystemContent", "Command", ON(linux_platform) },
    { "AWSFleetManager-GetGroups", "Command", ON(linux_platform) },
    { "AWSFleetManager-GetPerformanceCounters", "Command", ON(linux_platform) },
    { "AWSFleetManager-GetProcessDetails", "Command", ON(linux_platform) },
    { "AWSFleetManager-GetUsers", "Command", ON(linux_platform) },
    { "AWSFleetManager-MoveFileSystemItem", "Command", ON(linux_platform) },
    { "AWSFleetManager-RemoveUsersFromGroups", "Command", ON(linux_platform) },
    { "AWSFleetManager-RenameFileSystemItem", "Command", ON(linux_platform) },
    { "AWSFleetManager-StartProcess", "Command", ON(linux_platform) },
    { "AWSFleetManager-TerminateProcess", "Command", ON(linux_platform) },
    { "Fairlead-Exec", "Session", ON(all_platforms) },
};

const char *fl_builtin_text(const char *name)
{
    size_t len = strlen(name);

    for (const struct fl_embedded *e = fl_embedded; e->name; e++)
        if (strncmp(e->name, name, len) == 0 && strcmp(e->name + len, FILE_SUFFIX) == 0)
            return e->text;
    return NULL;
}

bool fl_builtin_at(size_t i, struct fl_document *ret_doc)
{
    if (i >= FL_ARRAY_LEN(builtins))
        return false;
    *ret_doc = (struct fl_document){
        .name = builtins[i].name,
        .owner = FL_DOCUMENT_BUILTIN_BY,
        .type = builtins[i].type,
        .format = "JSON",
        .version = "1",
        .default_version = "1",
        .latest_version = "1",
        .is_default = true,
        .status = "Active",
        .created = { CREATED_MS },
        .platform_types = builtins[i].platforms,
        .content = fl_builtin_text(builtins[i].name),
    };
    return true;
}

bool fl_builtin_find(const char *name, struct fl_document *ret_doc)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(builtins); i++)
        if (strcmp(builtins[i].name, name) == 0)
            return fl_builtin_at(i, ret_doc);
    return false;
}

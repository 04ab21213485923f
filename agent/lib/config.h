/* config.h - the agent's configuration: the official agent's key set plus our own under "Fairlead".
 *
 * Keys are rows of one table (config.c): path, type, default, range. Matching ignores letter case,
 * unknown keys are ignored (ours under "Fairlead" excepted: those are errors, so a typo shows), a
 * wrong type or bad JSON is an error, a number out of range falls back to the default (protocol 1
 * §7).
 */
#pragma once
#include "common/base/err.h"
#include "common/codec/codec.h"

struct fl_agent_config {
    /* official keys that this agent acts on; every other official key is parsed and type-checked */
    bool share_creds;
    char *share_profile;         /* "" = "default" */
    int64_t key_rotate_days;     /* 0 = off */
    int64_t command_workers;     /* 5 */
    int64_t command_buffer;      /* 5 */
    int64_t stop_timeout_ms;     /* 20000 */
    int64_t command_retry_limit; /* 15 */
    char *ssm_endpoint, *s3_endpoint, *mgs_endpoint, *mgs_region, *agent_region, *service_domain;
    int64_t health_minutes; /* 5 */
    char *kms_endpoint;
    int64_t session_workers;              /* 1000: sessions at once */
    struct fl_strs denied_remote_ips;     /* of port forwarding; a given list replaces the usual */
    bool require_kms_challenge;           /* false */
    int64_t log_retention_hours;          /* 336: Ssm.RunCommandLogsRetentionDurationHours */
    char *output_cleanup;                 /* default | after-execution | after-upload */
    char *orchestration_cleanup;          /* default | clean-success | clean-success-failed */
    char *agent_name;                     /* User-Agent only */
    char *os_lang, *os_name, *os_version; /* copied into replies: "en-US", "", "1" */

    /* "Fairlead": { … } */
    char *ca_file; /* CaFile */
    char *proxy_http, *proxy_https,
        *no_proxy;       /* Proxy.{Http,Https,NoProxy}; the environment fills gaps */
    char *policy_file;   /* PolicyFile: "" = policy.json beside the configuration, if it is there;
                          * one that is named must be there */
    char *net_user;      /* NetUser: "fairlead" */
    char *plugins_dir;   /* PluginsDir: "" = PREFIX/lib/fairlead/plugins.d */
    char *log_level;     /* LogLevel: info */
    char *log_format;    /* LogFormat: text | json */
    char *logs_endpoint; /* LogsEndpoint: of CloudWatch Logs, which has no official key */
    char *s3_addressing; /* S3AddressingStyle: auto | path | virtual */
    char *credentials_file;   /* CredentialsFile: "" = the official rule */
    char *session_user;       /* SessionUser: whom sessions run as that name nobody; "" = ssm-user,
                               * which is made if it is missing */
    char *pam_service;        /* PamService: "" = fairlead, if /etc/pam.d has it; "none" */
    char *reboot_command;     /* RebootCommand, for sh -c: "/sbin/shutdown -r +1" */
    int64_t jobs_max_bytes;   /* Jobs.MaxBytes: 1 GiB */
    int64_t jobs_max_files;   /* Jobs.MaxFiles: 100000 */
    int64_t output_max_bytes; /* Jobs.MaxOutputBytes per stream and step kept on disk: 16 MiB */
};

/* Strings live in `arena`. A missing file gives the defaults (`path` may be NULL). */
int fl_agent_config_load(const char *path, struct fl_arena *arena,
                         struct fl_agent_config *ret_config, struct fl_err *err);

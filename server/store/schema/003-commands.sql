-- Run Command. A command's row never changes; what changes stands in command_state, a small row that
-- keeps every count, so that an event of one node costs the same in a fleet of any size.

CREATE TABLE command (
    command_id      TEXT   PRIMARY KEY,
    account         TEXT   NOT NULL,
    region          TEXT   NOT NULL,
    requested_ms    BIGINT NOT NULL,
    expires_ms      BIGINT NOT NULL,
    timeout_s       BIGINT NOT NULL,
    document_name   TEXT   NOT NULL,
    document_version TEXT  NOT NULL, -- as asked for, e.g. $DEFAULT
    comment         TEXT   NOT NULL,
    parameters      TEXT   NOT NULL, -- JSON, as given
    instance_ids    TEXT   NOT NULL, -- JSON list
    targets         TEXT   NOT NULL, -- JSON list
    platforms       TEXT   NOT NULL, -- JSON list: where the document runs
    steps           TEXT   NOT NULL, -- JSON list of {name, action} in document order
    max_concurrency TEXT   NOT NULL,
    max_errors      TEXT   NOT NULL,
    s3_region       TEXT   NOT NULL,
    s3_bucket       TEXT   NOT NULL,
    s3_prefix       TEXT   NOT NULL,
    service_role    TEXT   NOT NULL,
    notification    TEXT   NOT NULL, -- JSON
    log_config      TEXT   NOT NULL, -- JSON
    alarms          TEXT            -- JSON, echoed only
);
CREATE INDEX command_page ON command (account, region, requested_ms, command_id);
CREATE INDEX command_age ON command (requested_ms);

-- What every node is sent: the Content of its agent_job. Apart, because reading lists must not read it.
CREATE TABLE command_job (
    command_id TEXT PRIMARY KEY,
    content    TEXT NOT NULL
);

-- state: enum fl_cmd_state; n_…: invocations by enum fl_inv_state; stage_…: by enum fl_stage
-- (server/command/status.h).
CREATE TABLE command_state (
    command_id          TEXT   PRIMARY KEY,
    state               BIGINT NOT NULL,
    is_open             BIGINT NOT NULL, -- 1 until the state is terminal
    wake                BIGINT NOT NULL, -- 1: more to do right now than fitted into one transaction
    expires_ms          BIGINT NOT NULL,
    resolved            BIGINT NOT NULL,
    resolve_after       TEXT   NOT NULL, -- last node id the targets were resolved to
    cancelled           BIGINT NOT NULL,
    stopped             BIGINT NOT NULL, -- MaxErrors was passed
    limit_exceeded      BIGINT NOT NULL,
    expired             BIGINT NOT NULL,
    rate_limit          BIGINT NOT NULL, -- MaxConcurrency as a number
    error_limit         BIGINT NOT NULL, -- MaxErrors as a number
    ramp                BIGINT NOT NULL,
    n_pending           BIGINT NOT NULL,
    n_in_progress       BIGINT NOT NULL,
    n_delayed           BIGINT NOT NULL,
    n_success           BIGINT NOT NULL,
    n_failed            BIGINT NOT NULL,
    n_exec_timed_out    BIGINT NOT NULL,
    n_delivery_timed_out BIGINT NOT NULL,
    n_cancelling        BIGINT NOT NULL,
    n_cancelled         BIGINT NOT NULL,
    n_terminated        BIGINT NOT NULL,
    n_undeliverable     BIGINT NOT NULL,
    n_invalid_platform  BIGINT NOT NULL,
    n_access_denied     BIGINT NOT NULL,
    stage_queued        BIGINT NOT NULL,
    stage_released      BIGINT NOT NULL,
    stage_parked        BIGINT NOT NULL,
    stage_delivered     BIGINT NOT NULL,
    stage_done          BIGINT NOT NULL
);
CREATE INDEX command_state_wake ON command_state (command_id) WHERE wake = 1;
CREATE INDEX command_state_open ON command_state (expires_ms) WHERE is_open = 1;

-- One command on one node. seq: order of sending. due_ms: when to look at it again by the clock alone
-- (no ack, retry, cancel not confirmed).
CREATE TABLE invocation (
    command_id   TEXT   NOT NULL,
    node_id      TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    region       TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    requested_ms BIGINT NOT NULL,
    stage        BIGINT NOT NULL,
    state        BIGINT NOT NULL,
    releases     BIGINT NOT NULL DEFAULT 0, -- times it was handed to a channel
    refusals     BIGINT NOT NULL DEFAULT 0, -- retryable refusals by the agent
    due_ms       BIGINT,
    started_ms   BIGINT NOT NULL DEFAULT 0,
    finished_ms  BIGINT NOT NULL DEFAULT 0,
    trace        TEXT,
    PRIMARY KEY (command_id, node_id)
);
CREATE INDEX invocation_queue ON invocation (command_id, stage, seq);
CREATE INDEX invocation_node ON invocation (node_id, stage, requested_ms, command_id);
CREATE INDEX invocation_due ON invocation (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX invocation_node_page ON invocation (node_id, requested_ms, command_id);
CREATE INDEX invocation_page ON invocation (account, region, requested_ms, command_id, node_id);

-- Cancel jobs that a node has not acknowledged.
CREATE TABLE command_cancel (
    node_id    TEXT NOT NULL,
    command_id TEXT NOT NULL, -- to be cancelled
    cancel_id  TEXT NOT NULL, -- command id of the cancel job itself
    PRIMARY KEY (node_id, command_id)
);
CREATE INDEX command_cancel_command ON command_cancel (command_id);

-- The latest a node said about one step, whatever the order its replies came in.
CREATE TABLE invocation_step (
    command_id  TEXT   NOT NULL,
    node_id     TEXT   NOT NULL,
    step        TEXT   NOT NULL, -- step name (2.x) or action (1.x)
    plugin      TEXT   NOT NULL,
    status      TEXT   NOT NULL, -- as the agent spells it
    code        BIGINT NOT NULL,
    started_ms  BIGINT NOT NULL,
    finished_ms BIGINT NOT NULL,
    output      TEXT   NOT NULL,
    stdout      TEXT   NOT NULL,
    stderr      TEXT   NOT NULL,
    s3_bucket   TEXT   NOT NULL,
    s3_prefix   TEXT   NOT NULL,
    PRIMARY KEY (command_id, node_id, step)
);

-- What lists show.
CREATE VIEW command_info AS
SELECT c.command_id AS "CommandId", c.document_name AS "DocumentName",
       c.document_version AS "DocumentVersion", c.comment AS "Comment",
       c.expires_ms AS "ExpiresAfter", c.parameters AS "Parameters",
       c.instance_ids AS "InstanceIds", c.targets AS "Targets",
       c.requested_ms AS "RequestedDateTime", c.s3_region AS "OutputS3Region",
       c.s3_bucket AS "OutputS3BucketName", c.s3_prefix AS "OutputS3KeyPrefix",
       c.max_concurrency AS "MaxConcurrency", c.max_errors AS "MaxErrors",
       c.service_role AS "ServiceRole", c.notification AS "NotificationConfig",
       c.log_config AS "CloudWatchOutputConfig", c.timeout_s AS "TimeoutSeconds",
       c.alarms AS "AlarmConfiguration",
       s.n_success + s.n_failed + s.n_exec_timed_out + s.n_delivery_timed_out + s.n_cancelled
           + s.n_terminated + s.n_undeliverable + s.n_invalid_platform + s.n_access_denied
           AS "CompletedCount",
       s.n_success + s.n_failed + s.n_exec_timed_out + s.n_delivery_timed_out + s.n_cancelled
           + s.n_terminated + s.n_undeliverable + s.n_invalid_platform + s.n_access_denied
           + s.n_pending + s.n_in_progress + s.n_delayed + s.n_cancelling AS "TargetCount",
       s.n_failed + s.n_exec_timed_out AS "ErrorCount",
       s.n_delivery_timed_out AS "DeliveryTimedOutCount",
       s.state AS state, c.account AS account, c.region AS region,
       c.requested_ms AS requested_ms, c.command_id AS command_id,
       c.document_name AS document_name
FROM command c JOIN command_state s ON s.command_id = c.command_id;

CREATE VIEW invocation_info AS
SELECT i.command_id AS "CommandId", i.node_id AS "InstanceId", n.name AS "InstanceName",
       c.comment AS "Comment", c.document_name AS "DocumentName",
       c.document_version AS "DocumentVersion", i.requested_ms AS "RequestedDateTime",
       i.trace AS "TraceOutput", c.service_role AS "ServiceRole",
       c.notification AS "NotificationConfig", c.log_config AS "CloudWatchOutputConfig",
       c.steps AS steps, c.s3_region AS s3_region, c.s3_bucket AS s3_bucket,
       c.s3_prefix AS s3_prefix, i.state AS state, i.account AS account, i.region AS region,
       i.requested_ms AS requested_ms, i.command_id AS command_id, i.node_id AS node_id,
       c.document_name AS document_name
FROM invocation i JOIN command c ON c.command_id = i.command_id
     LEFT JOIN node n ON n.node_id = i.node_id;

-- ---- sending ----

-- :name command_insert
INSERT INTO command (command_id, account, region, requested_ms, expires_ms, timeout_s, document_name,
                     document_version, comment, parameters, instance_ids, targets, platforms, steps,
                     max_concurrency, max_errors, s3_region, s3_bucket, s3_prefix, service_role,
                     notification, log_config, alarms)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
        $21, $22, $23);

-- :name command_job_insert
INSERT INTO command_job (command_id, content) VALUES ($1, $2);

-- :name command_state_insert
INSERT INTO command_state (command_id, state, is_open, wake, expires_ms, resolved, resolve_after,
                           cancelled, stopped, limit_exceeded, expired, rate_limit, error_limit, ramp,
                           n_pending, n_in_progress, n_delayed, n_success, n_failed,
                           n_exec_timed_out, n_delivery_timed_out, n_cancelling, n_cancelled,
                           n_terminated, n_undeliverable, n_invalid_platform, n_access_denied,
                           stage_queued, stage_released, stage_parked, stage_delivered, stage_done)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
        $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32);

-- :name invocation_insert
INSERT INTO invocation (command_id, node_id, account, region, seq, requested_ms, stage, state,
                        finished_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (command_id, node_id) DO NOTHING;

-- Invocations of all open commands of an account that are not terminal.
-- :name command_open_invocations
SELECT COALESCE(SUM(n_pending + n_in_progress + n_delayed + n_cancelling), 0)
FROM command_state WHERE is_open = 1;

-- ---- the engine ----

-- :name command_state_get
SELECT s.command_id, s.state, s.is_open, s.wake, s.expires_ms, s.resolved, s.resolve_after,
       s.cancelled, s.stopped, s.limit_exceeded, s.expired, s.rate_limit, s.error_limit, s.ramp,
       s.n_pending, s.n_in_progress, s.n_delayed, s.n_success, s.n_failed, s.n_exec_timed_out,
       s.n_delivery_timed_out, s.n_cancelling, s.n_cancelled, s.n_terminated, s.n_undeliverable,
       s.n_invalid_platform, s.n_access_denied, s.stage_queued, s.stage_released, s.stage_parked,
       s.stage_delivered, s.stage_done
FROM command_state s WHERE s.command_id = $1;

-- :name command_state_set
UPDATE command_state SET
    state = $2, is_open = $3, wake = $4, expires_ms = $5, resolved = $6, resolve_after = $7,
    cancelled = $8, stopped = $9, limit_exceeded = $10, expired = $11, rate_limit = $12,
    error_limit = $13, ramp = $14, n_pending = $15, n_in_progress = $16, n_delayed = $17,
    n_success = $18, n_failed = $19, n_exec_timed_out = $20, n_delivery_timed_out = $21,
    n_cancelling = $22, n_cancelled = $23, n_terminated = $24, n_undeliverable = $25,
    n_invalid_platform = $26, n_access_denied = $27, stage_queued = $28, stage_released = $29,
    stage_parked = $30, stage_delivered = $31, stage_done = $32
WHERE command_id = $1;

-- What resolving targets needs.
-- :name command_targets
SELECT account AS "Account", region AS "Region", requested_ms AS "RequestedMs",
       targets AS "Targets", platforms AS "Platforms", max_concurrency AS "MaxConcurrency",
       max_errors AS "MaxErrors"
FROM command WHERE command_id = $1;

-- :name command_belongs
SELECT 1 FROM command WHERE command_id = $1 AND account = $2 AND region = $3;

-- :name invocation_get
SELECT command_id, node_id, stage, state, releases, refusals, due_ms, started_ms,
       finished_ms, trace
FROM invocation WHERE command_id = $1 AND node_id = $2;

-- Invocations of one stage, in the order of sending; $3 mask of 1 << state.
-- :name invocation_of_stage
SELECT command_id, node_id, stage, state, releases, refusals, due_ms, started_ms,
       finished_ms, trace
FROM invocation
WHERE command_id = $1 AND stage = $2 AND (($3 >> CAST(state AS INTEGER)) & 1) = 1
ORDER BY seq LIMIT $4;

-- :name invocation_set
UPDATE invocation SET stage = $3, state = $4, releases = $5, refusals = $6, due_ms = $7,
                      started_ms = $8, finished_ms = $9, trace = $10
WHERE command_id = $1 AND node_id = $2;

-- :name command_cancel_put
INSERT INTO command_cancel (node_id, command_id, cancel_id) VALUES ($1, $2, $3)
ON CONFLICT (node_id, command_id) DO NOTHING;

-- :name command_cancel_delete
DELETE FROM command_cancel WHERE node_id = $1 AND command_id = $2;

-- :name command_cancel_acked
DELETE FROM command_cancel WHERE node_id = $1 AND cancel_id = $2;

-- :name command_cancel_list
SELECT command_id, cancel_id FROM command_cancel WHERE node_id = $1 ORDER BY command_id LIMIT $2;

-- :name command_cancel_retire
DELETE FROM command_cancel WHERE command_id = $1;

-- Commands that wait for this node ($2: stage).
-- :name invocation_commands_of_node
SELECT command_id FROM invocation WHERE node_id = $1 AND stage = $2
ORDER BY requested_ms, command_id LIMIT $3;

-- Nodes that are gone although invocations wait for them. CROSS JOIN keeps SQLite's planner from
-- walking all invocations instead of those of open commands.
-- :name invocation_orphans
SELECT DISTINCT i.node_id
FROM command_state s CROSS JOIN invocation i
WHERE s.is_open = 1 AND i.command_id = s.command_id AND i.stage IN (0, 1, 2)
  AND NOT EXISTS (SELECT 1 FROM node n WHERE n.node_id = i.node_id AND n.state = 'active')
LIMIT $1;

-- ---- replies ----

-- :name step_get
SELECT step, plugin, status, code, started_ms, finished_ms, output, stdout, stderr, s3_bucket,
       s3_prefix
FROM invocation_step WHERE command_id = $1 AND node_id = $2 AND step = $3;

-- :name step_list
SELECT step, plugin, status, code, started_ms, finished_ms, output, stdout, stderr, s3_bucket,
       s3_prefix
FROM invocation_step WHERE command_id = $1 AND node_id = $2 ORDER BY started_ms, step;

-- :name step_count
SELECT COUNT(*) FROM invocation_step WHERE command_id = $1 AND node_id = $2;

-- :name step_put
INSERT INTO invocation_step (command_id, node_id, step, plugin, status, code, started_ms,
                             finished_ms, output, stdout, stderr, s3_bucket, s3_prefix)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (command_id, node_id, step) DO UPDATE SET
    plugin = excluded.plugin, status = excluded.status, code = excluded.code,
    started_ms = excluded.started_ms, finished_ms = excluded.finished_ms,
    output = excluded.output, stdout = excluded.stdout, stderr = excluded.stderr,
    s3_bucket = excluded.s3_bucket, s3_prefix = excluded.s3_prefix;

-- ---- delivery ----

-- Jobs a node is to be sent ($2: stage released), oldest first.
-- :name invocation_deliverable
SELECT i.command_id FROM invocation i
WHERE i.node_id = $1 AND i.stage = $2
ORDER BY i.requested_ms, i.command_id LIMIT $3;

-- :name command_job_get
SELECT content FROM command_job WHERE command_id = $1;

-- ---- the clock ----

-- :name command_due
SELECT command_id FROM command_state WHERE wake = 1
UNION
SELECT command_id FROM command_state WHERE is_open = 1 AND expired = 0 AND expires_ms <= $1
LIMIT $2;

-- :name invocation_due
SELECT command_id, node_id FROM invocation WHERE due_ms IS NOT NULL AND due_ms <= $1
ORDER BY due_ms LIMIT $2;

-- :name command_due_count
SELECT COUNT(*) FROM (SELECT 1 AS due FROM command_state WHERE wake = 1
                      UNION ALL
                      SELECT 1 AS due FROM command_state
                      WHERE is_open = 1 AND expired = 0 AND expires_ms <= $1) AS x;

-- :name invocation_due_count
SELECT COUNT(*) FROM invocation WHERE due_ms IS NOT NULL AND due_ms <= $1;

-- :name command_retired
SELECT c.command_id FROM command c JOIN command_state s ON s.command_id = c.command_id
WHERE c.requested_ms < $1 AND s.is_open = 0 ORDER BY c.requested_ms LIMIT $2;

-- :name invocation_retire_steps
DELETE FROM invocation_step
WHERE command_id = $1 AND node_id IN
      (SELECT node_id FROM invocation WHERE command_id = $1 ORDER BY node_id LIMIT $2);

-- :name invocation_retire
DELETE FROM invocation
WHERE command_id = $1 AND node_id IN
      (SELECT node_id FROM invocation WHERE command_id = $1 ORDER BY node_id LIMIT $2);

-- :name invocation_retire_states
SELECT state, COUNT(*) FROM invocation
WHERE command_id = $1 AND node_id IN
      (SELECT node_id FROM invocation WHERE command_id = $1 ORDER BY node_id LIMIT $2)
GROUP BY state;

-- :name command_job_delete
DELETE FROM command_job WHERE command_id = $1;

-- :name command_state_delete
DELETE FROM command_state WHERE command_id = $1;

-- :name command_delete
DELETE FROM command WHERE command_id = $1;

-- :name invocation_states
SELECT state, COUNT(*) FROM invocation GROUP BY state;

-- ---- reading ----
-- Newest first; a page starts behind the row ($3, $4 …); document name or '';
-- then requested after and before; the mask has bit 1 << state of every state wanted.

-- :name command_page
SELECT * FROM command_info
WHERE account = $1 AND region = $2 AND (requested_ms, command_id) < ($3, $4)
  AND ($5 = '' OR document_name = $5) AND requested_ms > $6 AND requested_ms < $7
  AND (($8 >> CAST(state AS INTEGER)) & 1) = 1
ORDER BY requested_ms DESC, command_id DESC LIMIT $9;

-- :name command_page_of_node
SELECT v.* FROM invocation i JOIN command_info v ON v.command_id = i.command_id
WHERE i.node_id = $10 AND v.account = $1 AND v.region = $2
  AND (i.requested_ms, i.command_id) < ($3, $4)
  AND ($5 = '' OR v.document_name = $5) AND i.requested_ms > $6 AND i.requested_ms < $7
  AND (($8 >> CAST(v.state AS INTEGER)) & 1) = 1
ORDER BY i.requested_ms DESC, i.command_id DESC LIMIT $9;

-- :name command_get
SELECT * FROM command_info WHERE command_id = $1 AND account = $2 AND region = $3;

-- :name invocation_page
SELECT * FROM invocation_info
WHERE account = $1 AND region = $2
  AND (requested_ms, command_id, node_id) < ($3, $4, $5)
  AND ($6 = '' OR document_name = $6) AND requested_ms > $7 AND requested_ms < $8
  AND (($9 >> CAST(state AS INTEGER)) & 1) = 1
ORDER BY requested_ms DESC, command_id DESC, node_id DESC LIMIT $10;

-- :name invocation_page_of_node
SELECT * FROM invocation_info
WHERE node_id = $11 AND account = $1 AND region = $2
  AND (requested_ms, command_id, node_id) < ($3, $4, $5)
  AND ($6 = '' OR document_name = $6) AND requested_ms > $7 AND requested_ms < $8
  AND (($9 >> CAST(state AS INTEGER)) & 1) = 1
ORDER BY requested_ms DESC, command_id DESC LIMIT $10;

-- :name invocation_page_of_command
SELECT * FROM invocation_info
WHERE command_id = $11 AND account = $1 AND region = $2
  AND (requested_ms, command_id, node_id) < ($3, $4, $5)
  AND node_id < CASE WHEN $4 = $11 THEN $5 ELSE '~' END AND ($12 = '' OR node_id = $12)
  AND ($6 = '' OR document_name = $6) AND requested_ms > $7 AND requested_ms < $8
  AND (($9 >> CAST(state AS INTEGER)) & 1) = 1
ORDER BY node_id DESC LIMIT $10;

-- :name invocation_info_get
SELECT * FROM invocation_info
WHERE command_id = $1 AND node_id = $2 AND account = $3 AND region = $4;

-- :name session_insert
INSERT INTO session (session_id, account, region, node_id, status, owner, owner_id, document_name,
                     session_type, reason, details, started_ms, max_minutes, idle_minutes, ends_ms,
                     due_ms, agent_came, agent_done, s3_url, log_url)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', $11, $12, $13, $14, $15, 0, 0, '', '');

-- :name session_job_insert
INSERT INTO session_job (session_id, content) VALUES ($1, $2);

-- :name session_job_delete
DELETE FROM session_job WHERE session_id = $1;

-- :name session_get
SELECT session_id AS "SessionId", node_id AS "NodeId", status AS "Status", owner AS "Owner",
       owner_id AS "OwnerId", document_name AS "DocumentName", session_type AS "SessionType",
       details AS "Details", started_ms AS "StartedMs", idle_minutes AS "IdleMinutes",
       ends_ms AS "EndsMs", due_ms AS "DueMs", agent_came AS "AgentCame",
       agent_done AS "AgentDone",
       (SELECT content FROM session_job j WHERE j.session_id = s.session_id) AS "Content"
FROM session s WHERE session_id = $1 AND account = $2 AND region = $3;

-- :name session_set
UPDATE session SET status = $2, details = $3, ended_ms = $4, due_ms = $5, agent_came = $6,
                   agent_done = $7
WHERE session_id = $1;

-- :name session_outputs_set
UPDATE session SET s3_url = $2, log_url = $3 WHERE session_id = $1;

-- Those that have not ended: of all, of a node, of an owner.
-- :name session_open_counts
SELECT COUNT(*), COALESCE(SUM(CASE WHEN node_id = $3 THEN 1 ELSE 0 END), 0),
       COALESCE(SUM(CASE WHEN owner = $4 THEN 1 ELSE 0 END), 0)
FROM session WHERE ended_ms IS NULL AND account = $1 AND region = $2;

-- What a node is told when it connects: sessions it has not begun ($3), and those that are to end or
-- have ended ($4 and above) without its knowing, if not before $2.
-- :name session_of_node
SELECT session_id FROM session
WHERE node_id = $1 AND agent_done = 0 AND started_ms > $2
  AND ((status = $3 AND agent_came = 0) OR status >= $4)
ORDER BY started_ms LIMIT $5;

-- :name session_open_of_node
SELECT session_id FROM session WHERE node_id = $1 AND ended_ms IS NULL LIMIT $2;

-- :name session_unbegun_of_node
SELECT session_id FROM session
WHERE node_id = $1 AND status = $2 AND agent_came = 0 AND ended_ms IS NULL LIMIT $3;

-- :name session_due
SELECT session_id FROM session WHERE due_ms IS NOT NULL AND due_ms <= $1 LIMIT $2;

-- :name session_next_due
SELECT MIN(due_ms) FROM session WHERE due_ms IS NOT NULL;

-- :name session_open_all
SELECT session_id FROM session WHERE ended_ms IS NULL;

-- :name session_retire
DELETE FROM session WHERE ended_ms IS NOT NULL AND ended_ms < $1;

-- :name session_states
SELECT status, COUNT(*) FROM session WHERE ended_ms IS NULL GROUP BY status;

-- $3 mask of 1 << status; $4, $5 started between; $6 node, $7 owner, $8 session, '' any; newest
-- first, before ($9, $10).
-- :name session_page
SELECT session_id AS "SessionId", node_id AS "Target", status AS status,
       started_ms AS "StartDate", ended_ms AS "EndDate", document_name AS "DocumentName",
       owner AS "Owner", reason AS "Reason", details AS "Details", max_minutes AS max_minutes,
       s3_url AS s3_url, log_url AS log_url
FROM session
WHERE account = $1 AND region = $2 AND (($3 >> CAST(status AS INTEGER)) & 1) = 1
  AND started_ms > $4 AND started_ms < $5
  AND ($6 = '' OR node_id = $6) AND ($7 = '' OR owner = $7) AND ($8 = '' OR session_id = $8)
  AND (started_ms < $9 OR (started_ms = $9 AND session_id < $10))
ORDER BY started_ms DESC, session_id DESC LIMIT $11;

-- :name session_done_set
UPDATE session SET agent_done = 1 WHERE session_id = $1;

-- :name session_place_add
INSERT INTO session_place (session_id, bucket, object_key, log_group, object_by_plane, events_by_plane)
VALUES ($1, $2, $3, $4, $5, $6);

-- :name session_place_get
SELECT s.node_id, COALESCE(s.ended_ms, 0), p.bucket, p.object_key, p.log_group, p.object_by_plane,
       p.events_by_plane
FROM session_place p JOIN session s ON s.session_id = p.session_id WHERE p.session_id = $1;

-- A node's group, of sessions that have not ended before $3.
-- :name session_place_group
SELECT 1 FROM session s JOIN session_place p ON p.session_id = s.session_id
WHERE s.node_id = $1 AND p.log_group = $2 AND p.events_by_plane = 0
  AND (s.ended_ms IS NULL OR s.ended_ms > $3) LIMIT 1;

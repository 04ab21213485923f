-- :name log_group_add
INSERT INTO log_group (account, region, name, group_id, created_ms, retention_days)
VALUES ($1, $2, $3, $4, $5, 0);

-- :name log_group_get
SELECT group_id FROM log_group WHERE account = $1 AND region = $2 AND name = $3;

-- :name log_group_delete
DELETE FROM log_group WHERE group_id = $1;

-- :name log_group_retention
UPDATE log_group SET retention_days = $2 WHERE group_id = $1;

-- Those after $3 with $5 in their names.
-- :name log_group_page
SELECT g.name AS "logGroupName", g.created_ms AS "creationTime",
       CASE WHEN g.retention_days > 0 THEN g.retention_days END AS "retentionInDays"
FROM log_group g
WHERE g.account = $1 AND g.region = $2 AND g.name > $3 AND ($5 = '' OR REPLACE(g.name, $5, '') <> g.name)
ORDER BY g.name LIMIT $4;

-- :name log_stream_add
INSERT INTO log_stream (group_id, name, stream_id, created_ms) VALUES ($1, $2, $3, $4);

-- :name log_stream_get
SELECT stream_id FROM log_stream WHERE group_id = $1 AND name = $2;

-- :name log_stream_delete
DELETE FROM log_stream WHERE stream_id = $1;

-- $2 name of the one before.
-- :name log_stream_by_name
SELECT name AS "logStreamName", created_ms AS "creationTime", first_ms AS "firstEventTimestamp",
       last_ms AS "lastEventTimestamp", ingested_ms AS "lastIngestionTime"
FROM log_stream WHERE group_id = $1 AND name > $2 ORDER BY name LIMIT $3;

-- :name log_stream_by_name_back
SELECT name AS "logStreamName", created_ms AS "creationTime", first_ms AS "firstEventTimestamp",
       last_ms AS "lastEventTimestamp", ingested_ms AS "lastIngestionTime"
FROM log_stream WHERE group_id = $1 AND name < $2 ORDER BY name DESC LIMIT $3;

-- $2 name and $4 last event time of the one before.
-- :name log_stream_by_time
SELECT name AS "logStreamName", created_ms AS "creationTime", first_ms AS "firstEventTimestamp",
       last_ms AS "lastEventTimestamp", ingested_ms AS "lastIngestionTime"
FROM log_stream WHERE group_id = $1 AND (COALESCE(last_ms, 0), name) > ($4, $2)
ORDER BY COALESCE(last_ms, 0), name LIMIT $3;

-- :name log_stream_by_time_back
SELECT name AS "logStreamName", created_ms AS "creationTime", first_ms AS "firstEventTimestamp",
       last_ms AS "lastEventTimestamp", ingested_ms AS "lastIngestionTime"
FROM log_stream WHERE group_id = $1 AND (COALESCE(last_ms, 0), name) < ($4, $2)
ORDER BY COALESCE(last_ms, 0) DESC, name DESC LIMIT $3;

-- :name log_stream_touch
UPDATE log_stream
SET first_ms = CASE WHEN first_ms IS NULL OR first_ms > $2 THEN $2 ELSE first_ms END,
    last_ms = CASE WHEN last_ms IS NULL OR last_ms < $3 THEN $3 ELSE last_ms END,
    ingested_ms = $4
WHERE stream_id = $1;

-- :name log_stream_written
SELECT writer, written FROM log_stream WHERE stream_id = $1;

-- :name log_stream_write
UPDATE log_stream SET writer = $2, written = $3 WHERE stream_id = $1;

-- ---- events ----

-- :name log_event_add
INSERT INTO log_event (stream_id, time_ms, event_id, group_id, stream, message, arrived_ms, bytes)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- Those behind ($2, $3), up to $4 excluded.
-- :name log_event_forward
SELECT time_ms AS "timestamp", message AS "message", arrived_ms AS "ingestionTime", event_id AS "eventId"
FROM log_event
WHERE stream_id = $1 AND (time_ms, event_id) > ($2, $3) AND time_ms < $4
ORDER BY time_ms, event_id LIMIT $5;

-- Those before ($2, $3), from $4 on, the last first.
-- :name log_event_backward
SELECT time_ms AS "timestamp", message AS "message", arrived_ms AS "ingestionTime", event_id AS "eventId"
FROM log_event
WHERE stream_id = $1 AND (time_ms, event_id) < ($2, $3) AND time_ms >= $4
ORDER BY time_ms DESC, event_id DESC LIMIT $5;

-- :name log_event_of_group
SELECT time_ms AS "timestamp", message AS "message", arrived_ms AS "ingestionTime", event_id AS "eventId",
       stream AS "logStreamName"
FROM log_event
WHERE group_id = $1 AND (time_ms, event_id) > ($2, $3) AND time_ms < $4
ORDER BY time_ms, event_id;

-- :name log_usage
SELECT bytes FROM log_usage WHERE one = 1;

-- :name log_usage_add
UPDATE log_usage SET bytes = bytes + $1 WHERE one = 1;

-- :name log_usage_count
UPDATE log_usage SET bytes = (SELECT COALESCE(SUM(bytes), 0) FROM log_event) WHERE one = 1;

-- :name log_event_count
SELECT COUNT(*) FROM log_event;

-- The $1 that came first.
-- :name log_event_drop_oldest
DELETE FROM log_event WHERE event_id IN (SELECT event_id FROM log_event ORDER BY event_id LIMIT $1);

-- Up to $2 that are past their group's retention.
-- :name log_event_retire
DELETE FROM log_event WHERE event_id IN (
    SELECT e.event_id FROM log_group g JOIN log_event e ON e.group_id = g.group_id
    WHERE g.retention_days > 0 AND e.time_ms < $1 - g.retention_days * 86400000 LIMIT $2);

-- What a node was lately asked to run.
-- :name node_log_configs
SELECT c.log_config, c.document_name
FROM invocation i JOIN command c ON c.command_id = i.command_id
WHERE i.node_id = $1 ORDER BY i.requested_ms DESC LIMIT 1000;

-- :name transcript_put
INSERT INTO transcript (session_id, account, region, node_id, owner, document_name, session_type, endpoint,
                        recorded, started_ms, ended_ms, file_bytes, blocks, mac, bytes_in, bytes_out, alarms,
                        note)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (session_id) DO UPDATE SET
    ended_ms = excluded.ended_ms, file_bytes = excluded.file_bytes, blocks = excluded.blocks,
    mac = excluded.mac, bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out,
    alarms = excluded.alarms, note = excluded.note;

-- :name transcript_end
SELECT file_bytes, blocks, mac, bytes_in, bytes_out, alarms, note FROM transcript WHERE session_id = $1;

-- :name transcript_get
SELECT session_id AS "SessionId", node_id AS "Target", owner AS "Owner", document_name AS "DocumentName",
       session_type AS "SessionType", NULLIF(endpoint, '') AS "Endpoint", recorded AS "Recorded",
       started_ms AS "StartDate", ended_ms AS "EndDate", file_bytes AS "FileBytes", blocks AS "Blocks",
       mac AS "Head", bytes_in AS "BytesIn", bytes_out AS "BytesOut", alarms AS "Alarms",
       NULLIF(note, '') AS "Note"
FROM transcript WHERE session_id = $1 AND account = $2 AND region = $3;

-- $3 node, $4 owner, '' any; started between $5 and $6; newest first, before ($7, $8).
-- :name transcript_page
SELECT session_id AS "SessionId", node_id AS "Target", owner AS "Owner", document_name AS "DocumentName",
       session_type AS "SessionType", NULLIF(endpoint, '') AS "Endpoint", recorded AS "Recorded",
       started_ms AS "StartDate", ended_ms AS "EndDate", file_bytes AS "FileBytes", blocks AS "Blocks",
       mac AS "Head", bytes_in AS "BytesIn", bytes_out AS "BytesOut", alarms AS "Alarms",
       NULLIF(note, '') AS "Note", started_ms AS started_ms
FROM transcript
WHERE account = $1 AND region = $2 AND ($3 = '' OR node_id = $3) AND ($4 = '' OR owner = $4)
  AND started_ms >= $5 AND started_ms <= $6
  AND (started_ms < $7 OR (started_ms = $7 AND session_id < $8))
ORDER BY started_ms DESC, session_id DESC LIMIT $9;

-- What is to go: up to $2 that ended before $1; or the oldest that ended.
-- :name transcript_old
SELECT session_id, file_bytes FROM transcript
WHERE ended_ms IS NOT NULL AND ended_ms < $1 ORDER BY ended_ms LIMIT $2;

-- :name transcript_usage
SELECT COALESCE(SUM(file_bytes), 0) FROM transcript;

-- :name transcript_delete
DELETE FROM transcript WHERE session_id = $1;


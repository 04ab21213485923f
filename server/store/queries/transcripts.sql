-- :name transcript_put
INSERT INTO transcript (session_id, account, region, node_id, owner, document_name, session_type, endpoint,
                        recorded, started_ms, ended_ms, file_bytes, blocks, mac, bytes_in, bytes_out, alarms,
                        note, number)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
        (SELECT COALESCE(MAX(number), 0) + 1
         FROM (SELECT MAX(number) AS number FROM transcript
               UNION ALL SELECT MAX(number) FROM transcript_gone) taken))
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
SELECT session_id, file_bytes, owner, mac FROM transcript
WHERE ended_ms IS NOT NULL AND ended_ms < $1 ORDER BY ended_ms LIMIT $2;

-- Those that go on, of sessions that do not, since before $1.
-- :name transcript_unended
SELECT t.session_id, t.node_id, t.owner, t.document_name, t.started_ms, s.status, s.details, s.ended_ms
FROM transcript t LEFT JOIN session s ON s.session_id = t.session_id
WHERE t.ended_ms IS NULL AND (s.session_id IS NULL OR s.ended_ms < $1) LIMIT $2;

-- :name transcript_known
SELECT COUNT(*) FROM transcript WHERE session_id = $1;

-- :name transcript_usage
SELECT COALESCE(SUM(file_bytes), 0) FROM transcript;

-- :name transcript_delete
DELETE FROM transcript WHERE session_id = $1;

-- ---- the index ----

-- The next that has more than is indexed: it has ended, or $1 bytes have come.
-- :name transcript_to_index
SELECT session_id AS "SessionId", number AS number, file_bytes AS file_bytes,
       indexed_bytes AS indexed_bytes, output_bytes AS output_bytes,
       errors_bytes AS errors_bytes, chunks AS chunks,
       text_bytes AS text_bytes, ended_ms AS ended_ms
FROM transcript
WHERE indexed_bytes >= 0 AND indexed_bytes < file_bytes
  AND (ended_ms IS NOT NULL OR file_bytes - indexed_bytes >= $1)
ORDER BY number DESC LIMIT 1;

-- :name transcript_indexed_set
UPDATE transcript SET indexed_bytes = $2, output_bytes = $3, errors_bytes = $4, chunks = $5,
                      text_bytes = $6
WHERE number = $1 AND indexed_bytes >= 0;

-- :name transcript_text_bytes
SELECT COALESCE(SUM(text_bytes), 0) FROM transcript;

-- :name transcript_oldest_indexed
SELECT number, text_bytes FROM transcript WHERE text_bytes > 0 ORDER BY number LIMIT 1;

-- $5: of that transcript, if it is still to be indexed.
-- :name transcript_text_put
INSERT INTO transcript_text (id, start_ms, lines, times)
SELECT $1, $2, $3, $4 FROM transcript WHERE number = $5 AND indexed_bytes >= 0;

-- :name transcript_text_delete
DELETE FROM transcript_text
WHERE id IN (SELECT id FROM transcript_text WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT $3);

-- :name transcript_gone_put
INSERT INTO transcript_gone (number) SELECT number FROM transcript WHERE session_id = $1
ON CONFLICT (number) DO NOTHING;

-- :name transcript_gone_add
INSERT INTO transcript_gone (number) VALUES ($1) ON CONFLICT (number) DO NOTHING;

-- :name transcript_gone_next
SELECT number FROM transcript_gone ORDER BY number LIMIT 1;

-- :name transcript_gone_delete
DELETE FROM transcript_gone WHERE number = $1;

-- ---- searching ----

-- As transcript_page, of those of which something is not indexed.
-- :name transcript_unindexed_page
SELECT session_id AS "SessionId", node_id AS "Target", owner AS "Owner", started_ms AS "StartDate",
       file_bytes AS "FileBytes", indexed_bytes AS indexed_bytes, output_bytes AS output_bytes,
       errors_bytes AS errors_bytes
FROM transcript
WHERE account = $1 AND region = $2 AND ($3 = '' OR node_id = $3) AND ($4 = '' OR owner = $4)
  AND started_ms >= $5 AND started_ms <= $6
  AND (started_ms < $7 OR (started_ms = $7 AND session_id < $8)) AND indexed_bytes < file_bytes
ORDER BY started_ms DESC, session_id DESC LIMIT $9;

-- :name transcript_of_number
SELECT session_id AS "SessionId", node_id AS "Target", owner AS "Owner", started_ms AS "StartDate",
       chunks AS chunks
FROM transcript
WHERE number = $1 AND account = $2 AND region = $3 AND ($4 = '' OR node_id = $4)
  AND ($5 = '' OR owner = $5) AND started_ms >= $6 AND started_ms <= $7;

-- :name transcript_text_get
SELECT start_ms, lines, times FROM transcript_text WHERE id = $1;

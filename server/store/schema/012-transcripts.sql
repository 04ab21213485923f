-- Transcripts of sessions; the files are <data>/transcripts/SESSION (server/session/transcript.h).

CREATE TABLE transcript (
    session_id    TEXT   PRIMARY KEY,
    account       TEXT   NOT NULL,
    region        TEXT   NOT NULL,
    node_id       TEXT   NOT NULL,
    owner         TEXT   NOT NULL, -- ARN
    document_name TEXT   NOT NULL,
    session_type  TEXT   NOT NULL,
    endpoint      TEXT   NOT NULL, -- Port sessions: host:port; else ''
    recorded      TEXT   NOT NULL, -- "output", "output and input", "counts"
    started_ms    BIGINT NOT NULL,
    ended_ms      BIGINT,          -- NULL: it goes on
    file_bytes    BIGINT NOT NULL, -- where the file ends: all before is on disk,
    blocks        BIGINT NOT NULL,
    mac           TEXT   NOT NULL, -- and this is bound to all of it
    bytes_in      BIGINT NOT NULL, -- by the client
    bytes_out     BIGINT NOT NULL,
    alarms        BIGINT NOT NULL,
    note          TEXT   NOT NULL  -- why the recording broke off; ''
);
CREATE INDEX transcript_page ON transcript (account, region, started_ms, session_id);
CREATE INDEX transcript_age ON transcript (ended_ms) WHERE ended_ms IS NOT NULL;

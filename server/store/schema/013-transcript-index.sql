-- The lines of transcripts, for searching (server/session/transcript_index.h). All of it can be made
-- anew from the files. SQLite's own: FTS5; elsewhere an index of trigrams takes its place.

ALTER TABLE transcript ADD COLUMN number BIGINT NOT NULL DEFAULT 0;        -- ascending with the start
ALTER TABLE transcript ADD COLUMN indexed_bytes BIGINT NOT NULL DEFAULT 0; -- of the file; -1: is not to be
ALTER TABLE transcript ADD COLUMN output_bytes BIGINT NOT NULL DEFAULT 0;  -- struct fl_tl_place:
ALTER TABLE transcript ADD COLUMN errors_bytes BIGINT NOT NULL DEFAULT 0;  -- line[0], line[1]
ALTER TABLE transcript ADD COLUMN chunks BIGINT NOT NULL DEFAULT 0;        -- that are whole
ALTER TABLE transcript ADD COLUMN text_bytes BIGINT NOT NULL DEFAULT 0;    -- of them
UPDATE transcript SET number = o.number
FROM (SELECT session_id, ROW_NUMBER() OVER (ORDER BY started_ms, session_id) AS number FROM transcript) o
WHERE o.session_id = transcript.session_id;
CREATE UNIQUE INDEX transcript_number ON transcript (number);
CREATE INDEX transcript_unindexed ON transcript (account, region, started_ms, session_id)
    WHERE indexed_bytes < file_bytes;
CREATE INDEX transcript_to_index ON transcript (number)
    WHERE indexed_bytes >= 0 AND indexed_bytes < file_bytes;
CREATE INDEX transcript_indexed ON transcript (number) WHERE text_bytes > 0;

-- id: number and number of the chunk, so that the newest session stands last, and in it the first chunk.
CREATE TABLE transcript_text (
    id       INTEGER PRIMARY KEY,
    start_ms BIGINT NOT NULL,
    lines    TEXT   NOT NULL, -- a newline behind each
    times    BLOB   NOT NULL  -- u32, little-endian, of each: ms since start_ms * 2, + 1 for standard error
);
CREATE VIRTUAL TABLE transcript_trigram USING fts5 (
    lines, content = '', columnsize = 0, detail = none, tokenize = 'trigram');

-- Numbers whose chunks are to be deleted, a few at a time.
CREATE TABLE transcript_gone (number BIGINT PRIMARY KEY);

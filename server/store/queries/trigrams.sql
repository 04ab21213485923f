-- The index of trigrams: SQLite's own (FTS5). Another database has other statements here.

-- :name transcript_trigram_put
INSERT INTO transcript_trigram (rowid, lines) VALUES ($1, $2);

-- Up to $3 chunks of those from $1 to $2.
-- :name transcript_trigram_delete
INSERT INTO transcript_trigram (transcript_trigram, rowid, lines)
SELECT 'delete', id, lines FROM transcript_text WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT $3;

-- Chunks that may have it, the newest session first, before $2.
-- :name transcript_trigram_find
SELECT rowid FROM transcript_trigram WHERE transcript_trigram MATCH $1 AND rowid < $2
ORDER BY rowid DESC;

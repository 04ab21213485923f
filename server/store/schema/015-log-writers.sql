-- How far the last writer of a stream that says so has come (common/wire/logposition.h).

ALTER TABLE log_stream ADD COLUMN writer TEXT NOT NULL DEFAULT '';
ALTER TABLE log_stream ADD COLUMN written BIGINT NOT NULL DEFAULT 0;

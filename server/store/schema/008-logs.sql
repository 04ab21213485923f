-- The plane's logs subset: groups of streams of events.

CREATE TABLE log_group (
    account        TEXT   NOT NULL,
    region         TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    group_id       TEXT   NOT NULL UNIQUE,
    created_ms     BIGINT NOT NULL,
    retention_days BIGINT NOT NULL, -- 0: for ever
    PRIMARY KEY (account, region, name)
);

CREATE TABLE log_stream (
    group_id    TEXT   NOT NULL REFERENCES log_group (group_id) ON DELETE CASCADE,
    name        TEXT   NOT NULL,
    stream_id   TEXT   NOT NULL UNIQUE,
    created_ms  BIGINT NOT NULL,
    first_ms    BIGINT, -- of events; NULL: there were none
    last_ms     BIGINT,
    ingested_ms BIGINT,
    PRIMARY KEY (group_id, name)
);

-- event_id begins with the time of arrival: its order is the order of arrival.
CREATE TABLE log_event (
    stream_id TEXT   NOT NULL REFERENCES log_stream (stream_id) ON DELETE CASCADE,
    time_ms   BIGINT NOT NULL,
    event_id  TEXT   NOT NULL,
    group_id  TEXT   NOT NULL,
    stream    TEXT   NOT NULL,
    message   TEXT   NOT NULL,
    arrived_ms BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    PRIMARY KEY (stream_id, time_ms, event_id)
);
CREATE INDEX log_event_group ON log_event (group_id, time_ms, event_id);

CREATE INDEX log_event_arrival ON log_event (event_id, bytes);

-- What all events take together, or more: what goes is taken off when they are counted again.
CREATE TABLE log_usage (
    one   BIGINT PRIMARY KEY,
    bytes BIGINT NOT NULL
);
INSERT INTO log_usage (one, bytes) VALUES (1, 0);

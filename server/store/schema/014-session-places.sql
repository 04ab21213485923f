-- Where what a session shows goes, of the plane's own places (server/session/place.h). *_by_plane:
-- 1: the plane takes it there, 0: its node does.
CREATE TABLE session_place (
    session_id      TEXT   PRIMARY KEY REFERENCES session (session_id) ON DELETE CASCADE,
    bucket          TEXT   NOT NULL, -- '': none
    object_key      TEXT   NOT NULL,
    log_group       TEXT   NOT NULL, -- '': none
    object_by_plane BIGINT NOT NULL,
    events_by_plane BIGINT NOT NULL
);

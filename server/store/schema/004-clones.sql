-- Identities that more than one machine was seen to hold (server/channel/clones.h).

CREATE TABLE node_clone (
    node_id   TEXT   PRIMARY KEY,
    account   TEXT   NOT NULL,
    region    TEXT   NOT NULL,
    evidence  TEXT   NOT NULL, -- 'channels' or 'fingerprint': of the newest sighting
    address   TEXT   NOT NULL, -- of the machine that had the node's place; '' unknown
    other     TEXT   NOT NULL, -- of the machine that came as the same node
    times     BIGINT NOT NULL,
    first_ms  BIGINT NOT NULL,
    last_ms   BIGINT NOT NULL
);

-- Sessions. status: enum fl_session_status (server/session/state.h).

CREATE TABLE session (
    session_id    TEXT   PRIMARY KEY,
    account       TEXT   NOT NULL,
    region        TEXT   NOT NULL,
    node_id       TEXT   NOT NULL,
    status        BIGINT NOT NULL,
    owner         TEXT   NOT NULL, -- ARN of the caller
    owner_id      TEXT   NOT NULL, -- its aws:userid
    document_name TEXT   NOT NULL,
    session_type  TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    details       TEXT   NOT NULL, -- why it ended
    started_ms    BIGINT NOT NULL,
    ended_ms      BIGINT,          -- NULL: it has not
    max_minutes   BIGINT NOT NULL, -- 0: no limit
    idle_minutes  BIGINT NOT NULL, -- 0: no limit
    ends_ms       BIGINT,          -- by max_minutes
    due_ms        BIGINT,          -- when the clock alone moves it; NULL: never
    agent_came    BIGINT NOT NULL, -- 1: the agent has opened its data channel
    agent_done    BIGINT NOT NULL, -- 1: the agent knows that it is over
    s3_url        TEXT   NOT NULL,
    log_url       TEXT   NOT NULL
);
CREATE INDEX session_page ON session (account, region, started_ms, session_id);
CREATE INDEX session_open ON session (owner, node_id) WHERE ended_ms IS NULL;
CREATE INDEX session_node ON session (node_id, started_ms);
CREATE INDEX session_due ON session (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX session_age ON session (ended_ms) WHERE ended_ms IS NOT NULL;

-- What the agent is told at the start: the Content of interactive_shell. Gone with the end, as
-- parameters may be anybody's secrets.
CREATE TABLE session_job (
    session_id TEXT PRIMARY KEY REFERENCES session (session_id) ON DELETE CASCADE,
    content    TEXT NOT NULL
);

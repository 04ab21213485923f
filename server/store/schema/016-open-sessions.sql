-- What has not ended is found without what has: counts of all, of a node, of an owner; a node's own.

DROP INDEX session_open;
CREATE INDEX session_open ON session (account, region, node_id, owner, status, session_id) WHERE ended_ms IS NULL;
CREATE INDEX session_open_node ON session (node_id, status, agent_came, session_id) WHERE ended_ms IS NULL;

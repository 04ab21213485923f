-- Activations, the nodes registered with them, and the tags of every kind of resource.

CREATE TABLE activation (
    activation_id      TEXT PRIMARY KEY,
    account            TEXT NOT NULL,
    region             TEXT NOT NULL,
    code_mac           TEXT NOT NULL, -- hex HMAC-SHA256 of the code under the plane's key; the code is not kept
    iam_role           TEXT NOT NULL,
    description        TEXT,
    default_name       TEXT,
    registration_limit BIGINT NOT NULL,
    registrations      BIGINT NOT NULL DEFAULT 0,
    expires_ms         BIGINT NOT NULL,
    created_ms         BIGINT NOT NULL
);
CREATE INDEX activation_page ON activation (account, region, activation_id);

-- A deregistered node keeps its row, so that its id is never given out again.
CREATE TABLE node (
    node_id              TEXT PRIMARY KEY,
    account              TEXT NOT NULL,
    region               TEXT NOT NULL,
    state                TEXT NOT NULL, -- 'active' or 'deregistered'
    activation_id        TEXT,
    iam_role             TEXT NOT NULL,
    name                 TEXT,
    fingerprint          TEXT NOT NULL,
    public_key           TEXT NOT NULL, -- base64 of DER SubjectPublicKeyInfo
    previous_public_key  TEXT,          -- still accepted until public_key has signed a request
    registered_key       TEXT NOT NULL, -- hex SHA-256 of the public key of the registration itself
    update_key_requested BIGINT NOT NULL DEFAULT 0,
    registered_ms        BIGINT NOT NULL,
    deregistered_ms      BIGINT,
    agent_name           TEXT,
    agent_version        TEXT,
    platform_type        TEXT,
    platform_name        TEXT,
    platform_version     TEXT,
    computer_name        TEXT,
    ip_address           TEXT,
    last_ping_ms         BIGINT,
    ping_gap_ms          BIGINT, -- between the last two pings, and between the two before:
    prior_gap_ms         BIGINT  -- the smaller one estimates how often this node reports
);
CREATE INDEX node_active ON node (account, region, node_id) WHERE state = 'active';
CREATE UNIQUE INDEX node_registration ON node (activation_id, registered_key) WHERE state = 'active';
CREATE INDEX node_key ON node (public_key) WHERE state = 'active';
CREATE INDEX node_previous_key ON node (previous_public_key)
    WHERE state = 'active' AND previous_public_key IS NOT NULL;

-- What reads of nodes show. The order of columns is `enum fl_node_col` in server/api/node_filters.h.
CREATE VIEW node_info AS
SELECT node_id                      AS "InstanceId",
       agent_version                AS "AgentVersion",
       platform_type                AS "PlatformType",
       platform_name                AS "PlatformName",
       platform_version             AS "PlatformVersion",
       activation_id                AS "ActivationId",
       iam_role                     AS "IamRole",
       'ManagedInstance'            AS "ResourceType",
       name                         AS "Name",
       ip_address                   AS "IPAddress",
       computer_name                AS "ComputerName",
       node_id                      AS "SourceId",
       'AWS::SSM::ManagedInstance'  AS "SourceType",
       agent_name                   AS "AgentType",
       registered_ms                AS "RegistrationDate",
       last_ping_ms                 AS "LastPingDateTime",
       ping_gap_ms                  AS ping_gap_ms,
       prior_gap_ms                 AS prior_gap_ms,
       account                      AS account,
       region                       AS region
FROM node
WHERE state = 'active';

-- resource_type is the API's ResourceTypeForTagging, or 'Activation'.
CREATE TABLE tag (
    account       TEXT NOT NULL,
    region        TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id   TEXT NOT NULL,
    tag_key       TEXT NOT NULL,
    tag_value     TEXT NOT NULL,
    PRIMARY KEY (account, region, resource_type, resource_id, tag_key)
);
CREATE INDEX tag_by_value ON tag (account, region, resource_type, tag_key, tag_value, resource_id);
-- Covering, like the others: SQLite takes a covering index with a bad prefix over the primary key.
CREATE INDEX tag_by_resource ON tag
    (account, region, resource_type, resource_id, tag_key, tag_value);
CREATE INDEX tag_by_key ON tag (account, region, resource_type, tag_key, resource_id);

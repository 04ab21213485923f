-- What a signature is checked with; $1 node id.
-- :name node_auth
SELECT public_key, previous_public_key, state FROM node WHERE node_id = $1;

-- :name node_insert
INSERT INTO node (node_id, account, region, state, activation_id, iam_role, name, fingerprint,
                  public_key, registered_key, registered_ms)
VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (node_id) DO NOTHING;

-- :name node_by_registration
SELECT node_id FROM node
WHERE activation_id = $1 AND registered_key = $2 AND state = 'active';

-- :name node_identity
SELECT fingerprint          AS "Fingerprint",
       iam_role             AS "IamRole",
       public_key           AS "PublicKey",
       previous_public_key  AS "PreviousPublicKey",
       update_key_requested AS "UpdateKeyRequested"
FROM node WHERE node_id = $1 AND account = $2 AND region = $3 AND state = 'active';

-- Another active node that holds this public key.
-- :name node_key_owner
SELECT node_id FROM node WHERE public_key = $1 AND state = 'active' AND node_id <> $2
UNION
SELECT node_id FROM node
WHERE previous_public_key = $1 AND previous_public_key IS NOT NULL AND state = 'active'
  AND node_id <> $2;

-- :name node_key_set
UPDATE node SET public_key = $2, previous_public_key = $3, update_key_requested = 0
WHERE node_id = $1;

-- This key has signed: if it still is the current one, the previous one is accepted no more.
-- :name node_key_promote
UPDATE node SET previous_public_key = NULL
WHERE node_id = $1 AND public_key = $2 AND previous_public_key IS NOT NULL;

-- An operator wants this node to change its key at the next token request.
-- :name node_key_request
UPDATE node SET update_key_requested = 1
WHERE node_id = $1 AND account = $2 AND region = $3 AND state = 'active';

-- Members absent from a ping keep what an earlier one said.
-- :name node_ping
UPDATE node SET
    agent_name = COALESCE($4, agent_name),
    agent_version = COALESCE($5, agent_version),
    platform_type = COALESCE($6, platform_type),
    platform_name = COALESCE($7, platform_name),
    platform_version = COALESCE($8, platform_version),
    computer_name = COALESCE($9, computer_name),
    ip_address = COALESCE($10, ip_address),
    prior_gap_ms = ping_gap_ms,
    ping_gap_ms = $11 - last_ping_ms,
    last_ping_ms = $11
WHERE node_id = $1 AND account = $2 AND region = $3 AND state = 'active';

-- :name node_role_set
UPDATE node SET iam_role = $4
WHERE node_id = $1 AND account = $2 AND region = $3 AND state = 'active';

-- :name node_deregister
UPDATE node SET state = 'deregistered', deregistered_ms = $4, previous_public_key = NULL
WHERE node_id = $1 AND account = $2 AND region = $3 AND state = 'active';

-- 1 row if the node is registered now.
-- :name node_exists
SELECT 1 FROM node
WHERE node_id = $1 AND account = $2 AND region = $3 AND state = 'active';

-- :name node_info_by_id
SELECT * FROM node_info WHERE account = $1 AND region = $2 AND "InstanceId" = $3;

-- :name node_info_page
SELECT * FROM node_info
WHERE account = $1 AND region = $2 AND "InstanceId" > $3
ORDER BY "InstanceId";

-- :name node_info_by_tag_key
SELECT i.* FROM tag t JOIN node_info i ON i."InstanceId" = t.resource_id
WHERE t.account = $1 AND t.region = $2 AND t.resource_type = 'ManagedInstance'
  AND t.tag_key = $3 AND t.resource_id > $4
  AND i.account = $1 AND i.region = $2
ORDER BY t.resource_id;

-- :name node_info_by_tag
SELECT i.* FROM tag t JOIN node_info i ON i."InstanceId" = t.resource_id
WHERE t.account = $1 AND t.region = $2 AND t.resource_type = 'ManagedInstance'
  AND t.tag_key = $3 AND t.tag_value = $4 AND t.resource_id > $5
  AND i.account = $1 AND i.region = $2
ORDER BY t.resource_id;

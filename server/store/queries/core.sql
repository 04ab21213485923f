-- :name meta_get
SELECT value FROM meta WHERE name = $1;

-- :name meta_put
INSERT INTO meta (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- :name schema_step_list
SELECT name FROM schema_step ORDER BY name;

-- :name schema_step_add
INSERT INTO schema_step (name, applied_ms) VALUES ($1, $2);

-- :name user_add
INSERT INTO iam_user (account, name, user_id, created_ms) VALUES ($1, $2, $3, $4);

-- :name user_get
SELECT name AS "UserName", user_id AS "UserId", created_ms AS "CreateDate"
FROM iam_user WHERE account = $1 AND name = $2;

-- :name user_list
SELECT name AS "UserName", user_id AS "UserId", created_ms AS "CreateDate"
FROM iam_user WHERE account = $1 ORDER BY name;

-- :name user_delete
DELETE FROM iam_user WHERE account = $1 AND name = $2;

-- :name key_add
INSERT INTO iam_access_key (access_key_id, account, user_name, secret_sealed, status, created_ms)
VALUES ($1, $2, $3, $4, 'Active', $5);

-- :name key_auth
SELECT k.account, k.user_name, u.user_id, k.secret_sealed, k.status
FROM iam_access_key k JOIN iam_user u ON u.account = k.account AND u.name = k.user_name
WHERE k.access_key_id = $1;

-- :name key_list
SELECT access_key_id AS "AccessKeyId", user_name AS "UserName", status AS "Status",
       created_ms AS "CreateDate"
FROM iam_access_key WHERE account = $1 AND ($2 = '' OR user_name = $2)
ORDER BY user_name, created_ms, access_key_id;

-- :name key_count
SELECT count(*) FROM iam_access_key WHERE account = $1 AND user_name = $2;

-- :name key_status
UPDATE iam_access_key SET status = $3 WHERE account = $1 AND access_key_id = $2;

-- :name key_delete
DELETE FROM iam_access_key WHERE account = $1 AND access_key_id = $2;

-- :name role_add
INSERT INTO iam_role (account, name, role_id, trust, created_ms) VALUES ($1, $2, $3, $4, $5);

-- :name role_get
SELECT name AS "RoleName", role_id AS "RoleId", trust AS "Trust", created_ms AS "CreateDate"
FROM iam_role WHERE account = $1 AND name = $2;

-- :name role_list
SELECT name AS "RoleName", role_id AS "RoleId", trust AS "Trust", created_ms AS "CreateDate"
FROM iam_role WHERE account = $1 ORDER BY name;

-- :name role_delete
DELETE FROM iam_role WHERE account = $1 AND name = $2;

-- :name policy_put
INSERT INTO iam_policy (account, name, document, created_ms, updated_ms)
VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (account, name) DO UPDATE SET document = excluded.document,
                                          updated_ms = excluded.updated_ms;

-- :name policy_exists
SELECT 1 FROM iam_policy WHERE account = $1 AND name = $2;

-- :name policy_list
SELECT p.name AS "PolicyName", p.document AS "PolicyDocument", p.updated_ms AS "UpdateDate",
       (SELECT count(*) FROM iam_attachment a
        WHERE a.account = p.account AND a.policy_name = p.name) AS "AttachmentCount"
FROM iam_policy p WHERE p.account = $1 ORDER BY p.name;

-- :name policy_delete
DELETE FROM iam_policy WHERE account = $1 AND name = $2;

-- :name policy_attach
INSERT INTO iam_attachment (account, principal_kind, principal_name, policy_name)
VALUES ($1, $2, $3, $4)
ON CONFLICT (account, principal_kind, principal_name, policy_name) DO NOTHING;

-- :name policy_detach
DELETE FROM iam_attachment
WHERE account = $1 AND principal_kind = $2 AND principal_name = $3 AND policy_name = $4;

-- :name policy_detach_principal
DELETE FROM iam_attachment WHERE account = $1 AND principal_kind = $2 AND principal_name = $3;

-- :name policy_attached_count
SELECT count(*) FROM iam_attachment WHERE account = $1 AND policy_name = $2;

-- :name policy_of_principal
SELECT p.document
FROM iam_attachment a JOIN iam_policy p ON p.account = a.account AND p.name = a.policy_name
WHERE a.account = $1 AND a.principal_kind = $2 AND a.principal_name = $3
ORDER BY p.name;

-- :name attachment_list
SELECT policy_name FROM iam_attachment
WHERE account = $1 AND principal_kind = $2 AND principal_name = $3 ORDER BY policy_name;

-- :name revoked_node_add
INSERT INTO revoked_node (node_id, account, region, revoked_ms) VALUES ($1, $2, $3, $4)
ON CONFLICT (node_id) DO UPDATE SET revoked_ms = excluded.revoked_ms;

-- :name revoked_node_list
SELECT node_id FROM revoked_node;

-- :name revoked_node_prune
DELETE FROM revoked_node WHERE revoked_ms < $1;

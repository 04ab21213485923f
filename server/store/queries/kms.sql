-- :name kms_key_add
INSERT INTO kms_key (account, region, key_id, created_ms, description, enabled, sealed)
VALUES ($1, $2, $3, $4, $5, 1, $6);

-- :name kms_key_count
SELECT COUNT(*) FROM kms_key WHERE account = $1 AND region = $2;

-- :name kms_key_get
SELECT key_id, created_ms, description, enabled, sealed
FROM kms_key WHERE account = $1 AND region = $2 AND key_id = $3;

-- :name kms_key_enable
UPDATE kms_key SET enabled = $4 WHERE account = $1 AND region = $2 AND key_id = $3;

-- Those after $3.
-- :name kms_key_page
SELECT key_id FROM kms_key WHERE account = $1 AND region = $2 AND key_id > $3 ORDER BY key_id LIMIT $4;

-- :name kms_alias_add
INSERT INTO kms_alias (account, region, name, key_id, created_ms) VALUES ($1, $2, $3, $4, $5);

-- :name kms_alias_get
SELECT key_id FROM kms_alias WHERE account = $1 AND region = $2 AND name = $3;

-- :name kms_alias_delete
DELETE FROM kms_alias WHERE account = $1 AND region = $2 AND name = $3;

-- Those after $3, of the key $4 or, if it is '', of all.
-- :name kms_alias_page
SELECT name, key_id, created_ms FROM kms_alias
WHERE account = $1 AND region = $2 AND name > $3 AND ($4 = '' OR key_id = $4) ORDER BY name LIMIT $5;

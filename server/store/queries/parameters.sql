-- $1 account, $2 region, $3 parameter id, here and below.

-- :name parameter_latest
SELECT * FROM parameter_info
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND "Version" = latest;

-- :name parameter_at_version
SELECT * FROM parameter_info
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND "Version" = $4;

-- :name parameter_history
SELECT * FROM parameter_info
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND "Version" > $4
ORDER BY "Version";

-- Those with ids between $3 and $4, both excluded.
-- :name parameter_page
SELECT * FROM parameter_info
WHERE account = $1 AND region = $2 AND parameter_id > $3 AND parameter_id < $4
  AND "Version" = latest
ORDER BY parameter_id;

-- :name parameter_exists
SELECT 1 FROM parameter WHERE account = $1 AND region = $2 AND parameter_id = $3;

-- :name parameter_count
SELECT COUNT(*) FROM parameter WHERE account = $1 AND region = $2;

-- :name parameter_is_sealed
SELECT 1 FROM parameter_version
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND sealed IS NOT NULL LIMIT 1;

-- Any with an id between $3 and $4.
-- :name parameter_sealed_between
SELECT 1 FROM parameter_version
WHERE account = $1 AND region = $2 AND parameter_id > $3 AND parameter_id < $4
  AND sealed IS NOT NULL LIMIT 1;

-- Any at all, to try the key on.
-- :name parameter_sealed_sample
SELECT account, region, parameter_id, version, sealed FROM parameter_version
WHERE sealed IS NOT NULL LIMIT 1;

-- :name parameter_insert
INSERT INTO parameter (account, region, parameter_id, name, version) VALUES ($1, $2, $3, $4, 1);

-- :name parameter_version_set
UPDATE parameter SET version = $4 WHERE account = $1 AND region = $2 AND parameter_id = $3;

-- :name parameter_version_insert
INSERT INTO parameter_version (account, region, parameter_id, version, type, value, sealed, key_id,
                               tier, data_type, description, allowed_pattern, policies, modified_ms,
                               modified_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- :name parameter_versions_forget
DELETE FROM parameter_version
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND version <= $4;

-- With its versions and labels.
-- :name parameter_delete
DELETE FROM parameter WHERE account = $1 AND region = $2 AND parameter_id = $3;

-- ---- labels ----

-- :name parameter_label_put
INSERT INTO parameter_label (account, region, parameter_id, label, version)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (account, region, parameter_id, label) DO UPDATE SET version = excluded.version;

-- :name parameter_label_remove
DELETE FROM parameter_label
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND label = $4 AND version = $5;

-- :name parameter_label_find
SELECT version FROM parameter_label
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND label = $4;

-- :name parameter_labels
SELECT label FROM parameter_label
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND version = $4
ORDER BY label;

-- :name parameter_labels_up_to
SELECT COUNT(*) FROM parameter_label
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND version <= $4;

-- :name parameter_label_count
SELECT COUNT(*) FROM parameter_label
WHERE account = $1 AND region = $2 AND parameter_id = $3 AND version = $4;

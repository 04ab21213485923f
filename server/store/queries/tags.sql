-- :name tag_put
INSERT INTO tag (account, region, resource_type, resource_id, tag_key, tag_value)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (account, region, resource_type, resource_id, tag_key)
DO UPDATE SET tag_value = excluded.tag_value;

-- :name tag_remove
DELETE FROM tag
WHERE account = $1 AND region = $2 AND resource_type = $3 AND resource_id = $4 AND tag_key = $5;

-- :name tag_remove_all
DELETE FROM tag
WHERE account = $1 AND region = $2 AND resource_type = $3 AND resource_id = $4;

-- :name tag_count
SELECT COUNT(*) FROM tag
WHERE account = $1 AND region = $2 AND resource_type = $3 AND resource_id = $4;

-- :name tag_list
SELECT tag_key AS "Key", tag_value AS "Value" FROM tag
WHERE account = $1 AND region = $2 AND resource_type = $3 AND resource_id = $4
ORDER BY tag_key;

-- :name tag_value
SELECT tag_value FROM tag
WHERE account = $1 AND region = $2 AND resource_type = $3 AND resource_id = $4 AND tag_key = $5;

-- :name tag_copy
INSERT INTO tag (account, region, resource_type, resource_id, tag_key, tag_value)
SELECT account, region, $5, $6, tag_key, tag_value FROM tag
WHERE account = $1 AND region = $2 AND resource_type = $3 AND resource_id = $4
ON CONFLICT (account, region, resource_type, resource_id, tag_key)
DO UPDATE SET tag_value = excluded.tag_value;

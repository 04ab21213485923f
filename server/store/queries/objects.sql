-- :name bucket_add
INSERT INTO bucket (account, name, region, created_ms) VALUES ($1, $2, $3, $4);

-- :name bucket_exists
SELECT 1 FROM bucket WHERE account = $1 AND name = $2;

-- :name bucket_list
SELECT name, created_ms FROM bucket WHERE account = $1 ORDER BY name;

-- :name bucket_delete
DELETE FROM bucket WHERE account = $1 AND name = $2;

-- :name bucket_in_use
SELECT 1 FROM object WHERE account = $1 AND bucket = $2
UNION ALL
SELECT 1 FROM upload WHERE account = $1 AND bucket = $2
LIMIT 1;

-- ---- objects ----

-- :name object_get
SELECT object_id, bytes, etag, modified_ms, headers FROM object
WHERE account = $1 AND bucket = $2 AND key = $3;

-- :name object_put
INSERT INTO object (account, bucket, key, object_id, bytes, etag, modified_ms, headers)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (account, bucket, key) DO UPDATE
SET object_id = excluded.object_id, bytes = excluded.bytes, etag = excluded.etag,
    modified_ms = excluded.modified_ms, headers = excluded.headers;

-- :name object_delete
DELETE FROM object WHERE account = $1 AND bucket = $2 AND key = $3;

-- :name object_page
SELECT key, bytes, etag, modified_ms FROM object
WHERE account = $1 AND bucket = $2 AND key > $3
ORDER BY key LIMIT $4;

-- :name object_page_from
SELECT key, bytes, etag, modified_ms FROM object
WHERE account = $1 AND bucket = $2 AND key >= $3
ORDER BY key LIMIT $4;

-- :name object_older
SELECT key, object_id FROM object
WHERE account = $1 AND bucket = $2 AND modified_ms < $3
ORDER BY modified_ms LIMIT $4;

-- ---- files ----

-- :name blob_put
INSERT INTO object_blob (object_id, number, blob_id, bytes, etag, put_ms)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (object_id, number) DO UPDATE
SET blob_id = excluded.blob_id, bytes = excluded.bytes, etag = excluded.etag, put_ms = excluded.put_ms;

-- :name blob_list
SELECT number, blob_id, bytes, etag, put_ms FROM object_blob
WHERE object_id = $1 AND number > $2 ORDER BY number;

-- :name blob_one
SELECT number, blob_id, bytes, etag FROM object_blob WHERE object_id = $1 AND number = $2;

-- :name blob_delete
DELETE FROM object_blob WHERE object_id = $1;

-- :name blob_delete_one
DELETE FROM object_blob WHERE object_id = $1 AND number = $2;

-- :name blob_known
SELECT 1 FROM object_blob WHERE blob_id = $1;

-- :name blob_usage
SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM object_blob;

-- ---- uploads ----

-- :name upload_add
INSERT INTO upload (upload_id, account, bucket, key, started_ms, headers)
VALUES ($1, $2, $3, $4, $5, $6);

-- :name upload_get
SELECT headers FROM upload WHERE upload_id = $1 AND account = $2 AND bucket = $3 AND key = $4;

-- Those behind ($3, $4).
-- :name upload_page
SELECT key, upload_id, started_ms FROM upload
WHERE account = $1 AND bucket = $2 AND (key, upload_id) > ($3, $4)
ORDER BY key, upload_id LIMIT $5;

-- :name upload_delete
DELETE FROM upload WHERE upload_id = $1;

-- :name upload_older
SELECT upload_id FROM upload WHERE started_ms < $1 ORDER BY started_ms LIMIT $2;

-- What a node may write: $1 command, $2 node.
-- :name output_place
SELECT c.s3_bucket, c.s3_prefix, c.log_config, c.document_name
FROM invocation i JOIN command c ON c.command_id = i.command_id
WHERE i.command_id = $1 AND i.node_id = $2;

-- :name document_insert
INSERT INTO document (account, region, name, type, default_version, last_version)
VALUES ($1, $2, $3, $4, 1, 0);

-- :name document_count
SELECT COUNT(*) FROM document WHERE account = $1 AND region = $2;

-- :name document_exists
SELECT COUNT(*) FROM document WHERE account = $1 AND region = $2 AND name = $3;

-- :name document_next_version
UPDATE document SET last_version = last_version + 1
WHERE account = $1 AND region = $2 AND name = $3
RETURNING last_version;

-- :name document_set_default
UPDATE document SET default_version = $4 WHERE account = $1 AND region = $2 AND name = $3;

-- :name document_delete
DELETE FROM document WHERE account = $1 AND region = $2 AND name = $3;

-- :name document_version_insert
INSERT INTO document_version (account, region, name, version, version_name, display_name, target_type,
                              format, content, hash, schema_version, description, platform_types,
                              requires, attachments, author, created_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

-- :name document_version_count
SELECT COUNT(*) FROM document_version WHERE account = $1 AND region = $2 AND name = $3;

-- :name document_version_with_hash
SELECT COUNT(*) FROM document_version WHERE account = $1 AND region = $2 AND name = $3 AND hash = $4;

-- :name document_version_delete
DELETE FROM document_version WHERE account = $1 AND region = $2 AND name = $3 AND version = $4;

-- :name document_version_review
UPDATE document_version SET review_status = $5
WHERE account = $1 AND region = $2 AND name = $3 AND version = $4;

-- :name document_at_default
SELECT * FROM document_info
WHERE account = $1 AND region = $2 AND document_name = $3 AND "IsDefaultVersion" = 1;

-- :name document_at_latest
SELECT * FROM document_info WHERE account = $1 AND region = $2 AND document_name = $3
ORDER BY version DESC LIMIT 1;

-- :name document_at_number
SELECT * FROM document_info WHERE account = $1 AND region = $2 AND document_name = $3 AND version = $4;

-- :name document_at_name
SELECT * FROM document_info WHERE account = $1 AND region = $2 AND document_name = $3 AND version_name = $4;

-- :name document_list
SELECT * FROM document_info
WHERE account = $1 AND region = $2 AND document_name > $3 AND "IsDefaultVersion" = 1
ORDER BY document_name;

-- :name document_versions
SELECT * FROM document_info WHERE account = $1 AND region = $2 AND document_name = $3 AND version < $4
ORDER BY version DESC;

-- :name document_share_put
INSERT INTO document_share (account, region, name, account_id, shared_version)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (account, region, name, account_id)
DO UPDATE SET shared_version = excluded.shared_version;

-- :name document_share_remove
DELETE FROM document_share WHERE account = $1 AND region = $2 AND name = $3 AND account_id = $4;

-- :name document_share_count
SELECT COUNT(*) FROM document_share WHERE account = $1 AND region = $2 AND name = $3;

-- :name document_share_all
SELECT COUNT(*) FROM document_share
WHERE account = $1 AND region = $2 AND name = $3 AND account_id = 'all';

-- :name document_shares
SELECT account_id AS "AccountId", shared_version AS "SharedDocumentVersion" FROM document_share
WHERE account = $1 AND region = $2 AND name = $3 AND account_id > $4
ORDER BY account_id;

-- :name document_review_insert
INSERT INTO document_review (account, region, name, version, seq, status, comment, reviewer, created_ms)
SELECT $1, $2, $3, $4, COALESCE(MAX(seq), 0) + 1, $5, $6, $7, $8 FROM document_review
WHERE account = $1 AND region = $2 AND name = $3 AND version = $4;

-- :name document_reviews
SELECT seq, status AS "ReviewStatus", comment, reviewer AS "Reviewer", created_ms AS "CreateTime",
       created_ms AS "UpdatedTime"
FROM document_review
WHERE account = $1 AND region = $2 AND name = $3 AND version = $4 AND seq > $5
ORDER BY seq;

-- :name document_attachment_add
INSERT INTO document_attachment (account, region, name, version, sha256) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (account, region, name, version, sha256) DO NOTHING;

-- :name document_attachments_kept
SELECT DISTINCT sha256 FROM document_attachment
WHERE account = $1 AND region = $2 AND name = $3 AND ($4 = 0 OR version = $4);

-- :name document_attachment_used
SELECT 1 FROM document_attachment WHERE account = $1 AND sha256 = $2 LIMIT 1;

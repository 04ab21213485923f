-- Buckets and objects of the plane's s3 subset; the contents are files (server/s3/blobs.h).

CREATE TABLE bucket (
    account    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (account, name)
);

CREATE TABLE object (
    account     TEXT   NOT NULL,
    bucket      TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    object_id   TEXT   NOT NULL, -- another one with each put
    bytes       BIGINT NOT NULL,
    etag        TEXT   NOT NULL, -- without quotes
    modified_ms BIGINT NOT NULL,
    headers     TEXT   NOT NULL, -- JSON object: Content-Type, x-amz-meta-… as they were put
    PRIMARY KEY (account, bucket, key)
);
CREATE INDEX object_age ON object (account, bucket, modified_ms);

-- A multipart upload that is not complete; its id becomes the object's.
CREATE TABLE upload (
    upload_id  TEXT   PRIMARY KEY,
    account    TEXT   NOT NULL,
    bucket     TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    started_ms BIGINT NOT NULL,
    headers    TEXT   NOT NULL
);
CREATE INDEX upload_age ON upload (started_ms);
CREATE INDEX upload_bucket ON upload (account, bucket);

-- The files of an object, in the order of their numbers, or of an upload.
CREATE TABLE object_blob (
    object_id TEXT   NOT NULL,
    number    BIGINT NOT NULL,
    blob_id   TEXT   NOT NULL UNIQUE,
    bytes     BIGINT NOT NULL,
    etag      TEXT   NOT NULL,
    put_ms    BIGINT NOT NULL,
    PRIMARY KEY (object_id, number)
);

-- Files of documents that the plane keeps itself: objects named by their SHA-256 in a bucket of their
-- own (server/s3/kept.h). A file goes with the last version that has it.

CREATE TABLE document_attachment (
    account TEXT   NOT NULL,
    region  TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    sha256  TEXT   NOT NULL,
    PRIMARY KEY (account, region, name, version, sha256),
    FOREIGN KEY (account, region, name, version)
        REFERENCES document_version (account, region, name, version) ON DELETE CASCADE
);
CREATE INDEX document_attachment_sha256 ON document_attachment (account, sha256);

-- Users' documents. The built-in ones are in the program.

CREATE TABLE document (
    account         TEXT   NOT NULL,
    region          TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    type            TEXT   NOT NULL,
    default_version BIGINT NOT NULL,
    last_version    BIGINT NOT NULL, -- the highest ever given; none is given twice
    PRIMARY KEY (account, region, name)
);

CREATE TABLE document_version (
    account        TEXT   NOT NULL,
    region         TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    version        BIGINT NOT NULL,
    version_name   TEXT,
    display_name   TEXT,
    target_type    TEXT,
    format         TEXT   NOT NULL,
    content        TEXT   NOT NULL, -- as it was given
    hash           TEXT   NOT NULL, -- SHA-256 of content
    schema_version TEXT,
    description    TEXT,
    platform_types TEXT   NOT NULL, -- JSON list
    requires       TEXT   NOT NULL, -- JSON list of {Name, Version}
    attachments    TEXT   NOT NULL, -- JSON list of {Name, Size, Hash, HashType, Url}
    review_status  TEXT,
    author         TEXT   NOT NULL,
    created_ms     BIGINT NOT NULL,
    PRIMARY KEY (account, region, name, version),
    FOREIGN KEY (account, region, name) REFERENCES document (account, region, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX document_version_name ON document_version (account, region, name, version_name)
    WHERE version_name IS NOT NULL;
CREATE INDEX document_version_hash ON document_version (account, region, name, hash);

CREATE TABLE document_share (
    account        TEXT NOT NULL,
    region         TEXT NOT NULL,
    name           TEXT NOT NULL,
    account_id     TEXT NOT NULL, -- 12 digits, or 'all'
    shared_version TEXT,
    PRIMARY KEY (account, region, name, account_id),
    FOREIGN KEY (account, region, name) REFERENCES document (account, region, name) ON DELETE CASCADE
);

CREATE TABLE document_review (
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    status     TEXT   NOT NULL,
    comment    TEXT,
    reviewer   TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (account, region, name, version, seq),
    FOREIGN KEY (account, region, name, version)
        REFERENCES document_version (account, region, name, version) ON DELETE CASCADE
);

-- What operations show of a version.
CREATE VIEW document_info AS
SELECT v.name AS "Name", v.account AS "Owner", d.type AS "DocumentType", v.format AS "DocumentFormat",
       CAST(v.version AS TEXT) AS "DocumentVersion", v.version_name AS "VersionName",
       v.display_name AS "DisplayName", v.target_type AS "TargetType",
       v.schema_version AS "SchemaVersion", v.description AS "Description",
       v.platform_types AS "PlatformTypes", v.requires AS "Requires",
       v.review_status AS "ReviewStatus", v.author AS "Author", v.created_ms AS "CreatedDate",
       v.hash AS "Hash", 'Sha256' AS "HashType", 'Active' AS "Status",
       CAST(d.default_version AS TEXT) AS "DefaultVersion",
       CAST((SELECT MAX(l.version) FROM document_version l
             WHERE l.account = v.account AND l.region = v.region AND l.name = v.name) AS TEXT)
           AS "LatestVersion",
       CASE WHEN v.version = d.default_version THEN 1 ELSE 0 END AS "IsDefaultVersion",
       v.content AS "Content", v.attachments AS "AttachmentsContent",
       v.account AS account, v.region AS region, v.name AS document_name, v.version AS version,
       v.version_name AS version_name
FROM document_version v
     JOIN document d ON d.account = v.account AND d.region = v.region AND d.name = v.name;

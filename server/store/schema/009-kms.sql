-- The plane's kms subset: keys that encrypt data keys, for sessions and whoever else asks.

CREATE TABLE kms_key (
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    key_id      TEXT   NOT NULL, -- a UUID
    created_ms  BIGINT NOT NULL,
    description TEXT   NOT NULL,
    enabled     BIGINT NOT NULL,
    sealed      BLOB   NOT NULL, -- with the plane's key, bound to the id
    PRIMARY KEY (account, region, key_id)
);

CREATE TABLE kms_alias (
    account TEXT   NOT NULL,
    region  TEXT   NOT NULL,
    name    TEXT   NOT NULL, -- with "alias/"
    key_id  TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (account, region, name),
    FOREIGN KEY (account, region, key_id) REFERENCES kms_key (account, region, key_id) ON DELETE CASCADE
);
CREATE INDEX kms_alias_key ON kms_alias (account, region, key_id, name);

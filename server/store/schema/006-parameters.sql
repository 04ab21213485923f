-- Parameter Store. parameter_id is the name without a leading slash: "a" and "/a" are one parameter.

CREATE TABLE parameter (
    account      TEXT   NOT NULL,
    region       TEXT   NOT NULL,
    parameter_id TEXT   NOT NULL,
    name         TEXT   NOT NULL, -- as it was made with
    version      BIGINT NOT NULL, -- the latest
    PRIMARY KEY (account, region, parameter_id)
);

-- A value is in one of two columns: of a SecureString only `sealed` (server/api/parameter_seal.h).
CREATE TABLE parameter_version (
    account         TEXT   NOT NULL,
    region          TEXT   NOT NULL,
    parameter_id    TEXT   NOT NULL,
    version         BIGINT NOT NULL,
    type            TEXT   NOT NULL,
    value           TEXT,
    sealed          BLOB,
    key_id          TEXT,
    tier            TEXT   NOT NULL,
    data_type       TEXT   NOT NULL,
    description     TEXT,
    allowed_pattern TEXT,
    policies        TEXT   NOT NULL, -- JSON list, as replies have it
    modified_ms     BIGINT NOT NULL,
    modified_by     TEXT   NOT NULL, -- ARN
    PRIMARY KEY (account, region, parameter_id, version),
    FOREIGN KEY (account, region, parameter_id)
        REFERENCES parameter (account, region, parameter_id) ON DELETE CASCADE
);
CREATE INDEX parameter_version_sealed ON parameter_version (account, region, parameter_id)
    WHERE sealed IS NOT NULL;

CREATE TABLE parameter_label (
    account      TEXT   NOT NULL,
    region       TEXT   NOT NULL,
    parameter_id TEXT   NOT NULL,
    label        TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    PRIMARY KEY (account, region, parameter_id, label),
    FOREIGN KEY (account, region, parameter_id, version)
        REFERENCES parameter_version (account, region, parameter_id, version) ON DELETE CASCADE
);
CREATE INDEX parameter_label_version ON parameter_label (account, region, parameter_id, version, label);

-- What reads show. The order of columns is `enum fl_parameter_col` in server/api/parameters.h.
CREATE VIEW parameter_info AS
SELECT p.name            AS "Name",
       v.type            AS "Type",
       v.value           AS "Value",
       v.version         AS "Version",
       v.modified_ms     AS "LastModifiedDate",
       v.modified_by     AS "LastModifiedUser",
       v.description     AS "Description",
       v.allowed_pattern AS "AllowedPattern",
       v.key_id          AS "KeyId",
       v.tier            AS "Tier",
       v.data_type       AS "DataType",
       v.policies        AS "Policies",
       v.sealed          AS sealed,
       p.parameter_id    AS parameter_id,
       p.version         AS latest,
       p.account         AS account,
       p.region          AS region
FROM parameter p
     JOIN parameter_version v ON v.account = p.account AND v.region = p.region
                             AND v.parameter_id = p.parameter_id;

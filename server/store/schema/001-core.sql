-- Who may do what: users, their keys, roles, policies; the plane's own facts.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE iam_user (
    account    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (account, name)
);

CREATE TABLE iam_access_key (
    access_key_id TEXT   PRIMARY KEY,
    account       TEXT   NOT NULL,
    user_name     TEXT   NOT NULL,
    secret_sealed BLOB   NOT NULL,
    status        TEXT   NOT NULL,
    created_ms    BIGINT NOT NULL,
    FOREIGN KEY (account, user_name) REFERENCES iam_user (account, name) ON DELETE CASCADE
);
CREATE INDEX iam_access_key_user ON iam_access_key (account, user_name);

CREATE TABLE iam_role (
    account    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    role_id    TEXT   NOT NULL,
    trust      TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (account, name)
);

CREATE TABLE iam_policy (
    account    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    document   TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (account, name)
);

CREATE TABLE iam_attachment (
    account        TEXT NOT NULL,
    principal_kind TEXT NOT NULL,
    principal_name TEXT NOT NULL,
    policy_name    TEXT NOT NULL,
    PRIMARY KEY (account, principal_kind, principal_name, policy_name),
    FOREIGN KEY (account, policy_name) REFERENCES iam_policy (account, name)
);

CREATE TABLE revoked_node (
    node_id    TEXT   PRIMARY KEY,
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    revoked_ms BIGINT NOT NULL
);

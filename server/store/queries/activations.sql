-- :name activation_insert
INSERT INTO activation (activation_id, account, region, code_mac, iam_role, description, default_name,
                        registration_limit, expires_ms, created_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- :name activation_page
SELECT activation_id      AS "ActivationId",
       description        AS "Description",
       default_name       AS "DefaultInstanceName",
       iam_role           AS "IamRole",
       registration_limit AS "RegistrationLimit",
       registrations      AS "RegistrationsCount",
       expires_ms         AS "ExpirationDate",
       created_ms         AS "CreatedDate"
FROM activation
WHERE account = $1 AND region = $2 AND activation_id > $3
ORDER BY activation_id;

-- :name activation_delete
DELETE FROM activation WHERE account = $1 AND region = $2 AND activation_id = $3;

-- :name activation_secret
SELECT code_mac     AS "CodeMac",
       iam_role     AS "IamRole",
       default_name AS "DefaultInstanceName",
       expires_ms   AS "ExpirationDate"
FROM activation
WHERE account = $1 AND region = $2 AND activation_id = $3;

-- One registration more, if the limit allows it: 1 row changed, else 0.
-- :name activation_take
UPDATE activation SET registrations = registrations + 1
WHERE account = $1 AND region = $2 AND activation_id = $3 AND registrations < registration_limit;

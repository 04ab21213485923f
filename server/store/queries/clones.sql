-- :name clone_seen
INSERT INTO node_clone (node_id, account, region, evidence, address, other, times, first_ms, last_ms)
VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7)
ON CONFLICT (node_id) DO UPDATE SET
    evidence = excluded.evidence, address = excluded.address, other = excluded.other,
    times = node_clone.times + 1, last_ms = excluded.last_ms;

-- :name clone_list
SELECT c.node_id AS "InstanceId", c.evidence AS "Evidence", c.address AS "Address",
       c.other AS "OtherAddress", c.times AS "Times", c.first_ms AS "FirstSeen",
       c.last_ms AS "LastSeen"
FROM node_clone c JOIN node n ON n.node_id = c.node_id
WHERE c.account = $1 AND n.state = 'active'
ORDER BY c.node_id;

-- :name clone_forget
DELETE FROM node_clone WHERE account = $1 AND node_id = $2;

-- :name metrics_commands
SELECT state, COUNT(*) FROM command_state GROUP BY state;

ALTER TABLE runs ADD COLUMN left_out TEXT;
ALTER TABLE runs ADD COLUMN good TEXT;
UPDATE runs SET good = ended WHERE outcome IN ('success', 'warning');
ALTER TABLE deliveries ADD COLUMN upload TEXT;
CREATE TABLE stale_told (
    file NOT NULL PRIMARY KEY,
    due  TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO stale_told VALUES ('/srv/orders.yaml', '2026-01-03T02:00:00.000Z');
INSERT INTO runs (id, pipeline, file, sha256, fixed, process, since, started, ended, outcome, exit_code, seconds, left_out, good)
VALUES ('01KB0000000000000000000003', 'orders', '/srv/orders.yaml', 'abcd', '{}', 4713, 100, '2026-01-01T03:04:05.000Z',
    '2026-01-01T03:05:05.000Z', 'success', 0, 60.0, NULL, '2026-01-01T03:05:05.000Z');
PRAGMA user_version = 4;

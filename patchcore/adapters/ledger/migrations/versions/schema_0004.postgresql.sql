-- The ledger's tables and guards in PostgreSQL, revision 0004. Blank lines separate statements.

CREATE TABLE chain (
    sequence BIGINT NOT NULL,
    kind TEXT NOT NULL,
    content BYTEA NOT NULL,
    previous BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (sequence),
    CHECK (sequence >= 1)
)

CREATE TABLE archives (
    sequence BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    images INTEGER NOT NULL CHECK (images >= 0),
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    CHECK ("first" <= "last"),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)

CREATE TABLE checkpoints (
    sequence BIGINT NOT NULL,
    size BIGINT NOT NULL CHECK (size >= 1),
    head TEXT NOT NULL,
    root TEXT NOT NULL,
    peaks TEXT NOT NULL,
    key TEXT,
    signature TEXT,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    UNIQUE (size)
)

CREATE TABLE datasets (
    sequence BIGINT NOT NULL,
    category TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    sha256 TEXT NOT NULL,
    normals INTEGER NOT NULL CHECK (normals >= 0),
    evaluation_images INTEGER NOT NULL CHECK (evaluation_images >= 0),
    pointers TEXT NOT NULL,
    git_commit TEXT,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    UNIQUE (category, sha256),
    UNIQUE (category, number),
    UNIQUE (category, number, sha256),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)

CREATE TABLE events (
    sequence BIGINT NOT NULL,
    category TEXT NOT NULL,
    action TEXT NOT NULL,
    summary TEXT NOT NULL,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)

CREATE INDEX events_of_category ON events (category, action)

CREATE TABLE banks (
    sequence BIGINT NOT NULL,
    category TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    sha256 TEXT NOT NULL,
    dataset_version INTEGER NOT NULL CHECK (dataset_version >= 1),
    dataset_sha256 TEXT NOT NULL,
    run_id TEXT NOT NULL,
    git_commit TEXT,
    at TEXT NOT NULL,
    evaluation_sha256 TEXT,
    metrics TEXT,
    PRIMARY KEY (sequence),
    UNIQUE (category, version),
    UNIQUE (category, version, sha256),
    FOREIGN KEY(category, dataset_version, dataset_sha256) REFERENCES datasets (category, number, sha256),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)

CREATE TABLE members (
    sequence BIGINT NOT NULL,
    dataset BIGINT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    part TEXT NOT NULL,
    added INTEGER NOT NULL CHECK ("added" IN (0, 1)),
    PRIMARY KEY (sequence),
    UNIQUE (dataset, path, sha256, part),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    FOREIGN KEY(dataset) REFERENCES datasets (sequence)
)

CREATE INDEX members_by_sha256 ON members (sha256)

CREATE TABLE batches (
    sequence BIGINT NOT NULL,
    batch TEXT NOT NULL,
    scoring INTEGER NOT NULL CHECK (scoring >= 1),
    category TEXT NOT NULL,
    bank_version INTEGER NOT NULL CHECK (bank_version >= 1),
    bank_sha256 TEXT NOT NULL,
    dataset_version INTEGER NOT NULL CHECK (dataset_version >= 1),
    dataset_sha256 TEXT NOT NULL,
    threshold DOUBLE PRECISION NOT NULL,
    false_alarm_rate DOUBLE PRECISION NOT NULL,
    calibration_images INTEGER CHECK (calibration_images >= 0),
    images_sha256 TEXT NOT NULL,
    received INTEGER NOT NULL CHECK (received >= 0),
    scored INTEGER NOT NULL CHECK (scored >= 0),
    failed INTEGER NOT NULL CHECK (failed >= 0),
    runtime TEXT NOT NULL,
    code_version TEXT NOT NULL,
    who TEXT NOT NULL,
    scored_at TEXT NOT NULL,
    run_id TEXT NOT NULL,
    flow_run_id TEXT,
    reason TEXT,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    UNIQUE (batch, scoring),
    CHECK (received = scored + failed),
    FOREIGN KEY(category, bank_version, bank_sha256) REFERENCES banks (category, version, sha256),
    FOREIGN KEY(category, dataset_version, dataset_sha256) REFERENCES datasets (category, number, sha256),
    CHECK ((scoring = 1) = (reason IS NULL)),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)

CREATE INDEX batches_of_bank ON batches (category, bank_version)

CREATE TABLE decisions (
    sequence BIGINT NOT NULL,
    category TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('promote', 'refuse', 'rollback', 'propose')),
    from_version INTEGER CHECK (from_version >= 1),
    to_version INTEGER NOT NULL CHECK (to_version >= 1),
    bank_sha256 TEXT NOT NULL,
    reason TEXT NOT NULL,
    forced INTEGER NOT NULL CHECK ("forced" IN (0, 1)),
    verdict TEXT NOT NULL,
    proposal BIGINT,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    FOREIGN KEY(category, to_version, bank_sha256) REFERENCES banks (category, version, sha256),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    FOREIGN KEY(proposal) REFERENCES decisions (sequence)
)

CREATE INDEX decisions_of_category ON decisions (category, sequence)

CREATE TABLE images (
    sequence BIGINT NOT NULL,
    scored_batch BIGINT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT,
    score DOUBLE PRECISION,
    p_value DOUBLE PRECISION CHECK (p_value BETWEEN 0 AND 1),
    anomalous INTEGER CHECK ("anomalous" IN (0, 1)),
    reason TEXT,
    PRIMARY KEY (sequence),
    UNIQUE (scored_batch, path),
    CHECK ((score IS NULL) = (reason IS NOT NULL)),
    CHECK ((score IS NULL) = (p_value IS NULL) AND (score IS NULL) = (anomalous IS NULL)),
    CHECK (sha256 IS NOT NULL OR reason IS NOT NULL),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    FOREIGN KEY(scored_batch) REFERENCES batches (sequence)
)

CREATE INDEX images_anomalous ON images (scored_batch) WHERE anomalous = 1

CREATE INDEX images_by_sha256 ON images (sha256)

CREATE TABLE overrides (
    sequence BIGINT NOT NULL,
    scored_batch BIGINT NOT NULL,
    path TEXT NOT NULL,
    "old" INTEGER NOT NULL CHECK ("old" IN (0, 1)),
    "new" INTEGER NOT NULL CHECK ("new" IN (0, 1)),
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    CHECK ("old" <> "new"),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    FOREIGN KEY(scored_batch) REFERENCES batches (sequence)
)

CREATE INDEX overrides_of_batch ON overrides (scored_batch)

CREATE FUNCTION patchcore_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION USING MESSAGE = 'the ledger is append-only: ' || TG_TABLE_NAME, ERRCODE = 'integrity_constraint_violation'; END$$

CREATE TRIGGER chain_no_change BEFORE UPDATE OR DELETE ON chain FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER chain_no_truncate BEFORE TRUNCATE ON chain FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER archives_no_change BEFORE UPDATE OR DELETE ON archives FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER archives_no_truncate BEFORE TRUNCATE ON archives FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER checkpoints_no_change BEFORE UPDATE OR DELETE ON checkpoints FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER checkpoints_no_truncate BEFORE TRUNCATE ON checkpoints FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER datasets_no_change BEFORE UPDATE OR DELETE ON datasets FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER datasets_no_truncate BEFORE TRUNCATE ON datasets FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER banks_no_change BEFORE UPDATE OR DELETE ON banks FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER banks_no_truncate BEFORE TRUNCATE ON banks FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER members_no_change BEFORE UPDATE OR DELETE ON members FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER members_no_truncate BEFORE TRUNCATE ON members FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER batches_no_change BEFORE UPDATE OR DELETE ON batches FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER batches_no_truncate BEFORE TRUNCATE ON batches FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER decisions_no_change BEFORE UPDATE OR DELETE ON decisions FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER decisions_no_truncate BEFORE TRUNCATE ON decisions FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER images_no_change BEFORE UPDATE OR DELETE ON images FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER images_no_truncate BEFORE TRUNCATE ON images FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER overrides_no_change BEFORE UPDATE OR DELETE ON overrides FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()

CREATE TRIGGER overrides_no_truncate BEFORE TRUNCATE ON overrides FOR EACH STATEMENT EXECUTE FUNCTION patchcore_refuse_change()

CREATE FUNCTION patchcore_refuse_gap() RETURNS trigger LANGUAGE plpgsql AS $$DECLARE expected bigint; BEGIN EXECUTE 'SELECT coalesce(max(sequence), 0) + 1 FROM ' || TG_RELID::regclass INTO expected; IF NEW.sequence IS DISTINCT FROM expected THEN RAISE EXCEPTION USING MESSAGE = 'the ledger is append-only, by the next number: ' || TG_TABLE_NAME, ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END$$

CREATE TRIGGER chain_no_gap BEFORE INSERT ON chain FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_gap()

ALTER TABLE chain ENABLE ALWAYS TRIGGER chain_no_gap

ALTER TABLE chain ENABLE ALWAYS TRIGGER chain_no_change

ALTER TABLE chain ENABLE ALWAYS TRIGGER chain_no_truncate

ALTER TABLE archives ENABLE ALWAYS TRIGGER archives_no_change

ALTER TABLE archives ENABLE ALWAYS TRIGGER archives_no_truncate

ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER checkpoints_no_change

ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER checkpoints_no_truncate

ALTER TABLE datasets ENABLE ALWAYS TRIGGER datasets_no_change

ALTER TABLE datasets ENABLE ALWAYS TRIGGER datasets_no_truncate

ALTER TABLE events ENABLE ALWAYS TRIGGER events_no_change

ALTER TABLE events ENABLE ALWAYS TRIGGER events_no_truncate

ALTER TABLE banks ENABLE ALWAYS TRIGGER banks_no_change

ALTER TABLE banks ENABLE ALWAYS TRIGGER banks_no_truncate

ALTER TABLE members ENABLE ALWAYS TRIGGER members_no_change

ALTER TABLE members ENABLE ALWAYS TRIGGER members_no_truncate

ALTER TABLE batches ENABLE ALWAYS TRIGGER batches_no_change

ALTER TABLE batches ENABLE ALWAYS TRIGGER batches_no_truncate

ALTER TABLE decisions ENABLE ALWAYS TRIGGER decisions_no_change

ALTER TABLE decisions ENABLE ALWAYS TRIGGER decisions_no_truncate

ALTER TABLE images ENABLE ALWAYS TRIGGER images_no_change

ALTER TABLE images ENABLE ALWAYS TRIGGER images_no_truncate

ALTER TABLE overrides ENABLE ALWAYS TRIGGER overrides_no_change

ALTER TABLE overrides ENABLE ALWAYS TRIGGER overrides_no_truncate

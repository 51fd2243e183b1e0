-- The ledger's tables and guards in SQLite, revision 0004. Blank lines separate statements.

CREATE TABLE chain (
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    content BLOB NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (sequence),
    CHECK (sequence >= 1)
)
 STRICT

CREATE TABLE archives (
    sequence INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    images INTEGER NOT NULL CHECK (images >= 0),
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    CHECK ("first" <= "last"),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)
 STRICT

CREATE TABLE checkpoints (
    sequence INTEGER NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 1),
    head TEXT NOT NULL,
    root TEXT NOT NULL,
    peaks TEXT NOT NULL,
    "key" TEXT,
    signature TEXT,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    UNIQUE (size)
)
 STRICT

CREATE TABLE datasets (
    sequence INTEGER NOT NULL,
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
 STRICT

CREATE TABLE events (
    sequence INTEGER NOT NULL,
    category TEXT NOT NULL,
    action TEXT NOT NULL,
    summary TEXT NOT NULL,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)
 STRICT

CREATE INDEX events_of_category ON events (category, action)

CREATE TABLE banks (
    sequence INTEGER NOT NULL,
    category TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    sha256 TEXT NOT NULL,
    dataset_version INTEGER NOT NULL CHECK (dataset_version >= 1),
    dataset_sha256 TEXT NOT NULL,
    run_id TEXT NOT NULL,
    git_commit TEXT,
    at TEXT NOT NULL, evaluation_sha256 TEXT, metrics TEXT,
    PRIMARY KEY (sequence),
    UNIQUE (category, version),
    UNIQUE (category, version, sha256),
    FOREIGN KEY(category, dataset_version, dataset_sha256) REFERENCES datasets (category, number, sha256),
    FOREIGN KEY(sequence) REFERENCES chain (sequence)
)
 STRICT

CREATE TABLE members (
    sequence INTEGER NOT NULL,
    dataset INTEGER NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    part TEXT NOT NULL,
    added INTEGER NOT NULL CHECK ("added" IN (0, 1)),
    PRIMARY KEY (sequence),
    UNIQUE (dataset, path, sha256, part),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    FOREIGN KEY(dataset) REFERENCES datasets (sequence)
)
 STRICT

CREATE INDEX members_by_sha256 ON members (sha256)

CREATE TABLE batches (
    sequence INTEGER NOT NULL,
    batch TEXT NOT NULL,
    scoring INTEGER NOT NULL CHECK (scoring >= 1),
    category TEXT NOT NULL,
    bank_version INTEGER NOT NULL CHECK (bank_version >= 1),
    bank_sha256 TEXT NOT NULL,
    dataset_version INTEGER NOT NULL CHECK (dataset_version >= 1),
    dataset_sha256 TEXT NOT NULL,
    threshold REAL NOT NULL,
    false_alarm_rate REAL NOT NULL,
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
 STRICT

CREATE INDEX batches_of_bank ON batches (category, bank_version)

CREATE TABLE decisions (
    sequence INTEGER NOT NULL,
    category TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('promote', 'refuse', 'rollback', 'propose')),
    from_version INTEGER CHECK (from_version >= 1),
    to_version INTEGER NOT NULL CHECK (to_version >= 1),
    bank_sha256 TEXT NOT NULL,
    reason TEXT NOT NULL,
    forced INTEGER NOT NULL CHECK ("forced" IN (0, 1)),
    verdict TEXT NOT NULL,
    proposal INTEGER,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    FOREIGN KEY(category, to_version, bank_sha256) REFERENCES banks (category, version, sha256),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    FOREIGN KEY(proposal) REFERENCES decisions (sequence)
)
 STRICT

CREATE INDEX decisions_of_category ON decisions (category, sequence)

CREATE TABLE images (
    sequence INTEGER NOT NULL,
    scored_batch INTEGER NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT,
    score REAL,
    p_value REAL CHECK (p_value BETWEEN 0 AND 1),
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
 STRICT

CREATE INDEX images_anomalous ON images (scored_batch) WHERE anomalous = 1

CREATE INDEX images_by_sha256 ON images (sha256)

CREATE TABLE overrides (
    sequence INTEGER NOT NULL,
    scored_batch INTEGER NOT NULL,
    path TEXT NOT NULL,
    old INTEGER NOT NULL CHECK ("old" IN (0, 1)),
    new INTEGER NOT NULL CHECK ("new" IN (0, 1)),
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (sequence),
    CHECK ("old" <> "new"),
    FOREIGN KEY(sequence) REFERENCES chain (sequence),
    FOREIGN KEY(scored_batch) REFERENCES batches (sequence)
)
 STRICT

CREATE INDEX overrides_of_batch ON overrides (scored_batch)

CREATE TRIGGER chain_no_update BEFORE UPDATE ON chain BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: chain'); END

CREATE TRIGGER chain_no_delete BEFORE DELETE ON chain BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: chain'); END

CREATE TRIGGER chain_no_replace BEFORE INSERT ON chain WHEN EXISTS (SELECT 1 FROM chain WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: chain'); END

CREATE TRIGGER archives_no_update BEFORE UPDATE ON archives BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: archives'); END

CREATE TRIGGER archives_no_delete BEFORE DELETE ON archives BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: archives'); END

CREATE TRIGGER archives_no_replace BEFORE INSERT ON archives WHEN EXISTS (SELECT 1 FROM archives WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: archives'); END

CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: checkpoints'); END

CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: checkpoints'); END

CREATE TRIGGER checkpoints_no_replace BEFORE INSERT ON checkpoints WHEN EXISTS (SELECT 1 FROM checkpoints WHERE "sequence" = NEW."sequence") OR EXISTS (SELECT 1 FROM checkpoints WHERE "size" = NEW."size") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: checkpoints'); END

CREATE TRIGGER datasets_no_update BEFORE UPDATE ON datasets BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: datasets'); END

CREATE TRIGGER datasets_no_delete BEFORE DELETE ON datasets BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: datasets'); END

CREATE TRIGGER datasets_no_replace BEFORE INSERT ON datasets WHEN EXISTS (SELECT 1 FROM datasets WHERE "category" = NEW."category" AND "number" = NEW."number") OR EXISTS (SELECT 1 FROM datasets WHERE "category" = NEW."category" AND "number" = NEW."number" AND "sha256" = NEW."sha256") OR EXISTS (SELECT 1 FROM datasets WHERE "category" = NEW."category" AND "sha256" = NEW."sha256") OR EXISTS (SELECT 1 FROM datasets WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: datasets'); END

CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: events'); END

CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: events'); END

CREATE TRIGGER events_no_replace BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: events'); END

CREATE TRIGGER banks_no_update BEFORE UPDATE ON banks BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: banks'); END

CREATE TRIGGER banks_no_delete BEFORE DELETE ON banks BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: banks'); END

CREATE TRIGGER banks_no_replace BEFORE INSERT ON banks WHEN EXISTS (SELECT 1 FROM banks WHERE "category" = NEW."category" AND "version" = NEW."version") OR EXISTS (SELECT 1 FROM banks WHERE "category" = NEW."category" AND "version" = NEW."version" AND "sha256" = NEW."sha256") OR EXISTS (SELECT 1 FROM banks WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: banks'); END

CREATE TRIGGER members_no_update BEFORE UPDATE ON members BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: members'); END

CREATE TRIGGER members_no_delete BEFORE DELETE ON members BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: members'); END

CREATE TRIGGER members_no_replace BEFORE INSERT ON members WHEN EXISTS (SELECT 1 FROM members WHERE "dataset" = NEW."dataset" AND "path" = NEW."path" AND "sha256" = NEW."sha256" AND "part" = NEW."part") OR EXISTS (SELECT 1 FROM members WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: members'); END

CREATE TRIGGER batches_no_update BEFORE UPDATE ON batches BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: batches'); END

CREATE TRIGGER batches_no_delete BEFORE DELETE ON batches BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: batches'); END

CREATE TRIGGER batches_no_replace BEFORE INSERT ON batches WHEN EXISTS (SELECT 1 FROM batches WHERE "batch" = NEW."batch" AND "scoring" = NEW."scoring") OR EXISTS (SELECT 1 FROM batches WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: batches'); END

CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: decisions'); END

CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: decisions'); END

CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions WHEN EXISTS (SELECT 1 FROM decisions WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: decisions'); END

CREATE TRIGGER images_no_update BEFORE UPDATE ON images BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: images'); END

CREATE TRIGGER images_no_delete BEFORE DELETE ON images BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: images'); END

CREATE TRIGGER images_no_replace BEFORE INSERT ON images WHEN EXISTS (SELECT 1 FROM images WHERE "scored_batch" = NEW."scored_batch" AND "path" = NEW."path") OR EXISTS (SELECT 1 FROM images WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: images'); END

CREATE TRIGGER overrides_no_update BEFORE UPDATE ON overrides BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: overrides'); END

CREATE TRIGGER overrides_no_delete BEFORE DELETE ON overrides BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: overrides'); END

CREATE TRIGGER overrides_no_replace BEFORE INSERT ON overrides WHEN EXISTS (SELECT 1 FROM overrides WHERE "sequence" = NEW."sequence") BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: overrides'); END

CREATE TRIGGER chain_no_gap BEFORE INSERT ON chain WHEN NEW."sequence" IS NOT (SELECT coalesce(max("sequence"), 0) + 1 FROM chain) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only, by the next number: chain'); END

PRAGMA user_version = 2

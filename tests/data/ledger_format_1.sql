BEGIN TRANSACTION;
CREATE TABLE banks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	category TEXT NOT NULL, 
	version INTEGER NOT NULL CHECK (version >= 1), 
	sha256 TEXT NOT NULL, 
	dataset_version INTEGER NOT NULL CHECK (dataset_version >= 1), 
	dataset_sha256 TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	git_commit TEXT, 
	at TEXT NOT NULL, 
	UNIQUE (category, version), 
	UNIQUE (category, version, sha256), 
	FOREIGN KEY(category, dataset_version, dataset_sha256) REFERENCES datasets (category, number, sha256)
)
 STRICT

;
INSERT INTO "banks" VALUES(1,'bottle',1,'bank1',1,'d1','run1',NULL,'2026-11-24T21:23:36.677018Z');
INSERT INTO "banks" VALUES(2,'bottle',2,'bank2',2,'d2','run2',NULL,'2026-11-24T21:23:36.695249Z');
CREATE TABLE batches (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	batch TEXT NOT NULL, 
	category TEXT NOT NULL, 
	bank_version INTEGER NOT NULL CHECK (bank_version >= 1), 
	bank_sha256 TEXT NOT NULL, 
	dataset_version INTEGER NOT NULL CHECK (dataset_version >= 1), 
	dataset_sha256 TEXT NOT NULL, 
	threshold REAL NOT NULL, 
	false_alarm_rate REAL NOT NULL, 
	images_sha256 TEXT NOT NULL, 
	received INTEGER NOT NULL CHECK (received >= 0), 
	scored INTEGER NOT NULL CHECK (scored >= 0), 
	failed INTEGER NOT NULL CHECK (failed >= 0), 
	runtime TEXT NOT NULL, 
	code_version TEXT NOT NULL, 
	who TEXT NOT NULL, 
	scored_at TEXT NOT NULL, 
	flow_run_id TEXT, 
	at TEXT NOT NULL, 
	UNIQUE (batch), 
	CHECK (received = scored + failed), 
	FOREIGN KEY(category, bank_version, bank_sha256) REFERENCES banks (category, version, sha256), 
	FOREIGN KEY(category, dataset_version, dataset_sha256) REFERENCES datasets (category, number, sha256)
)
 STRICT

;
INSERT INTO "batches" VALUES(1,'4711','bottle',1,'bank1',1,'d1',5.0,0.05,'94a325d3c227091bffa4e34c23db70110b663463f123d99a1c0e4ef44ff2f5c7',3,2,1,'openvino 2026.4.1 float32','0.1.0','ann','2026-11-24T21:23:36.707177Z',NULL,'2026-11-24T21:23:36.709810Z');
INSERT INTO "batches" VALUES(2,'4712','bottle',1,'bank1',1,'d1',5.0,0.05,'fbf1f18f962e25fbaa14c2cb7686b4cd3951db7a667358c2622f4a0ef9d714a7',2,2,0,'openvino 2026.4.1 float32','0.1.0','ann','2026-11-24T21:23:36.732110Z',NULL,'2026-11-24T21:23:36.733670Z');
CREATE TABLE datasets (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	category TEXT NOT NULL, 
	number INTEGER NOT NULL CHECK (number >= 1), 
	sha256 TEXT NOT NULL, 
	normals INTEGER NOT NULL CHECK (normals >= 0), 
	evaluation_images INTEGER NOT NULL CHECK (evaluation_images >= 0), 
	pointers TEXT NOT NULL, 
	git_commit TEXT, 
	who TEXT NOT NULL, 
	at TEXT NOT NULL, 
	UNIQUE (category, sha256), 
	UNIQUE (category, number), 
	UNIQUE (category, number, sha256)
)
 STRICT

;
INSERT INTO "datasets" VALUES(1,'bottle',1,'d1',201,83,'{"data/bottle/train.dvc": "outs:\n"}','c0','ann','2026-11-24T21:23:36.673138Z');
INSERT INTO "datasets" VALUES(2,'bottle',2,'d2',202,83,'{"data/bottle/train.dvc": "outs:\n"}','c0','ann','2026-11-24T21:23:36.684703Z');
CREATE TABLE decisions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	category TEXT NOT NULL, 
	action TEXT NOT NULL CHECK (action IN ('promote', 'refuse', 'rollback')), 
	from_version INTEGER CHECK (from_version >= 1), 
	to_version INTEGER NOT NULL CHECK (to_version >= 1), 
	bank_sha256 TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	forced INTEGER NOT NULL CHECK (forced IN (0, 1)), 
	verdict TEXT NOT NULL, 
	who TEXT NOT NULL, 
	at TEXT NOT NULL, 
	FOREIGN KEY(category, to_version, bank_sha256) REFERENCES banks (category, version, sha256)
)
 STRICT

;
INSERT INTO "decisions" VALUES(1,'bottle','promote',NULL,1,'bank1','retrained',0,'{"passed": true, "reasons": ["met: image_auroc 0.99 >= 0.90"]}','ann','2026-11-24T21:23:36.701175Z');
INSERT INTO "decisions" VALUES(2,'bottle','promote',1,2,'bank2','retrained',0,'{"passed": true, "reasons": []}','ann','2026-11-24T21:23:36.724088Z');
INSERT INTO "decisions" VALUES(3,'bottle','rollback',2,1,'bank1','misses scratches',0,'{}','bob','2026-11-24T21:23:36.727662Z');
CREATE TABLE images (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	batch_id INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	sha256 TEXT, 
	score REAL, 
	p_value REAL CHECK (p_value BETWEEN 0 AND 1), 
	anomalous INTEGER CHECK (anomalous IN (0, 1)), 
	reason TEXT, 
	UNIQUE (batch_id, path), 
	FOREIGN KEY(batch_id) REFERENCES batches (id), 
	CHECK ((score IS NULL) = (reason IS NOT NULL)), 
	CHECK ((score IS NULL) = (p_value IS NULL) AND (score IS NULL) = (anomalous IS NULL)), 
	CHECK (sha256 IS NOT NULL OR reason IS NOT NULL)
)
 STRICT

;
INSERT INTO "images" VALUES(1,1,'b.png','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',3.00000000000000044408e-01,0.25,0,NULL);
INSERT INTO "images" VALUES(2,1,'a.png','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',7.5,0.0,1,NULL);
INSERT INTO "images" VALUES(3,1,'broken.png','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',NULL,NULL,NULL,'truncated');
INSERT INTO "images" VALUES(4,2,'b.png','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',3.00000000000000044408e-01,0.25,0,NULL);
INSERT INTO "images" VALUES(5,2,'a.png','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',7.5,0.0,1,NULL);
CREATE INDEX decisions_of_category ON decisions (category, id);
CREATE INDEX batches_of_bank ON batches (category, bank_version);
CREATE INDEX images_by_sha256 ON images (sha256);
CREATE TRIGGER datasets_no_update BEFORE UPDATE ON datasets BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: datasets'); END;
CREATE TRIGGER datasets_no_delete BEFORE DELETE ON datasets BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: datasets'); END;
CREATE TRIGGER datasets_no_replace BEFORE INSERT ON datasets WHEN EXISTS (SELECT 1 FROM datasets WHERE category = NEW.category AND number = NEW.number) OR EXISTS (SELECT 1 FROM datasets WHERE category = NEW.category AND number = NEW.number AND sha256 = NEW.sha256) OR EXISTS (SELECT 1 FROM datasets WHERE category = NEW.category AND sha256 = NEW.sha256) OR EXISTS (SELECT 1 FROM datasets WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: datasets'); END;
CREATE TRIGGER banks_no_update BEFORE UPDATE ON banks BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: banks'); END;
CREATE TRIGGER banks_no_delete BEFORE DELETE ON banks BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: banks'); END;
CREATE TRIGGER banks_no_replace BEFORE INSERT ON banks WHEN EXISTS (SELECT 1 FROM banks WHERE category = NEW.category AND version = NEW.version) OR EXISTS (SELECT 1 FROM banks WHERE category = NEW.category AND version = NEW.version AND sha256 = NEW.sha256) OR EXISTS (SELECT 1 FROM banks WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: banks'); END;
CREATE TRIGGER batches_no_update BEFORE UPDATE ON batches BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: batches'); END;
CREATE TRIGGER batches_no_delete BEFORE DELETE ON batches BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: batches'); END;
CREATE TRIGGER batches_no_replace BEFORE INSERT ON batches WHEN EXISTS (SELECT 1 FROM batches WHERE batch = NEW.batch) OR EXISTS (SELECT 1 FROM batches WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: batches'); END;
CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: decisions'); END;
CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: decisions'); END;
CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: decisions'); END;
CREATE TRIGGER images_no_update BEFORE UPDATE ON images BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: images'); END;
CREATE TRIGGER images_no_delete BEFORE DELETE ON images BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: images'); END;
CREATE TRIGGER images_no_replace BEFORE INSERT ON images WHEN EXISTS (SELECT 1 FROM images WHERE batch_id = NEW.batch_id AND path = NEW.path) OR EXISTS (SELECT 1 FROM images WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: images'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('datasets',2);
INSERT INTO "sqlite_sequence" VALUES('banks',2);
INSERT INTO "sqlite_sequence" VALUES('decisions',3);
INSERT INTO "sqlite_sequence" VALUES('batches',2);
INSERT INTO "sqlite_sequence" VALUES('images',5);
PRAGMA user_version = 1;
COMMIT;

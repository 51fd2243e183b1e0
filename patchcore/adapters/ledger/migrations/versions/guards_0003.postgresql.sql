-- Guards that replicas keep to, and a chain that takes the next number alone, revision 0003. Blank lines separate statements.

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

-- What was measured of a bank, revision 0002. Blank lines separate statements.

ALTER TABLE banks ADD COLUMN evaluation_sha256 TEXT

ALTER TABLE banks ADD COLUMN metrics TEXT

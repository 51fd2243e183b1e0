-- A chain that takes the next number alone, revision 0003. Blank lines separate statements.

CREATE TRIGGER chain_no_gap BEFORE INSERT ON chain WHEN NEW."sequence" IS NOT (SELECT coalesce(max("sequence"), 0) + 1 FROM chain) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only, by the next number: chain'); END

-- Name and definition, as the server prints them, of the ledger's tables (ours) and of all that acts on them; what a
-- new ledger yields stands in printed.postgresql.json. Blank lines separate queries. Functions, types and tables are
-- named with their schema, for one of the same name elsewhere is taken where its arguments fit better; operators have
-- arguments of one type, for which the server's own come first.

-- UNLOGGED tables are emptied after a crash; row security hides rows; rows of a table that inherits from another are
-- read with the other's. Where pg_class says that a table has no triggers, indexes or checks, the server looks for none.
SELECT pg_catalog.concat('table ', relname), pg_catalog.concat_ws(' ', relkind, relpersistence,
    CASE WHEN relrowsecurity THEN 'hides rows' END,
    CASE WHEN relhastriggers THEN 'triggers' END,
    CASE WHEN relhasindex THEN 'indexes' END,
    pg_catalog.concat(relchecks, ' checks'),
    CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE ours.oid IN (inhparent, inhrelid)) THEN 'inherits' END)
FROM ours

SELECT pg_catalog.concat('column ', relname, '.', attname), pg_catalog.concat_ws(' ',
    pg_catalog.format_type(atttypid, atttypmod),
    CASE WHEN attcollation <> typcollation
        THEN pg_catalog.concat('COLLATE ', attcollation::pg_catalog.regcollation) END,
    CASE WHEN attnotnull THEN 'NOT NULL' END,
    pg_catalog.pg_get_expr(adbin, adrelid))
FROM ours
    JOIN pg_catalog.pg_attribute ON attrelid = ours.oid
    JOIN pg_catalog.pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_catalog.pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped

-- The server checks references by triggers of its own; of some versions NOT NULL is a constraint ('n') too.
SELECT pg_catalog.concat('constraint of ', relname, ' ', pg_catalog.pg_get_constraintdef(pg_constraint.oid)),
    CASE WHEN EXISTS (
        SELECT FROM pg_catalog.pg_trigger WHERE tgconstraint = pg_constraint.oid AND tgenabled NOT IN ('O', 'A'))
    THEN 'switched off' ELSE 'in force' END
FROM ours JOIN pg_catalog.pg_constraint ON conrelid = ours.oid
WHERE contype IN ('c', 'f', 'p', 'u', 'x')

SELECT pg_catalog.concat('guard ', tgname, ' on ', relname), pg_catalog.concat_ws(' ',
    pg_catalog.pg_get_triggerdef(pg_trigger.oid, true),
    CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'O' THEN 'but on a replica' ELSE 'switched off' END)
FROM ours JOIN pg_catalog.pg_trigger ON tgrelid = ours.oid
WHERE NOT tgisinternal

SELECT DISTINCT pg_catalog.concat('guard ', tgfoid::pg_catalog.regprocedure), pg_catalog.concat_ws(' ',
    lanname,
    CASE WHEN prosecdef THEN 'SECURITY DEFINER' END,
    proconfig::pg_catalog.text,
    prosrc)
FROM ours
    JOIN pg_catalog.pg_trigger ON tgrelid = ours.oid
    JOIN pg_catalog.pg_proc ON pg_proc.oid = tgfoid
    JOIN pg_catalog.pg_language ON pg_language.oid = prolang
WHERE NOT tgisinternal

SELECT pg_catalog.concat('rule ', rulename, ' on ', relname), pg_catalog.pg_get_ruledef(pg_rewrite.oid)
FROM ours JOIN pg_catalog.pg_rewrite ON ev_class = ours.oid

SELECT pg_catalog.concat(
        CASE WHEN indisunique OR indisexclusion THEN 'unique '
            WHEN indpred IS NOT NULL THEN 'conditional '
            WHEN indexprs IS NOT NULL THEN 'computed ' END,
        'index ', indexrelid::pg_catalog.regclass),
    pg_catalog.concat_ws(' ',
        pg_catalog.pg_get_indexdef(indexrelid, 0, true),
        CASE WHEN NOT (indisvalid AND indisready AND indislive) THEN 'switched off' END)
FROM ours JOIN pg_catalog.pg_index ON indrelid = ours.oid
